"""Options that several commands share, and how they become a model and a config."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sliminfer.engine.plain import plain
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig, parse_steps
from sliminfer.schedule.presets import DEFAULT_PRESET, PRESETS

if TYPE_CHECKING:
    from sliminfer.model.loading import LoadedModel

Model = Annotated[
    str, typer.Option(help="demo, smollm2, a folder, FILE.gguf, a Hub id, or OWNER/REPO:FILE.gguf on the Hub.")
]
Draft = Annotated[
    str | None,
    typer.Option(help="A smaller model, named as --model is, that reads first for specprefill and sliminfer-draft."),
]
Quantize = Annotated[str, typer.Option(help="Load safetensors as int8 or nf4 (bitsandbytes), or none.")]
Packed = Annotated[bool, typer.Option("--packed", help="Leave the weights of a GGUF file packed: less memory, slower.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N, or balanced over all GPUs.")]
Dtype = Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")]
Attention = Annotated[str, typer.Option(help="auto, sdpa, eager or flash_attention_2.")]
Kernels = Annotated[str, typer.Option(help="auto, torch or triton.")]
Prune = Annotated[
    str | None, typer.Option(help="Prune steps LAYER:KEEP,..., keep as a fraction or a token count: 4:0.25,8:0.125.")
]
Preset = Annotated[str, typer.Option(help=f"Schedule where --prune is not given: {', '.join(PRESETS)}.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="JSON config or preset file of `tune`.")]
Method = Annotated[str | None, typer.Option(help="Pruning method (default: sliminfer).")]
Active = Annotated[float | None, typer.Option(help="What decode attends to, as a fraction of the survivors.")]
Refresh = Annotated[int | None, typer.Option(help="Decode steps between two looks at this working set (default: 8).")]
Gamma = Annotated[
    float | None, typer.Option(help="Blocks are swapped when less of it than this is still wanted (default: 0.9).")
]
ActivePreserve = Annotated[
    bool | None, typer.Option(help="Whether the layers before the first prune step have a working set as well.")
]
Decode = Annotated[str | None, typer.Option(help="Who chooses it: blocks, retrieval or lychee (default: blocks).")]
Reading = Annotated[
    str | None,
    typer.Option(
        help="How the layers before the first prune step read a long prompt: dense, or sparse, chosen blocks of it."
    ),
]
ReadingShare = Annotated[
    float | None, typer.Option(help="Share of the blocks that sparse reading attends to (default: 0.25).")
]
ReadingOptions = Annotated[
    str | None,
    typer.Option(
        help='Other options of sparse reading as NAME=VALUE,...: chooser=antidiagonal,rule=mass,threshold=0.9,block=64.'
    ),
]
FlopBudget = Annotated[
    float | None,
    typer.Option(
        "--match-flops", help="FLOP budget, as the speed-up of the prefill that the keeps are solved for, such as 2.3."
    ),
]
JsonFile = Annotated[str | None, typer.Option("--json", help="Write the result as JSON to a file, or - for stdout.")]


def load(
    model: str,
    device: str = "auto",
    dtype: str = "auto",
    attention: str = "auto",
    packed: bool = False,
    quantize: str = "none",
) -> LoadedModel:
    """The model that the options name, without progress bars."""
    from transformers.utils import logging

    from sliminfer.model.loading import load_model

    logging.disable_progress_bar()
    return load_model(model, device=device, dtype=dtype, attention=attention, packed=packed, quantize=quantize)


def reading_changes(
    reading: str | None, share: float | None, more: str | None, options: Mapping[str, Any] = MappingProxyType({})
) -> dict[str, Any]:
    """The changes to a config that the three reading options ask for; `options` are those that it has.

    A share or other options alone ask for sparse reading.
    """
    told: dict[str, Any] = {} if share is None else {"share": share}
    for part in filter(None, (piece.strip() for piece in (more or "").split(","))):
        name, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"--reading-options has {part!r}: write NAME=VALUE, as in chooser=antidiagonal.")
        try:
            told[name.strip()] = json.loads(value)
        except ValueError:
            told[name.strip()] = value.strip()
    if reading is None and not told:
        return {}
    if reading == "dense" and told:
        raise ConfigError("--reading dense reads everything: leave out the share and the options, or ask for sparse.")
    return {"reading": reading or "sparse", "reading_options": {**options, **told}}


def make_config(
    layers: int,
    prune: str | None = None,
    preset: str = DEFAULT_PRESET,
    config_file: Path | None = None,
    method: str | None = None,
    model: str = "",
    seeing: Sequence[int] | None = None,
    reading: tuple[str | None, float | None, str | None] = (None, None, None),
    **changes: Any,
) -> SlimConfig:
    """The config that the options name for a model of `layers` layers called `model`, of which `seeing` can choose.

    `--prune` wins over `--config`, which wins over `--preset`; `method` and other changes go on top. A method
    that comes with nothing else has its published setting. `reading` are the three options of sparse reading.
    """
    from sliminfer.selectors import check_method, published
    from sliminfer.sparse import check_reading

    if config_file is not None:
        config = SlimConfig.from_file(config_file)
    elif method is not None and preset == DEFAULT_PRESET:
        config = published(method, layers, model, seeing)
    else:
        config = SlimConfig.preset(preset, layers, model, seeing)
    if prune is not None:
        changes["steps"] = parse_steps(prune)
    if method is not None:
        changes["method"] = method
    changes |= reading_changes(*reading, config.reading_options)
    config = config.with_changes(**changes) if changes else config
    config.check_model(layers)
    check_method(config)
    check_reading(config)
    return config


def write_json(data: Any, target: str) -> None:
    """Write `data` as JSON to the file `target`, or to stdout for "-"; NaN and infinity become null."""
    text = json.dumps(plain(data), indent=2, ensure_ascii=False)
    if target == "-":
        print(text)
        return
    path = Path(target)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{target} cannot be written ({error.strerror}): choose another place for --json.") from error
