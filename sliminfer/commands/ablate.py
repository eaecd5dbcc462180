"""`sliminfer ablate`: every choice in the scoring rule against its alternatives, at the same FLOPs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sliminfer.commands import measuring, options
from sliminfer.config import DEFAULT_PRESET

BEGIN, END = "<!-- measured table: begin -->", "<!-- measured table: end -->"


def command(
    suite: measuring.Suites = "needle,multikey,quote",
    context: measuring.Contexts = "4096",
    examples: measuring.Examples = 50,
    seed: measuring.Seed = 0,
    model: options.Model = "demo",
    prune: options.Prune = None,
    preset: options.Preset = DEFAULT_PRESET,
    filler: measuring.FillerText = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    json: measuring.Result = None,
    markdown: Annotated[Path | None, typer.Option(help="Document whose measured table is to be replaced.")] = None,
) -> None:
    """Compare the scoring rule's choices: softmax, max or mean, units, blocks, keys, query window."""
    asked = dict(locals())  # before anything else is a local
    from sliminfer.ablation import ablation_table, rules
    from sliminfer.matching import flop_speedup

    data = measuring.DATA
    job = measuring.prepare(suite, context, examples, seed, filler, data, False, model, device, dtype, attention)
    loaded = job.engine.loaded
    base = options.make_config(loaded.layers, prune, preset)
    variants = {}
    for length in job.contexts:
        prompt = job.first_prompt(length)
        target = flop_speedup(base, loaded.shape, len(prompt), prompt.question)
        solved = [measuring.solve(job, label, made, length, target) for label, made in rules(base).items()]
        variants[length] = [variant for variant in solved if variant is not None]
    path = measuring.result_path(json, "ablate", asked)
    records = measuring.measure(job, variants, path, "ablate")
    if not job.shard.first:
        return
    found = measuring.result(job, variants, records)
    measuring.finish(found, json, path)
    if markdown is not None:
        write_table(markdown, f"{ablation_table(found['results'])}\n\n{source_line(found)}")


def source_line(data: dict[str, Any]) -> str:
    """One sentence that says how the table was made."""
    source = data["provenance"]
    return (
        f"{data['examples']} examples per suite at {', '.join(f'{c:,}' for c in data['contexts'])} tokens, seed "
        f"{data['seed']}, model {source['model']} on {source['device']} in {source['dtype']}, commit "
        f"{source['commit']}: `{source['command']}`."
    )


def write_table(path: Path, table: str) -> None:
    """Put `table` between the marks in `path`; a file without them gets both at its end."""
    text = path.read_text(encoding="utf-8") if path.is_file() else "# Ablation of the scoring rule\n"
    if BEGIN not in text or END not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")
