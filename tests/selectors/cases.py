"""The methods under test, and what a run of any of them must equal."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import available, selector_class

TWICE = (PruneStep(2, 0.7), PruneStep(4, 0.5))
ONCE = (PruneStep(3, 0.5),)
EVIDENCE = ((30, 37),)


def case(method: str, steps: tuple[PruneStep, ...] = TWICE, **options: Any) -> SlimConfig:
    return SlimConfig(steps, method, options, block_size=8, sink=1, local=10, query_window=4, decode_block_size=8)


# What a method is tested with where its own defaults are no test: on prompts as short as these.
OPTIONS: dict[str, dict[str, Any]] = {
    "adaptive": {"mass": 0.5, "least": 0.1},
    "asl": {"pool": 3, "settled": 1.0, "window": 2},
    "claa": {"pool": 3, "layers": 2},
    "fastkv": {"pool": 3},
    "random": {"seed": 3},
}


def case_of(method: str) -> SlimConfig:
    """What the matrix runs `method` with."""
    config = case(method, ONCE if selector_class(method).one_step else TWICE, **OPTIONS.get(method, {}))
    if selector_class(method).source(config) is None:
        return config
    return config.with_changes(steps=(PruneStep(0, config.steps[0].keep), *config.steps[1:]))


# Every method that there is goes through all tests of the matrix.
CASES = tuple(case_of(method) for method in available() if method != "full")


def outside(tokens: int) -> Tensor:
    """Scores from outside the model, as good as any [tokens]."""
    return torch.rand(tokens, generator=torch.Generator().manual_seed(11))


@dataclass(frozen=True)
class Run:
    """A prefill and some appended tokens, call by call.

    Attributes:
        logits: of the last position of each call [calls, vocabulary].
        kept: after each call, for each layer, the original prompt positions that have KV in it.
    """

    logits: Tensor
    kept: list[list[Tensor]]


def run(model: Any, ids: Tensor, follow: Tensor, config: SlimConfig) -> Run:
    """Prefill `ids` [1, N], then append the tokens of `follow` [1, k] one by one."""
    cache = DynamicCache()
    logits, kept = [], []
    with torch.inference_mode(), slim(model, config, evidence=EVIDENCE, outside=outside(ids.shape[1])) as loop:
        for part in (ids, *follow.split(1, dim=1)):
            logits.append(model(part, past_key_values=cache, logits_to_keep=1).logits[0, -1])
            kept.append([positions.clone() for positions in loop.kept_positions(cache)])
    return Run(torch.stack(logits), kept)


def expected(model: Any, ids: Tensor, follow: Tensor, config: SlimConfig, found: Run) -> Tensor:
    """What the stock model says where it may see exactly what `found` saw [calls, vocabulary]."""
    prompt = ids.shape[1]
    if selector_class(config.method).two_pass and not selector_class(config.method).keeps_positions:
        chosen = found.kept[0][0]
        with torch.inference_mode():
            short: Tensor = model(torch.cat([ids[:, chosen], follow], 1), use_cache=False).logits[0]
        return short[len(chosen) - 1 :]
    computed = computed_at(found.kept, prompt, follow.shape[1])
    return timed_logits(model, torch.cat([ids, follow], 1), computed)[prompt - 1 :]


def computed_at(kept: list[list[Tensor]], prompt: int, appended: int) -> Tensor:
    """In which call each token ran through each layer, infinity for never [layers, tokens]."""
    times = torch.full((len(kept[0]), prompt + appended), math.inf)
    times[:, prompt:] = torch.arange(1, appended + 1)
    for call in reversed(range(len(kept))):
        for layer, positions in enumerate(kept[call]):
            times[layer, positions] = call
    return times


def timed_logits(model: Any, ids: Tensor, computed: Tensor) -> Tensor:
    """Logits [tokens, vocabulary] of the stock model where, in each layer, a token sees only those before it
    that had run through the layer by the time it did. Written without the project's loop, masks or cache."""
    position = torch.arange(ids.shape[1])
    handles = []

    def mask_of(times: Tensor) -> Any:
        allowed = (position[None, :] <= position[:, None]) & (times[None, :] <= times[:, None])
        mask: Tensor = allowed[None, None]
        if model.config._attn_implementation == "eager":
            mask = torch.where(mask, 0.0, torch.finfo(model.dtype).min).to(model.dtype)
        return lambda module, args, kwargs: (args, kwargs | {"attention_mask": mask})

    try:
        for times, layer in zip(computed, model.get_decoder().layers, strict=True):
            handles.append(layer.register_forward_pre_hook(mask_of(times), with_kwargs=True))
        with torch.inference_mode():
            logits: Tensor = model(ids, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits
