"""What `sliminfer models --check NAME` says of one model, from its config alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from sliminfer.model.families import text_config
from sliminfer.model.gguf_config import gguf_config
from sliminfer.model.gguf_header import read_gguf_header
from sliminfer.model.loading import read_config
from sliminfer.model.recognise import family_of, shape_of
from sliminfer.model.sources import find_gguf
from sliminfer.model.unknown import self_test
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import kv_bytes, prefill_flops
from sliminfer.schedule.memory import memory_estimate
from sliminfer.schedule.sight import scorers_of
from sliminfer.selectors import published, selector_class


@dataclass(frozen=True)
class Checked:
    """A model's family, whether pruning it is exact, and what a prompt costs.

    Attributes:
        runs: "fused steps", "own forward", or "own forward, found by a self-test".
        exactness: what a pruned run equals, in words.
        difference: of the self-test on a tiny random copy, fp32; None where there is none for this kind of model.
        backends: attention backends that it runs on, by transformers' names.
        steps: the prune steps of the preset, and the layers that score each.
        full_flops, pruned_flops: of a prefill of `context` tokens.
        kv_bytes, pruned_kv_bytes: after it.
    """

    model: str
    model_type: str
    family: str
    runs: str
    exactness: str
    difference: float | None
    backends: tuple[str, ...]
    parameters: int
    layers: int
    longest: int
    context: int
    steps: tuple[dict[str, Any], ...]
    full_flops: float
    pruned_flops: float
    kv_bytes: int
    pruned_kv_bytes: int
    total_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


def check_model(name: str, context: int, dtype: torch.dtype) -> Checked:
    """The check of the model called `name`, as `load_model` takes it, for prompts of `context` tokens.

    Raises:
        ModelError: there is no such model, or it cannot be pruned.
    """
    file = find_gguf(name)
    config = text_config(read_config(name) if file is None else gguf_config(read_gguf_header(file)))
    family, shape = family_of(config), shape_of(config)
    exact, difference = "the dense model with dropped tokens masked as keys", None
    if all(shape.attending):
        difference = self_test(config).difference
    else:
        exact = "the stock model on the compacted sequence from each prune layer on: an approximation"
    slim = published(SlimConfig.method, shape.layers, name, shape.seeing)
    plan = selector_class(slim.method).plan(slim, BlockMap.of(context, slim, None), shape.layers, shape.seeing)
    full = (context,) * shape.layers
    return Checked(
        model=name,
        model_type=config.model_type,
        family=family.label,
        runs=_runs(family.fused is not None, family.tested),
        exactness=exact,
        difference=difference,
        backends=(*family.backends, "eager"),
        parameters=shape.params,
        layers=shape.layers,
        longest=shape.context,
        context=context,
        steps=tuple(
            {
                "layer": step.layer,
                "keep": step.keep,
                "scored_by": list(scorers_of(step.layer, shape.seeing, slim.score_layer).layers(step.layer)),
            }
            for step in slim.steps
        ),
        full_flops=prefill_flops(shape, full),
        pruned_flops=prefill_flops(shape, plan.layer_runs, plan.scored),
        kv_bytes=kv_bytes(shape, full, dtype.itemsize),
        pruned_kv_bytes=kv_bytes(shape, plan.layer_runs[-shape.layers :], dtype.itemsize),
        total_bytes=memory_estimate(shape, context, dtype.itemsize).total,
    )


def _runs(fused: bool, tested: bool) -> str:
    if fused:
        return "fused steps"
    return "own forward, found by a self-test" if tested else "own forward"
