"""Readings in files: safetensors with a checksum, of one model and one text, or refused."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sliminfer.engine.reading import Reading
from sliminfer.errors import ConfigError
from sliminfer.schedule.reading import SparseReading

FORMAT = "sliminfer-reading-2"
_HEADER_BYTES = 1 << 16  # more than what a file tells of a hundred layers' tensors
_SAMPLES = 16  # values of each weight that its model is known by


def save_reading(reading: Reading, path: str | Path, model: nn.Module) -> None:
    """Write `reading` of `model` to `path`, in place of what is there, once it is whole.

    The file has the document's token ids, and states from which its text could be told: keep it as you keep the text.

    Raises:
        ConfigError: the file cannot be written.
    """
    target = Path(path)
    tensors = {name: each.cpu().contiguous() for name, each in _named(reading)}
    tensors["ids"] = torch.tensor(reading.ids, dtype=torch.int64)
    told = {
        "format": FORMAT,
        "layer": str(reading.layer),
        "model": model_digest(model),
        "document": _digest([tensors["ids"]]),
        "sparse": json.dumps(None if reading.sparse is None else asdict(reading.sparse)),
        "choosing": str(reading.choosing),
    }
    told["checksum"] = _checksum(tensors, told)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
        save_file(tensors, temporary, told)
        os.replace(temporary, target)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise ConfigError(f"The reading cannot be written to {target} ({error}): choose another place.") from error


def load_reading(path: str | Path, model: nn.Module, device: torch.device | str = "cpu") -> Reading:
    """The reading of `model` in the file `path`, as `save_reading` wrote it.

    Raises:
        ConfigError: there is no such file, it is damaged, no reading, or one of another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            if told.get("format") != FORMAT:
                raise ConfigError(f"{path} is no reading of this version: read the document again.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a reading ({error}): read the document again.") from error
    if told.pop("checksum", "") != _checksum(tensors, told):
        raise ConfigError(f"{path} is damaged, its checksum is another: read the document again.")
    if told.get("model") != model_digest(model):
        raise ConfigError(f"{path} is a reading of another model: load that model, or read the document again.")
    try:
        layer, ids, options = int(told["layer"]), tensors["ids"], json.loads(told["sparse"])
        if told["document"] != _digest([ids]):
            raise ValueError("it is of another document")
        reading = Reading(
            tuple(ids.tolist()),
            layer,
            tuple(tensors[f"keys.{index}"] for index in range(layer)),
            tuple(tensors[f"values.{index}"] for index in range(layer)),
            tensors["hidden"],
            tensors["tail"],
            None if options is None else SparseReading(**options),
            int(told["choosing"]),
            {index: tensors[name] for index in range(layer) if (name := f"counts.{index}") in tensors},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is not whole ({error}): read the document again.") from error
    return reading.to(device)


def file_bytes(reading: Reading) -> int:
    """The most that `reading` takes in a file."""
    return reading.nbytes + 8 * len(reading) + _HEADER_BYTES


def model_digest(model: nn.Module) -> str:
    """What tells a model from others: its configuration, and the form and some values of every weight."""
    config = getattr(model, "config", None)
    told = {} if config is None else config.to_dict()
    for name in ("_name_or_path", "transformers_version", "use_cache"):  # the same weights may come from elsewhere
        told.pop(name, None)
    summary = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
    for name, weight in model.state_dict().items():
        flat = weight.detach().flatten()
        some = flat[:: max(1, len(flat) // _SAMPLES)][: 2 * _SAMPLES]
        summary.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        summary.update(_bytes(some))
    return summary.hexdigest()


def _named(reading: Reading) -> Iterable[tuple[str, Tensor]]:
    for name, layers in (("keys", reading.keys), ("values", reading.values)):
        yield from ((f"{name}.{index}", each) for index, each in enumerate(layers))
    yield "hidden", reading.hidden
    yield "tail", reading.tail
    yield from ((f"counts.{layer}", counts) for layer, counts in reading.counts.items())


def _checksum(tensors: Mapping[str, Tensor], told: Mapping[str, str]) -> str:
    summary = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    summary.update(_digest(tensors[name] for name in sorted(tensors)).encode())
    return summary.hexdigest()


def _digest(tensors: Iterable[Tensor]) -> str:
    summary = hashlib.sha256()
    for each in tensors:
        summary.update(f"{tuple(each.shape)} {each.dtype}".encode())
        summary.update(_bytes(each))
    return summary.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes()
