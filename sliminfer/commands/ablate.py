"""`sliminfer ablate`: every choice in the scoring rule against its alternatives, at the same FLOPs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sliminfer.commands import measuring, options
from sliminfer.schedule.presets import DEFAULT_PRESET

if TYPE_CHECKING:
    from sliminfer.evaluate.ablate_probe import Probed
    from sliminfer.evaluate.evaluate import Variant

BEGIN, END = "<!-- measured table: begin -->", "<!-- measured table: end -->"


def command(
    suite: measuring.Suites = "needle,multikey,quote",
    context: measuring.Contexts = "4096",
    examples: measuring.Examples = 50,
    answered: Annotated[int, typer.Option(help="Examples per suite that are also answered under every rule.")] = 20,
    seed: measuring.Seed = 0,
    model: options.Model = "demo",
    packed: options.Packed = False,
    prune: options.Prune = None,
    preset: options.Preset = DEFAULT_PRESET,
    reading: options.Reading = None,
    reading_share: options.ReadingShare = None,
    reading_options: options.ReadingOptions = None,
    filler: measuring.FillerText = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    json: measuring.Result = None,
    markdown: Annotated[Path | None, typer.Option(help="Document whose measured table is to be replaced.")] = None,
) -> None:
    """Compare the scoring rule's choices: softmax, max or mean, units, blocks, keys, query window."""
    from sliminfer.evaluate.ablate import ablation_table, rules
    from sliminfer.evaluate.ablate_probe import probe_table
    from sliminfer.selectors.budget import flop_speedup

    asked = measuring.Asked(
        suite=suite, context=context, examples=examples, seed=seed, model=model, filler=filler, data=measuring.DATA,
        download=False, device=device, dtype=dtype, attention=attention, packed=packed,
    )  # fmt: skip
    job = measuring.prepare(asked)
    loaded = job.engine.loaded
    base = options.make_config(
        loaded.layers, prune, preset, model=loaded.name, seeing=loaded.shape.seeing,
        reading=(reading, reading_share, reading_options),
    )  # fmt: skip
    variants: dict[int, list[Variant]] = {}
    for length in job.contexts:
        prompt = job.first_prompt(length)
        target = flop_speedup(base, loaded.shape, len(prompt), prompt.question)
        solved = [measuring.solve(job, label, made, length, target) for label, made in rules(base).items()]
        variants[length] = [variant for variant in solved if variant is not None]
    path = asked.result_path(json, "ablate", answered=answered, prune=prune, preset=preset)
    shares = evidence_shares(job, variants)
    records = measuring.measure(job, variants, path, "ablate", end=min(answered, examples))
    if not job.shard.first:
        return
    found = measuring.result(job, variants, records)
    found["evidence"] = [asdict(share) for share in shares]
    measuring.finish(found, json, path)
    if markdown is not None:
        tables = [probe_table(shares)] if shares else []
        tables += [f"{ablation_table(found['results'])}\n\nAnswered: {answered} per suite."] if records else []
        write_table(markdown, "\n\n".join([*tables, source_line(found)]))


def evidence_shares(job: measuring.Job, variants: Mapping[int, Sequence[Variant]]) -> list[Probed]:
    """What every rule keeps of the evidence at the first prune layer, on all examples of the job."""
    from sliminfer.commands.progress import progress_bar
    from sliminfer.evaluate.ablate_probe import probe

    places = [
        (suite, length, index)
        for length in job.contexts
        for suite in job.suites
        for index in range(suite.size(job.examples))
        if not suite.why_not(length, index)
    ]
    mine = job.shard.mine(places)
    shares: list[Probed] = []
    with progress_bar(len(mine), "evidence", shown=job.shard.first) as step:
        for suite, length, index in mine:
            rules = {variant.label: variant.config for variant in variants[length]}
            shares += probe(job.engine, [suite.item(length, index)], rules)
            step(f"evidence {suite.name} {length:,}")
    return [share for found in job.shard.everyone(shares) for share in found]


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
