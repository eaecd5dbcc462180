"""`sliminfer run`: one document, one question or several, full against pruned."""

from __future__ import annotations

import datetime
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sliminfer.commands import options
from sliminfer.errors import SlimError
from sliminfer.schedule.presets import DEFAULT_PRESET

if TYPE_CHECKING:
    from sliminfer.engine.result import RunResult


def command(
    document: Annotated[Path, typer.Option(help="The document: text, Markdown, PDF, Office, EPUB, HTML, code, ...")],
    question: Annotated[list[str], typer.Option(help="What to ask about it; may be given several times.")],
    model: options.Model = "demo",
    draft: options.Draft = None,
    packed: options.Packed = False,
    quantize: options.Quantize = "none",
    prune: options.Prune = None,
    preset: options.Preset = DEFAULT_PRESET,
    config: options.ConfigFile = None,
    method: options.Method = None,
    flop_budget: options.FlopBudget = None,
    active: options.Active = None,
    refresh: options.Refresh = None,
    gamma: options.Gamma = None,
    active_preserve: options.ActivePreserve = None,
    decode: options.Decode = None,
    reading: options.Reading = None,
    reading_share: options.ReadingShare = None,
    reading_options: options.ReadingOptions = None,
    max_new_tokens: Annotated[int, typer.Option(help="Longest answer in tokens.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Nucleus for sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Seed for sampling.")] = 0,
    keep: Annotated[
        list[str] | None, typer.Option(help="A text of the document that is never pruned; may be given several times.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A text of the document that the first prune step drops in any case.")
    ] = None,
    thinking: Annotated[bool, typer.Option("--thinking", help="Let a model that can, such as Qwen3, think.")] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    kernels: options.Kernels = "auto",
    json: options.JsonFile = None,
) -> None:
    """Ask one question or several about one document, on the full and on the pruned model."""
    from sliminfer.commands.questions import ask_several
    from sliminfer.documents import load_document
    from sliminfer.engine.engine import SlimEngine
    from sliminfer.engine.events import FirstToken, PromptReady, Token
    from sliminfer.engine.request import RunRequest
    from sliminfer.engine.result import RunResult

    text = load_document(document).text
    loaded = options.load(model, device, dtype, attention, packed, quantize)
    for note in loaded.notes:
        typer.echo(note, err=True)
    reader = None if draft is None else options.load(draft, device, dtype, attention)
    decoding = {
        "active": active, "refresh": refresh, "gamma": gamma, "active_preserve": active_preserve, "decode": decode,
    }  # fmt: skip
    changes = {name: value for name, value in decoding.items() if value is not None}
    if draft is not None and method is None and config is None:
        method = "specprefill"  # what a draft is for, where nothing else was asked for
    slim_config = options.make_config(
        loaded.layers, prune, preset, config, method, loaded.name, loaded.shape.seeing,
        (reading, reading_share, reading_options), **changes,
    )
    engine = SlimEngine(loaded, draft=reader)
    request = RunRequest(
        text, question[0], slim_config, max_new_tokens, temperature, top_p, seed, kernels=kernels, thinking=thinking,
        keep=tuple(keep or ()), drop=tuple(drop or ()),
    )  # fmt: skip
    ready = engine.prepare(request)
    if flop_budget is not None:
        slim_config = engine.at_budget(ready, slim_config, flop_budget)
    if len(question) > 1:
        ask_several([replace(request, question=each, config=slim_config) for each in question], engine, json)
        return
    events = engine.compare(ready.under(slim_config))
    engine.warm_up()
    quiet = json == "-"
    result = RunResult()
    for event in events:
        result = result.after(event)
        if quiet:
            continue
        if isinstance(event, PromptReady):
            print(f"\n{event.side}: ", end="", flush=True)
        elif isinstance(event, FirstToken | Token):
            print(event.text, end="", flush=True)
    if not quiet:
        print()
        _summary(result)
    if json is not None:
        said = {"notes": list(loaded.notes)} if loaded.notes else {}
        date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        asked = {"asked": {"question": question[0], "document": document.name, "date": date}}
        options.write_json(asked | result.to_dict(loaded.name, slim_config) | said, json)
    if result.failed:
        raise SlimError(" ".join(result.failed.values()))


def _summary(result: RunResult) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    if result.prompt is None or not result.finished:
        return
    table = Table(title=f"{len(result.prompt):,} prompt tokens", title_justify="left", box=SIMPLE)
    for heading in ("", "TTFT s", "tokens/s", "prompt KV MB", "peak MB"):
        table.add_column(heading, justify="left" if not heading else "right")
    for side, event in result.finished.items():
        m = event.metrics
        table.add_row(
            side,
            f"{m.ttft_s:.3f}",
            f"{m.decode_tokens_per_s:.1f}",
            f"{m.prompt_kv.total_device / 1e6:.2f}",
            f"{m.peak_bytes / 1e6:.1f}",
        )
    console = Console(file=sys.stdout)
    console.print(table)
    pruned = result.pruned.metrics
    if pruned is not None and pruned.outside_s:
        console.print(f"Scores from outside the model took {pruned.outside_s:.3f} s of the pruned TTFT.")
    if pruned is not None and pruned.note:
        console.print(pruned.note)
    if pruned is not None and pruned.beyond_budget:
        console.print(pruned.beyond_budget)
    if result.comparison is not None:
        c = result.comparison
        console.print(
            f"TTFT {c.ttft:.2f}x (FLOPs {c.ttft_flops:.2f}x, efficiency {c.efficiency:.2f}), prompt KV "
            f"{c.kv_bytes:.2f}x; first-token KL {c.first_token_kl:.4f}, agreement {c.agreement:.0%}."
        )
