"""One managed stage: it scores its units, asks the planner, and has its layers load what is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sliminfer.cache.copies import CopyEngine
from sliminfer.cache.layers import RaggedLayer, SlotLayer
from sliminfer.cache.planner import Planner
from sliminfer.cache.pools import HostLease
from sliminfer.cache.records import Refresh
from sliminfer.cache.stages import Stage, Survivors
from sliminfer.ops import dispatch as ops
from sliminfer.schedule.config import SlimConfig


class UnitScorer:
    """Scores a stage's blocks for a query by the mean keys of its units, which are always resident.

    Keys and queries are those of one layer, the same one that scored the stage's blocks in prefill: its
    query is known before any layer of the stage runs.
    """

    def __init__(self, keys: Tensor, config: SlimConfig) -> None:
        """`keys` are the survivors' keys after RoPE in the scoring layer [kv_heads, tokens, head_dim]."""
        self.units = ops.unit_keys(keys, config.decode_unit_size)
        per_block = config.decode_block_size // config.decode_unit_size
        self._block_of_unit = torch.arange(self.units.shape[1], device=keys.device) // per_block
        self._blocks = -(-keys.shape[1] // config.decode_block_size)
        self._config = config

    def __call__(self, query: Tensor) -> Tensor:
        """Score of each block, fp32 [blocks], for queries [q_heads, window, head_dim]."""
        return ops.block_scores(
            query.to(self.units.device),
            self.units,
            self._block_of_unit,
            self._blocks,
            scale=1.0 / math.sqrt(query.shape[-1]),
            aggregate=self._config.aggregate,
        )


class ManagedStage:
    """The working set of one stage in decode.

    A look at the working set takes two steps: `observe` scores the blocks for the query of one step, and
    `advance`, at the start of the next, exchanges blocks and starts the copies. They take effect in that
    step whether they were quick or late, because each layer waits for its own before it attends; the layers
    before it compute in the meantime. So no timing can change a token.
    """

    def __init__(
        self,
        stage: Stage,
        survivors: Survivors,
        scorer: UnitScorer,
        query: Tensor,
        config: SlimConfig,
    ) -> None:
        """Choose the first working set by `query`, the last of the prompt."""
        assert config.active is not None
        self.stage = stage
        self.survivors = survivors
        self.scorer = scorer
        self.planner = Planner(scorer(query).tolist(), survivors.slots(config.active), survivors.pinned, config.gamma)
        self.layers: list[SlotLayer] = []
        self._scores: Tensor | None = None
        self._key_positions: Tensor | None = None

    def place(self, prompt: Sequence[RaggedLayer], lease: HostLease, engines: Sequence[CopyEngine]) -> list[SlotLayer]:
        """Put each layer's survivors into slots and on the host; returns the layers that take over."""
        blocks = len(self.survivors)
        order = torch.tensor(self._resident_tokens())
        for index, (layer, engine) in enumerate(zip(prompt, engines, strict=True)):
            host = lease.spans(index * blocks, blocks)
            placed = SlotLayer(
                layer, order.to(layer.device), self.survivors.block_size, host, engine, len(self.survivors.positions)
            )
            self.layers.append(placed)
        self.layers[0].units = self.scorer.units
        return self.layers

    def observe(self, query: Tensor) -> None:
        """Score the blocks for the current step's query [q_heads, tokens, head_dim]."""
        self._scores = self.scorer(query)

    def advance(self, step: int) -> Refresh | None:
        """Act on the scores of the step before, if any; called after `settle`, before `step` runs."""
        if self._scores is None:
            return None
        # The sampled token has been read since these scores were queued, so reading them waits for nothing.
        scores, self._scores = self._scores.tolist(), None
        swap = self.planner.plan(scores)
        nbytes = 0
        if swap.loads:
            nbytes = sum(layer.load(swap.loads) for layer in self.layers)
            self._key_positions = None
        return Refresh(step, self.stage.index, tuple(scores), swap.overlap, swap.loads, swap.frees, nbytes)

    def settle(self) -> None:
        """Confirm all loads: every layer waits for what it has not waited for yet."""
        for layer in self.layers:
            layer.settle()
            layer.let_go()
        self.planner.loaded()

    def key_positions(self) -> Tensor:
        """Original position of each resident prompt token, in the order of the slots, int64 [resident]."""
        if self._key_positions is None:
            positions = self.survivors.positions
            held = [positions[token] for token in self._resident_tokens()]
            self._key_positions = torch.tensor(held, device=self.layers[0].device)
        return self._key_positions

    def _resident_tokens(self) -> list[int]:
        return [token for block in self.planner.order for token in range(*self.survivors.span(block))]
