"""LycheeDecode: a few heads search the prompt at each step, the others reuse what they found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sliminfer.decode_policies.base import DecodePolicy
from sliminfer.decode_policies.searched import SearchedLayer
from sliminfer.errors import ConfigError
from sliminfer.selectors.tokenwise import attention_received

Head = tuple[int, int]  # layer, KV head


@dataclass(frozen=True)
class LycheeKnobs:
    """`share`: of all KV heads that search for themselves."""

    share: float = 0.125

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, int | float) or not 0.0 < self.share <= 1.0:
            raise ConfigError(f"Option share is {self.share!r}: it is a share of the heads above 0 and up to 1.")


class Lychee(DecodePolicy):
    """Retrieval heads and sparse heads: our reimplementation.

    A retrieval head scores all keys of its layer by its queries, in one product on the device. Every other
    head follows one retrieval head of its own or an earlier layer, and attends to the tokens that one ranks
    highest among the head's own survivors. The authors learn the roles; here they are calibrated on the prompt:
    heads are made retrieval heads one by one, each time the one that raises most the attention mass, under
    the prompt's last queries, which all heads find within the tokens of the best head they may follow. And
    here a retrieval head too attends to the tokens it ranks highest, not to all.
    """

    name: ClassVar[str] = "lychee"
    paper: ClassVar[str] = "LycheeDecode (our reimplementation)"
    knobs: ClassVar[type[LycheeKnobs]] = LycheeKnobs
    calibrates: ClassVar[bool] = True

    def prepare(
        self, layers: Mapping[int, SearchedLayer], positions: Sequence[Tensor], queries: Mapping[int, Tensor]
    ) -> None:
        self._layers = layers
        self._positions = [kept.cpu() for kept in positions]
        self.leader = self._assign(queries)
        self._keys = {
            head: layers[head[0]].host[0, head[1]].to(layers[head[0]].device).float()
            for head in set(self.leader.values())
        }
        for (layer, _), keys in self._keys.items():
            layers[layer].search_bytes_device += keys.nbytes
        self._scores: dict[Head, Tensor] = {}
        self._found: dict[tuple[Head, int], Tensor] = {}

    def choose(self, layer: int, query: Tensor) -> Tensor:
        searched = self._layers[layer]
        kv_heads = searched.host.shape[1]
        groups = query[:, 0].float().view(kv_heads, -1, query.shape[-1])
        for head in range(kv_heads):
            if (layer, head) in self._keys:
                self._search((layer, head), groups[head])
        return torch.stack([self._follow(self.leader[layer, head], layer) for head in range(kv_heads)])

    def _search(self, head: Head, queries: Tensor) -> None:
        keys = self._keys[head]
        self._scores[head] = torch.matmul(queries.to(keys.device), keys.t()).amax(0).cpu()
        self._found = {key: tokens for key, tokens in self._found.items() if key[0] != head}

    def _follow(self, leader: Head, layer: int) -> Tensor:
        """The tokens of `layer` that `leader` ranks highest; layers with the same survivors share the answer."""
        key = leader, len(self._positions[layer])  # survivors are nested, so equal numbers are equal sets
        if key not in self._found:
            searched = self._layers[layer]
            rows = torch.searchsorted(self._positions[leader[0]], self._positions[layer][searched.searched])
            best = self._scores[leader][rows].topk(searched.wanted).indices
            self._found[key] = searched.searched[best.sort().values]
        return self._found[key]

    def _assign(self, queries: Mapping[int, Tensor]) -> dict[Head, Head]:
        """Which retrieval head each KV head of the searched layers follows, possibly itself."""
        heads = [(layer, head) for layer in self._layers for head in range(self._layers[layer].host.shape[1])]
        if not heads:
            return {}
        mass = torch.cat([self._mass(layer, queries[layer]) for layer in self._layers])
        layer_of = torch.tensor([layer for layer, _ in heads])
        # covered[h, r]: share of h's attention to searched tokens that falls on those r would choose.
        chosen = torch.zeros_like(mass)
        for row, (layer, _) in enumerate(heads):
            chosen[row, mass[row].topk(min(self._layers[layer].wanted, mass.shape[1])).indices] = 1.0
        covered = mass @ chosen.t() / mass.sum(1, keepdim=True).clamp(min=1e-9)
        covered[layer_of[:, None] < layer_of[None, :]] = -math.inf
        first = layer_of == layer_of.min()
        best = torch.full((len(heads),), -math.inf)
        leader = torch.zeros(len(heads), dtype=torch.int64)
        for turn in range(max(1, math.ceil(self.options.share * len(heads)))):
            gain = (torch.maximum(covered, best[:, None]) - best.clamp(min=0)[:, None]).nan_to_num(neginf=0.0).sum(0)
            if turn == 0:
                gain[~first] = -math.inf  # the first layer's heads can follow no other
            new = int(gain.argmax())
            better = covered[:, new] > best
            best = torch.where(better, covered[:, new], best)
            leader[better] = new
        return {head: heads[int(leader[row])] for row, head in enumerate(heads)}

    def _mass(self, layer: int, queries: Tensor) -> Tensor:
        """Attention that each KV head of `layer` pays the searched tokens, by position [kv_heads, positions]."""
        searched = self._layers[layer]
        keys = searched.host[0].to(queries.device)
        received = attention_received(queries, keys).unflatten(0, (len(keys), -1)).sum(1).cpu()
        places = self._positions[layer][searched.searched]
        total = torch.zeros(len(keys), int(self._positions[0][-1]) + 1)
        total[:, places] = received[:, searched.searched]
        return total
