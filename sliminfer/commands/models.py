"""`sliminfer models`: what is known to work, and what fits here."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sliminfer.commands import options


def command(
    check: Annotated[
        str | None, typer.Option(metavar="NAME", help="Check one model: family, exactness, backends, cost of a prompt.")
    ] = None,
    context: Annotated[int, typer.Option(help="Prompt length in tokens for the memory estimate.")] = 8192,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    json: options.JsonFile = None,
) -> None:
    """Known models: parameters, memory at a context length, and what fits on this machine."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from sliminfer.errors import ConfigError
    from sliminfer.model.devices import free_memory, resolve_device, resolve_dtype
    from sliminfer.model.known import known_models

    if context < 1:
        raise ConfigError(f"A context of {context} tokens is no prompt: give at least 1.")
    place = resolve_device(device)
    kind, free = resolve_dtype(dtype, place), free_memory(place)
    kind_name = str(kind).removeprefix("torch.")
    if check is not None:
        _check(check, context, kind, json)
        return
    rows: list[dict[str, Any]] = []
    for name, model in known_models().items():
        need = model.memory(context, kind.itemsize)
        rows.append(
            {
                "model": name,
                "parameters": model.shape.params,
                "context": model.shape.context,
                "weights_bytes": need.weights,
                "kv_bytes": need.kv,
                "activation_bytes": need.activations,
                "slack_bytes": need.slack,
                "total_bytes": need.total,
                "fits": need.total <= free and context <= model.shape.context,
                "note": model.note,
                "source": model.source,
            }
        )
    if json is not None:
        head = {"device": str(place), "dtype": kind_name, "context": context, "free_bytes": free}
        options.write_json(head | {"models": rows}, json)
        if json == "-":
            return
    title = f"{context:,} tokens in {kind_name} on {place} with {free / 1e9:.1f} GB free"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("model", overflow="fold")
    for heading in ("params", "context", "weights", "KV", "all GB", "fits"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row["model"],
            f"{row['parameters'] / 1e9:.2f}B",
            f"{row['context'] // 1024}K",
            f"{row['weights_bytes'] / 1e9:.2f}",
            f"{row['kv_bytes'] / 1e9:.2f}",
            f"{row['total_bytes'] / 1e9:.2f}",
            "yes" if row["fits"] else "no",
        )
    Console().print(table)


def _check(name: str, context: int, dtype: Any, json: str | None) -> None:
    """What is known of one model, on stdout or as JSON."""
    from sliminfer.commands.check_model import check_model

    found = check_model(name, context, dtype)
    if json is not None:
        options.write_json(found.to_dict(), json)
        if json == "-":
            return
    tried = "" if found.difference is None else f" (self-test on a tiny copy: within {found.difference:.0e})"
    print(f"{found.model}: {found.family} ({found.model_type}), {found.parameters / 1e9:.2f}B, {found.layers} layers")
    print(f"runs by {found.runs}; attention {', '.join(found.backends)}; up to {found.longest:,} tokens")
    print(f"a pruned run equals {found.exactness}{tried}")
    for step in found.steps:
        by = " and ".join(map(str, step["scored_by"])) or "no layer"
        print(f"preset: from layer {step['layer']} on {100 * step['keep']:g} % of the prompt, scored by layer {by}")
    print(
        f"{context:,} tokens: {found.full_flops / 1e12:.2f} TFLOP to the first token, {found.pruned_flops / 1e12:.2f} "
        f"pruned ({found.full_flops / found.pruned_flops:.2f}x less); KV {found.kv_bytes / 1e9:.2f} GB, "
        f"{found.pruned_kv_bytes / 1e9:.2f} pruned; {found.total_bytes / 1e9:.2f} GB in all"
    )
