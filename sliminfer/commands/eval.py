"""`sliminfer eval`: accuracy and speed of pruning methods against the full model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sliminfer.commands import measuring, options
from sliminfer.schedule.presets import DEFAULT_PRESET

if TYPE_CHECKING:
    from sliminfer.schedule.config import SlimConfig


def command(
    suite: measuring.Suites = "needle,multikey,quote",
    context: measuring.Contexts = "4096",
    methods: Annotated[str, typer.Option(help="Comma-separated pruning methods; full is always run.")] = "sliminfer",
    examples: measuring.Examples = 50,
    seed: measuring.Seed = 0,
    model: options.Model = "demo",
    draft: options.Draft = None,
    packed: options.Packed = False,
    prune: options.Prune = None,
    preset: options.Preset = DEFAULT_PRESET,
    config: options.ConfigFile = None,
    reading: options.Reading = None,
    reading_share: options.ReadingShare = None,
    reading_options: options.ReadingOptions = None,
    flop_budgets: Annotated[
        str | None,
        typer.Option(
            "--match-flops", help="FLOP budgets, as speed-ups that every method's schedule is solved for: 1.5,2,2.5,3."
        ),
    ] = None,
    query_window: Annotated[
        str | None,
        typer.Option(help="Whose queries score, for every method: question, or how many of the last; else its own."),
    ] = None,
    read_once: Annotated[
        bool,
        typer.Option("--read-once", help="Read a document once for all its questions; TTFT is then a follow-up's."),
    ] = False,
    filler: measuring.FillerText = None,
    data: measuring.Data = measuring.DATA,
    download: measuring.Download = False,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    attention: options.Attention = "auto",
    json: measuring.Result = None,
) -> None:
    """Ask seeded questions about long texts, on the full model and under each pruning method."""
    from sliminfer.evaluate.evaluate import Variant
    from sliminfer.evaluate.read_once import ReadOnce
    from sliminfer.sparse import check_reading

    names = [name for name in (part.strip() for part in methods.split(",")) if name and name != "full"]
    targets = [] if flop_budgets is None else measuring.numbers(flop_budgets, "--match-flops")
    asked = measuring.Asked(
        suite=suite, context=context, examples=examples, seed=seed, model=model, filler=filler, data=data,
        download=download, device=device, dtype=dtype, attention=attention, packed=packed,
        draft=draft,
    )  # fmt: skip
    job = measuring.prepare(asked)
    if read_once:
        job = replace(job, read_once=ReadOnce(job.engine))
    layers = job.engine.loaded.layers
    asked_for = prune is not None or config is not None or preset != DEFAULT_PRESET
    name, seeing = job.engine.loaded.name, job.seeing
    base = options.make_config(layers, prune, preset, config, model=name, seeing=seeing) if asked_for else None
    configs = method_configs(list(dict.fromkeys(names)), base, layers, name, seeing)
    for method, made in configs.items():
        told = options.reading_changes(reading, reading_share, reading_options, made.reading_options)
        configs[method] = made.with_changes(**told) if told else made
        check_reading(configs[method])
    if query_window is not None:
        window = None if query_window == "question" else measuring.whole_numbers(query_window, "--query-window")[0]
        told = {name: f"{name}/{query_window}" for name in configs}
        configs = {told[name]: made.with_changes(query_window=window) for name, made in configs.items()}
    if targets:
        variants = {}
        for length in job.contexts:
            solved = [
                measuring.solve(job, f"{name}@{target:g}x", made, length, target)
                for name, made in configs.items()
                for target in targets
            ]
            variants[length] = [variant for variant in solved if variant is not None]
    else:
        plain = [Variant(name, made) for name, made in configs.items()]
        variants = dict.fromkeys(job.contexts, plain)
    path = asked.result_path(
        json,
        "eval",
        methods=methods,
        prune=prune,
        preset=preset,
        config=config,
        flop_budgets=flop_budgets,
        query_window=query_window,
        **asked_reading(reading, reading_share, reading_options),
        **({"read_once": True} if read_once else {}),
    )
    records = measuring.measure(job, variants, path, "eval")
    if job.shard.first:
        measuring.finish(measuring.result(job, variants, records), json, path)


def asked_reading(reading: str | None, share: float | None, more: str | None) -> dict[str, object]:
    """The reading options as part of a result's name; nothing where none is given, as before there were any."""
    told = {"reading": reading, "reading_share": share, "reading_options": more}
    return {name: value for name, value in told.items() if value is not None}


def method_configs(
    names: list[str], base: SlimConfig | None, layers: int, model: str = "", seeing: Sequence[int] | None = None
) -> dict[str, SlimConfig]:
    """Each method in its published setting, or, where `base` is given, under its schedule.

    Methods that prune once keep their own schedule where that of `base` has more steps.
    """
    from sliminfer.selectors import baselines, check_method, published, selector_class

    configs = {}
    for name in names:
        own = published(name, layers, model, seeing)
        if base is None or name in baselines():
            configs[name] = own
            continue
        changes: dict[str, Any] = {"method": name, "options": base.options if name == base.method else {}}
        if len(base.steps) > 1 and selector_class(name).one_step:
            changes |= {"steps": own.steps, "options": own.options}
        configs[name] = base.with_changes(**changes)
        check_method(configs[name])
    return configs
