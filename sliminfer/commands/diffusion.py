"""`sliminfer diffusion`: from which layer on a model can do without the passage that its answer rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sliminfer.commands import measuring, options
from sliminfer.errors import ConfigError

if TYPE_CHECKING:
    from sliminfer.diffusion.summary import DiffusionSummary


def command(
    suite: measuring.Suites = "needle,multikey",
    context: measuring.Contexts = "4096",
    examples: measuring.Examples = 10,
    draws: Annotated[int, typer.Option(help="Removals of random blocks at each layer, as the control.")] = 3,
    seed: measuring.Seed = 0,
    model: options.Model = "demo",
    packed: options.Packed = False,
    filler: measuring.FillerText = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    json: measuring.Result = None,
) -> None:
    """Remove each example's evidence from every layer on, against random blocks, and sum up what the answers lose."""
    from sliminfer.commands.progress import progress_bar
    from sliminfer.diffusion.plan import DiffusionPlan
    from sliminfer.diffusion.summary import DiffusionSummary
    from sliminfer.evaluate.diffuse import diffuse
    from sliminfer.evaluate.provenance import provenance

    asked = measuring.Asked(
        suite=suite, context=context, examples=examples, seed=seed, model=model, filler=filler, data=measuring.DATA,
        download=False, device=device, dtype=dtype, attention=attention, packed=packed,
    )  # fmt: skip
    job = measuring.prepare(asked)
    loaded = job.engine.loaded
    plan = DiffusionPlan.every_layer(loaded.layers, draws)
    places = [
        (each, length, index)
        for index in range(examples)
        for length in job.contexts
        for each in job.suites
        if index < each.size(examples) and not each.why_not(length, index)
    ]
    with progress_bar(len(job.shard.mine(places)), "diffusion", shown=job.shard.first) as step:
        results = diffuse(job.engine, places, plan, job.shard, step)
    if not job.shard.first:
        return
    try:
        summary = DiffusionSummary.of(results)
    except ValueError as error:
        raise ConfigError(
            f"Nothing is learnt about {loaded.name}: {error}. Ask for suites that it can answer, such as needle."
        ) from error
    data = {
        "model": loaded.name,
        "device": loaded.device_name,
        "dtype": loaded.dtype_name,
        "provenance": provenance(loaded),
        "suites": [each.name for each in job.suites],
        "contexts": job.contexts,
        "seed": seed,
        "draws": draws,
        "diffusion": summary.to_dict(),
    }
    path = str(asked.result_path(json, "diffusion", draws=draws))
    options.write_json(data, "-" if json == "-" else path)
    if json != "-":
        print(sentence(loaded.name, summary))


def sentence(model: str, summary: DiffusionSummary) -> str:
    """What a summary says, in a line."""
    where = summary.half_gone
    says = (
        f"half of what the passage gives the answer is elsewhere from layer {where} of {summary.layers} on"
        if where < summary.layers
        else f"the passage itself is needed up to the last of {summary.layers} layers"
    )
    return f"{model}, median of {summary.probes} passages ({summary.left_out} left out): {says}."
