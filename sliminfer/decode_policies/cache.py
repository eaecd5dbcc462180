"""PolicyCache: the KV-cache manager with a decode policy in place of its block working sets."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import torch
from torch import Tensor

from sliminfer.cache import SlimCache
from sliminfer.cache.stages import Survivors, check_active, forced_spans
from sliminfer.decode_policies.base import DecodePolicy
from sliminfer.decode_policies.searched import SearchedLayer
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig


class PolicyCache(SlimCache):
    """Every layer, preserve layers too, keeps its survivors on the host and attends to `active` of them a step.

    The blocks that are always kept stay on the device and count toward `active`. A layer whose survivors fit
    `active` stays on the device whole: at full budget nothing differs from a run without a policy, bit for bit.
    """

    def __init__(self, config: SlimConfig, layers: int, blocks: BlockMap, policy: DecodePolicy, **kwargs: Any) -> None:
        """An empty cache for one prompt; `kwargs` as for SlimCache."""
        super().__init__(config.with_changes(active=None, decode="blocks", decode_options={}), layers, blocks, **kwargs)
        check_active(config, blocks)
        assert config.active is not None
        self.policy = policy
        self._share = config.active
        self._forced = forced_spans(blocks)
        self._searched: dict[int, SearchedLayer] = {}
        self._calibration: dict[int, Tensor] = {}

    def wants_query(self, layer_idx: int) -> bool:
        return layer_idx in self._searched if self.prefilled else self.policy.calibrates

    def observe_query(self, layer_idx: int, query: Tensor) -> None:
        if not self.prefilled:
            self._calibration[layer_idx] = query
        elif query.shape[1] == 1:
            layer = self._searched[layer_idx]
            none = torch.empty(layer.host.shape[1], 0, dtype=torch.int64)
            layer.choose(self.policy.choose(layer_idx, query) if layer.wanted else none)

    def finish_prefill(self, positions: Sequence[Tensor]) -> None:
        if self.prefilled:
            return
        super().finish_prefill(positions)
        for index, layer in enumerate(self.layers):
            static = self._static(positions[index].tolist())
            survivors = len(positions[index])
            budget = ceil(self._share * survivors) if isinstance(self._share, float) else self._share
            if budget < survivors:
                self._searched[index] = SearchedLayer(layer, static, max(0, budget - len(static)))
                self.layers[index] = self._searched[index]
        self.policy.prepare(self._searched, positions, self._calibration)
        self._calibration.clear()

    def close(self) -> None:
        self._searched.clear()
        self._calibration.clear()
        super().close()

    def _static(self, positions: list[int]) -> Tensor:
        survivors = Survivors.of(positions, self.config.decode_block_size, self._forced)
        return torch.tensor([token for block in survivors.pinned for token in range(*survivors.span(block))])
