"""A toy decoder in a screenful, so that the cache is driven as the real layer loop drives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.cache import Copy, OnDemandEngine, SimCopyEngine, SlimCache, SyncCopyEngine, VirtualClock
from sliminfer.cache.copies import BlocksCopy, TensorCopy
from sliminfer.cache.sim_engine import Link
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig

HEADS, KV_HEADS, WIDTH = 4, 2, 8


class Toy:
    """`layers` attention layers with residuals; prune layers keep given positions."""

    def __init__(self, layers: int, seed: int = 0) -> None:
        make = torch.Generator().manual_seed(seed)
        size = HEADS * WIDTH
        self.weights = [
            [torch.randn(size, n * WIDTH, generator=make) / size**0.5 for n in (HEADS, KV_HEADS, KV_HEADS)]
            for _ in range(layers)
        ]

    def project(self, layer: int, which: int, hidden: Tensor) -> Tensor:
        """[1, heads, tokens, width] of hidden [tokens, size]."""
        flat = hidden @ self.weights[layer][which]
        return flat.view(len(hidden), -1, WIDTH).transpose(0, 1)[None]

    def run(
        self,
        hidden: Tensor,
        cache: SlimCache,
        kept: dict[int, Tensor] | None = None,
        after_layer: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """The last hidden state [size]; `kept` are the positions that enter each prune layer of a prefill."""
        prefill = kept is not None
        if not prefill:
            cache.begin_step()
        alive = torch.arange(len(hidden), device=hidden.device)
        positions = []
        for layer in range(len(self.weights)):
            if prefill and layer in kept:
                hidden = hidden[torch.searchsorted(alive, kept[layer])]
                alive = kept[layer]
            positions.append(alive)
            query = self.project(layer, 0, hidden)
            if cache.wants_query(layer):
                cache.observe_query(layer, query[0, :, -4:])
            keys, values = cache.update(self.project(layer, 1, hidden), self.project(layer, 2, hidden), layer)
            out = F.scaled_dot_product_attention(query, keys, values, is_causal=prefill, enable_gqa=True)
            hidden = hidden + out[0].transpose(0, 1).flatten(1)
            after_layer()
        if prefill:
            cache.finish_prefill(positions)
        return hidden[-1]


def targets(copy: Copy) -> list[Tensor]:
    """What `copy` writes."""
    if isinstance(copy, TensorCopy):
        return [copy.target]
    assert isinstance(copy, BlocksCopy)
    size = copy.spans[0].shape[3]
    return [copy.store[:, :, slot * size : (slot + 1) * size] for _, slot in copy.loads]


class PoisonEngine(SimCopyEngine):
    """The simulated link, and a slot in flight reads as NaN until its block is really there."""

    def submit(self, copies: Sequence[Copy]) -> int:
        for copy in copies:
            for target in targets(copy):
                target.fill_(float("nan"))
        return super().submit(copies)


@dataclass
class Case:
    """One prompt of the toy model and its pruning."""

    tokens: int
    config: SlimConfig
    layers: int = 5
    seed: int = 0

    @property
    def blocks(self) -> BlockMap:
        return BlockMap.of(self.tokens, self.config)

    def kept(self) -> dict[int, Tensor]:
        """Whole blocks drawn at random at each prune step, forced ones first."""
        make = torch.Generator().manual_seed(self.seed)
        blocks, found = self.blocks, {}
        alive = list(range(len(blocks)))
        for step in self.config.steps:
            rest = [block for block in alive if block not in blocks.forced]
            drawn = torch.randperm(len(rest), generator=make)[: max(0, blocks.budget(step) - len(blocks.forced))]
            alive = sorted([*blocks.forced, *(rest[i] for i in drawn.tolist())])
            found[step.layer] = torch.tensor([p for block in alive for p in range(*blocks.span(block))])
        return found

    def cache(self, **options: object) -> SlimCache:
        return SlimCache(self.config, self.layers, self.blocks, **options)  # type: ignore[arg-type]

    def toy(self) -> Toy:
        return Toy(self.layers, self.seed)

    def prompt(self) -> Tensor:
        return torch.randn(self.tokens, HEADS * WIDTH, generator=torch.Generator().manual_seed(self.seed + 1))

    def answer(
        self,
        cache: SlimCache,
        steps: int,
        after_layer: Callable[[], None] = lambda: None,
        after_step: Callable[[], None] = lambda: None,
    ) -> list[Tensor]:
        """Last hidden states of prefill and of `steps` decode steps, each fed the state before."""
        toy = self.toy()
        states = [toy.run(self.prompt(), cache, self.kept(), after_layer)]
        after_step()
        for _ in range(steps):
            states.append(toy.run(F.normalize(states[-1], dim=0)[None] * 5, cache, None, after_layer))
            after_step()
        return states


def half_resident(**changes: object) -> Case:
    """118 tokens, two prune steps, half of the survivors resident, a look at every step."""
    config = SlimConfig(
        steps=(PruneStep(1, 0.8), PruneStep(3, 0.5)),
        block_size=8, local=9, active=0.5, refresh=1, gamma=1.0, decode_block_size=8, decode_unit_size=4,
    )  # fmt: skip
    return Case(118, config.with_changes(**changes))


def engines(clock: VirtualClock, link: Link) -> dict[str, Callable[[torch.device], object]]:
    """Every engine that needs no GPU, with and without prefetch."""
    return {
        "sync": lambda device: SyncCopyEngine(),
        "sync on demand": lambda device: OnDemandEngine(SyncCopyEngine()),
        "sim": lambda device: PoisonEngine(clock, link),
        "sim on demand": lambda device: OnDemandEngine(PoisonEngine(clock, link)),
    }
