"""One run as one HTML file that needs nothing else: styles, scripts, pictures and tables are inside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.io
from plotly.offline import get_plotlyjs

from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.cards import cards_html, cards_table
from viz.figures.chart import Chart
from viz.figures.compare import compare_html
from viz.figures.document import document_html
from viz.figures.export import Figure
from viz.figures.kept_grid import kept_grid
from viz.figures.kept_map import KeptMap
from viz.figures.plotly_chart import plotly_figure
from viz.figures.replay import replay_html
from viz.figures.table import Table
from viz.figures.theme import FONT, script, stylesheet
from viz.figures.words import count, escape, plural

# The browser is told to load nothing from anywhere, whatever the document's text contains.
_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_STYLE = f"""
body {{ margin: 0 auto; max-width: 1080px; padding: 32px 20px 80px; font-family: {FONT};
  color: var(--fig-ink); background: var(--fig-surface); line-height: 1.5; }}
h1 {{ font-size: 24px; margin: 0 0 4px; }} h2 {{ font-size: 18px; margin: 44px 0 12px; }}
.lead {{ color: var(--fig-muted); margin: 0 0 24px; }}
.answers {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 16px; }}
.answers div {{ border: 1px solid var(--fig-rule); border-radius: 8px; padding: 12px 14px; }}
.answers h3 {{ font-size: 14px; margin: 0 0 6px; }}
.answers p {{ margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }}
.part {{ margin: 0 0 32px; }} .fig-copy {{ display: none; }}
"""
_START = """
if (matchMedia("(prefers-color-scheme: dark)").matches) document.documentElement.classList.add("dark");
"""


def report_html(
    run: RunResult,
    config: SlimConfig,
    model: str,
    question: str,
    evidence: Sequence[Span] = (),
    extra: Sequence[Figure] = (),
) -> str:
    """The report of a run as far as it got; parts without data are left out.

    `evidence` is in prompt tokens, `extra` are further figures, such as those of the diffusion tab. Plotly's
    script is put in once, and only where a chart needs it.
    """
    parts = [
        f"<h1>Full against pruned: {escape(model)}</h1>",
        f'<p class="lead">{escape(_lead(run))}</p>',
        f"<h2>Question</h2><p>{escape(question)}</p>",
        f'<h2>Answers</h2><div class="answers">{"".join(_answer(side) for side in run.sides)}</div>',
        f'<h2>Time and memory</h2><div class="part">{cards_html(run)}',
        f'<div class="fig">{cards_table(run).details()}</div></div>',
        compare_html(run),
    ]
    replay = replay_html(run)
    if replay:
        parts.append(f'<h2>Replay</h2><div id="replay">{replay}</div>')
    if run.pruned.prompt is not None:
        kept = KeptMap.from_side(run.pruned, config, evidence)
        parts.append(f"<h2>What was kept</h2>{kept_grid(kept).html()}")
        parts.append(f"<h2>The document</h2>{document_html(kept, run.pruned.prompt)}")
    if extra:
        parts.append("<h2>More figures</h2>" + "".join(map(_figure, extra)))
    parts.append(f'<h2>Settings</h2><div class="fig">{_settings(config).html()}</div>')
    scripts = [_START]
    if any(isinstance(figure, Chart) for figure in extra):
        scripts.append(get_plotlyjs())
    head = "".join(f"<script>{code}</script>" for code in scripts)
    end = f"<script>{_attach('replay', 'replay')}</script>" if replay else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>Full against pruned: {escape(model)}</title><style>{stylesheet()}{_STYLE}</style>{head}</head>"
        f"<body><main>{''.join(parts)}</main>{end}</body></html>"
    )


def _lead(run: RunResult) -> str:
    metrics = run.pruned.metrics or run.full.metrics
    if metrics is None:
        return "The run did not finish."
    warm = "after a warm-up" if metrics.warm else "without a warm-up"
    together = "at the same time on two devices" if run.raced else "one after the other"
    more = plural(len(run.again), "more pair")
    again = f", and {more} of prefills for the clock alone" if run.again else ""
    return (
        f"{count(metrics.prompt_tokens)} prompt tokens, {metrics.dtype} on {metrics.device}, {metrics.attention} "
        f"attention. One run of each side, {together}, {warm}{again}."
    )


def _answer(side: SideResult) -> str:
    title = "Full model" if side.side == "full" else "Pruned model"
    return f"<div><h3>{title}</h3><p>{escape(side.error or side.text.strip()) or 'No answer.'}</p></div>"


def _figure(figure: Figure) -> str:
    if not isinstance(figure, Chart):
        return f'<div class="part">{figure.html()}</div>'
    drawn = plotly.io.to_html(
        plotly_figure(figure),
        full_html=False,
        include_plotlyjs=False,
        config={"displaylogo": False, "responsive": True},
    )
    return f'<div class="part">{figure.caption()}{drawn}<div class="fig">{figure.table.details()}</div></div>'


def _settings(config: SlimConfig) -> Table:
    rows = [
        (name.replace("_", " "), _setting(value))
        for name, value in config.to_dict().items()
        if value is not None and value != {}
    ]
    return Table.of("Settings of the pruned side", ("Setting", "Value"), rows)


def _setting(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"layer {step['layer']}: keep {step['keep']}" for step in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return str(value)


def _attach(element_id: str, name: str) -> str:
    """A figure's script run over one element, as gradio would, but without a server behind it."""
    return f'((element, server, watch) => {{{script(name)}}})(document.getElementById("{element_id}"));'
