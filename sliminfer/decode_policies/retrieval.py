"""RetrievalAttention (arXiv 2409.10516): an index over each head's keys finds those that a query attends to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sliminfer.decode_policies.base import DecodePolicy
from sliminfer.decode_policies.searched import SearchedLayer
from sliminfer.errors import ConfigError, needs_extra
from sliminfer.schedule.config import SlimConfig

INDEXES = ("auto", "flat", "ivf")
# "auto" scans up to this many keys. Of 32K clustered keys of 128 numbers, 4 queries and 2048 wanted, one core took
# 9.7 ms to scan; ivf over a quarter of its lists took 4.3 ms, found 95.5 % and cost 0.54 s a head to build. A graph
# (hnsw) cost 1.2 s and 9.9 ms and found 39 %: it is made for a few neighbours, not for a share of all keys.
FLAT_UP_TO = 16_384


@dataclass(frozen=True)
class RetrievalKnobs:
    """`index`: flat (an exact scan), ivf (approximate), or auto: flat for short prompts, ivf beyond."""

    index: str = "auto"

    def __post_init__(self) -> None:
        if self.index not in INDEXES:
            raise ConfigError(f"Option index is {self.index!r}: choose one of {', '.join(INDEXES)}.")


class Retrieval(DecodePolicy):
    """Nearest-neighbour search over keys on the host: our reimplementation on faiss.

    Each KV head has an inner-product index of its keys. The queries of its group search it, and the keys with
    the highest product with any of them are attended to. The paper builds a graph index from the queries seen
    in prefill; here the indexes are faiss's own, exact for prompts up to 16K tokens.
    """

    name: ClassVar[str] = "retrieval"
    paper: ClassVar[str] = "RetrievalAttention, arXiv 2409.10516 (our reimplementation)"
    knobs: ClassVar[type[RetrievalKnobs]] = RetrievalKnobs

    @classmethod
    def check(cls, config: SlimConfig) -> Any:
        options = super().check(config)
        _faiss()
        return options

    def prepare(
        self, layers: Mapping[int, SearchedLayer], positions: Sequence[Tensor], queries: Mapping[int, Tensor]
    ) -> None:
        self._layers = layers
        self._indexes = {number: self._build(layer) for number, layer in layers.items()}

    def choose(self, layer: int, query: Tensor) -> Tensor:
        searched = self._layers[layer]
        indexes = self._indexes[layer]
        groups = query[:, 0].float().cpu().reshape(len(indexes), -1, query.shape[-1]).numpy()
        found = [best(index, group, searched.wanted) for index, group in zip(indexes, groups, strict=True)]
        return searched.searched[torch.from_numpy(np.stack(found))]

    def _build(self, layer: SearchedLayer) -> list[Any]:
        kind = self.options.index
        if kind == "auto":
            kind = "flat" if len(layer.searched) <= FLAT_UP_TO else "ivf"
        keys = layer.host[0].index_select(1, layer.searched).float().numpy()
        layer.search_bytes_host = keys.nbytes
        return [build_index(kind, head) for head in keys]


def build_index(kind: str, keys: NDArray[np.float32]) -> Any:
    """A faiss inner-product index over `keys` [tokens, head_dim]."""
    faiss = _faiss()
    count, width = keys.shape
    if kind == "ivf":
        lists = max(1, min(int(math.sqrt(count)), count // 40))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.min_points_per_centroid = 1
        index.nprobe = max(1, lists // 4)
        index.train(keys)
    else:
        index = faiss.IndexFlatIP(width)
    index.add(keys)
    return index


def best(index: Any, queries: NDArray[np.float32], wanted: int) -> NDArray[np.int64]:
    """Ascending ids of the `wanted` keys with the highest product with any of `queries` [group, head_dim].

    Where an approximate search finds fewer, the latest of the other keys fill up.
    """
    products, ids = (part.ravel() for part in index.search(queries, wanted))
    order = np.argsort(-products[ids >= 0], kind="stable")
    ranked = ids[ids >= 0][order]
    _, first = np.unique(ranked, return_index=True)
    chosen = ranked[np.sort(first)][:wanted]
    if len(chosen) < wanted:
        rest = np.setdiff1d(np.arange(index.ntotal), chosen)
        chosen = np.concatenate([chosen, rest[len(rest) - (wanted - len(chosen)) :]])
    return np.sort(chosen).astype(np.int64)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ConfigError(needs_extra("Decode policy retrieval", "faiss-cpu", "retrieval")) from error
    return faiss
