"""Full against pruned: what the time to first token and the memory are made of, and what was promised."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from sliminfer.engine.metrics import Comparison, RunMetrics, ratio
from sliminfer.engine.result import RunResult
from sliminfer.engine.timing import BEYOND
from viz.figures.bars import Bar, BarChart, Group, Segment
from viz.figures.reading import reading_html
from viz.figures.table import Table
from viz.figures.words import escape, number, percent, plural, seconds, size, times

NOISE = "more than the arithmetic allows: noise"
FULL, PRUNED = "plain", "kept"  # colour roles of the two sides, everywhere


def ttft_split(full: RunMetrics, pruned: RunMetrics) -> BarChart:
    """Where the time to the first token goes, part by part, full above pruned.

    TTFT is prefill plus scoring and pruning. Tokenising comes before its clock and the first decode step
    (from the first token to the second) after it; both are shown for scale.
    """
    parts = [(name, part(full), part(pruned)) for name, part in _TIMES]
    groups = tuple(
        Group(
            name,
            (
                Bar("full", (Segment(a, FULL),), seconds(a)),
                Bar("pruned", (Segment(b, PRUNED),), seconds(b)),
            ),
            in_comparison(ratio(a, b), "shorter", "longer"),
        )
        for name, a, b in parts
    )
    rows = [
        ("Time to first token", seconds(full.ttft_s), seconds(pruned.ttft_s), times(ratio(full.ttft_s, pruned.ttft_s))),
        *((name, seconds(a), seconds(b), times(ratio(a, b))) for name, a, b in parts),
    ]
    return BarChart(
        "Time to first token",
        f"{seconds(full.ttft_s)} full, {seconds(pruned.ttft_s)} pruned: prefill plus scoring and pruning.",
        groups,
        (),
        Table.of("Parts of the time to first token", ("Part", "Full", "Pruned", "Ratio"), rows),
    )


def memory_stack(full: RunMetrics, pruned: RunMetrics) -> BarChart:
    """Memory of both sides: weights, KV cache, and the peak above both (activations and work space)."""
    bars, rows = [], []
    for name, m in (("full", full), ("pruned", pruned)):
        parts = memory_parts(m)
        total = sum(parts.values())
        segments = tuple(Segment(parts[part], role, part) for part, role in _MEMORY)
        bars.append(Bar(name, segments, size(total)))
        host = size(m.kv.total_host) if m.kv.total_host else "none"
        rows.append((name, *(size(parts[part]) for part, _ in _MEMORY), size(total), host))
    totals = [sum(memory_parts(m).values()) for m in (full, pruned)]
    return BarChart(
        "Memory at the peak",
        "Weights, KV cache on the device, and what else was needed at the same time.",
        (Group("", tuple(bars), in_comparison(ratio(*totals), "smaller", "larger")),),
        tuple((role, part) for part, role in _MEMORY),
        Table.of(
            "Memory at the peak",
            ("Side", *(part.capitalize() for part, _ in _MEMORY), "Sum", "KV on the host"),
            rows,
        ),
    )


def memory_parts(m: RunMetrics) -> dict[str, int]:
    """Bytes by kind; activations are what the peak holds above the KV cache, never below zero."""
    kv = m.kv.total_device
    return {"weights": m.weights_bytes, "KV cache": kv, "activations": max(0, m.peak_bytes - kv)}


def promised(comparison: Comparison) -> BarChart:
    """The speed-up that the arithmetic alone promises, and the one measured."""
    c = comparison
    return BarChart(
        "Speed-up of the first token",
        "FLOPs of the full prefill over the pruned one, against the measured ratio of times.",
        (
            Group(
                "",
                (
                    Bar("by FLOPs", (Segment(c.ttft_flops, FULL),), times(c.ttft_flops)),
                    Bar("measured", (Segment(c.ttft, PRUNED),), times(c.ttft)),
                ),
                NOISE if c.efficiency > BEYOND else f"{percent(c.efficiency)} of what the arithmetic promises",
            ),
        ),
        (),
        Table.of(
            "Speed-up of the first token",
            ("Figure", "Value"),
            [
                ("By FLOPs", times(c.ttft_flops)),
                ("Measured", times(c.ttft)),
                ("Efficiency", percent(c.efficiency)),
            ],
        ),
    )


def repeats(full: Sequence[RunMetrics], pruned: Sequence[RunMetrics]) -> BarChart:
    """Time to first token over repeated runs: median as the bar, lowest and highest as the whisker.

    Both sequences must be non-empty; runs `i` of both sides are taken to have alternated.
    """
    sides = [("full", FULL, [m.ttft_s for m in full]), ("pruned", PRUNED, [m.ttft_s for m in pruned])]
    bars, rows = [], []
    for name, role, values in sides:
        middle, low, high = statistics.median(values), min(values), max(values)
        text = f"{seconds(middle)} ({seconds(low)} to {seconds(high)})"
        bars.append(Bar(name, (Segment(middle, role),), text, (low, high)))
        rows.append((name, len(values), seconds(middle), seconds(low), seconds(high)))
    medians = [statistics.median(values) for _, _, values in sides]
    return BarChart(
        "Time to first token, repeated",
        f"Median of {plural(min(len(full), len(pruned)), 'run')} of each side; whiskers from lowest to highest.",
        (Group("", tuple(bars), in_comparison(ratio(*medians), "sooner", "later")),),
        (),
        Table.of("Time to first token, repeated", ("Side", "Runs", "Median", "Lowest", "Highest"), rows),
    )


def compare_html(run: RunResult) -> str:
    """Times, memory, promise and fidelity of a finished run side by side; empty before both sides are done."""
    full, pruned, comparison = run.full.metrics, run.pruned.metrics, run.comparison
    if full is None or pruned is None or comparison is None:
        return ""
    return (
        f'<div class="fig-grid"><div>{ttft_split(full, pruned).html()}</div>'
        f'<div class="fig-stack">{memory_stack(full, pruned).html()}{promised(comparison).html()}'
        f"{reading_html(pruned)}{fidelity_html(comparison, full)}</div></div>"
    )


def fidelity_html(comparison: Comparison, full: RunMetrics) -> str:
    """How far the pruned answer is from the full one, in two plain sentences with their numbers."""
    inner = "".join(f"<p>{escape(sentence)}</p>" for sentence in fidelity(comparison, full))
    return f'<section class="fig fidelity"><h3>Fidelity</h3>{inner}</section>'


def fidelity(comparison: Comparison, full: RunMetrics) -> tuple[str, str]:
    """Two sentences: on the first token's distribution and on the answers' tokens."""
    kl = comparison.first_token_kl
    close = next((words for bound, words in _KL if kl <= bound), "cannot be compared")
    first = f"For the first token the two models’ expectations {close} (KL divergence {number(kl)} nats)."
    same = round(comparison.agreement * full.new_tokens)
    if comparison.agreement >= 1:
        return first, f"The answers are the same, all {plural(full.new_tokens, 'token')}."
    return first, (
        f"About {same} of the full answer’s {plural(full.new_tokens, 'token')} stand at the same place in the "
        f"pruned one ({percent(comparison.agreement)}); one early difference shifts all that follow."
    )


# Upper bounds in nats and the words for them; 0.01 nats cannot be noticed in sampling, 1 is another answer.
_KL = (
    (0.01, "are practically the same"),
    (0.1, "are close"),
    (1.0, "differ noticeably"),
    (math.inf, "differ strongly"),
)
_TIMES: tuple[tuple[str, Callable[[RunMetrics], float]], ...] = (
    ("Tokenise", lambda m: m.tokenize_s),
    ("Prefill", lambda m: m.ttft_s - m.select_s),
    ("Score and prune", lambda m: m.select_s),
    ("First decode step", lambda m: m.token_at[1] - m.token_at[0] if len(m.token_at) > 1 else math.nan),
)
_MEMORY = (("weights", "plain"), ("KV cache", "kept"), ("activations", "warm"))


def in_comparison(value: float, better: str, worse: str) -> str:
    """A ratio in words, from the pruned side's view; empty where there is none."""
    if not math.isfinite(value) or value <= 0:
        return ""
    if abs(math.log(value)) < 0.02:
        return "the same"
    return f"{times(value)} {better}" if value > 1 else f"{times(1 / value)} {worse}"
