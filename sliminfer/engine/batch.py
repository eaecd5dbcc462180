"""Several prompts in one call: rows run one after another, each on a cache of its own behind the one that was given."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache

from sliminfer.cache.store import check_plain
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import Span


@dataclass
class Row:
    """One row of a batch: its cache, and the column of its first token."""

    cache: Cache
    start: int


@dataclass
class Batch:
    """The rows behind one cache.

    Attributes:
        seen: columns read so far, padding included.
    """

    rows: list[Row] = field(default_factory=list)
    seen: int = 0

    @classmethod
    def begin(cls, cache: Cache, spans: Sequence[Span], depth: int) -> Batch:
        """Put a batch of empty rows, one for each of `spans`, behind the empty `cache` of `depth` layers.

        Raises:
            ConfigError: the cache is not empty, or of a kind that cannot hold several prompts.
        """
        if cache.get_seq_length():
            raise ConfigError("This cache holds one prompt: start several from an empty DynamicCache.")
        check_plain(cache)
        batch = cls([Row(DynamicCache(), start) for start, _ in spans])
        cache.layers = [BatchLayer(batch, index) for index in range(depth)]
        return batch

    def run(self, hidden: Tensor, spans: Sequence[Span], read: Callable[[Tensor, Cache], Tensor]) -> Tensor:
        """Each row's tokens of `hidden` [rows, tokens, hidden] read by `read(states, cache)`; the results as a batch.

        Padding has zeros. A result may be shorter than the tokens read: it is then of the last ones.
        """
        first = self.seen
        self.seen += hidden.shape[1]
        results = []
        for row, (start, end), states in zip(self.rows, spans, hidden, strict=True):
            begins, ends = max(0, start - first), end - first
            found = read(states[None, begins:ends], row.cache)
            whole = found.shape[1] == ends - begins
            results.append((found[0], begins if whole else hidden.shape[1] - found.shape[1]))
        width = max(hidden.shape[1] - offset for _, offset in results)
        out = hidden.new_zeros(len(results), width, hidden.shape[2])
        for index, (found, offset) in enumerate(results):
            at = offset - (hidden.shape[1] - width)
            out[index, at : at + len(found)] = found
        return out

    def select(self, indices: Sequence[int]) -> None:
        """From now on the rows are those at `indices`; one that is taken twice is copied."""
        taken: set[int] = set()
        rows = []
        for index in indices:
            row = self.rows[index]
            rows.append(copy.deepcopy(row) if index in taken else row)
            taken.add(index)
        self.rows = rows

    def crop(self, tokens: int) -> None:
        """Every row forgets its last `tokens`."""
        for row in self.rows:
            row.cache.crop(-min(tokens, row.cache.get_seq_length()))
        self.seen = max(0, self.seen - tokens)


def batch_of(cache: Cache) -> Batch | None:
    """The batch behind `cache`, None where it holds a single prompt or nothing."""
    held = next(iter(cache.layers), None)
    return held.batch if isinstance(held, BatchLayer) else None


class BatchLayer(CacheLayerMixin):
    """One layer of a cache that stands before a batch. What concerns all rows is done once, by the first layer."""

    is_croppable = True

    def __init__(self, batch: Batch, index: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.batch, self._first = batch, index == 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Rows are made when their prompts come."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        raise self._outside()

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        raise self._outside()

    def get_seq_length(self) -> int:
        return self.batch.seen

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        if self._first:
            self.batch.rows, self.batch.seen = [], 0

    def crop(self, tokens_to_remove: int) -> None:
        if self._first and tokens_to_remove:
            self.batch.crop(-tokens_to_remove)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        if self._first:
            self.batch.select(beam_idx.tolist())

    def batch_select_indices(self, indices: Tensor) -> None:
        if self._first:
            self.batch.select(torch.arange(len(self.batch.rows))[indices.cpu()].tolist())

    def batch_repeat_interleave(self, repeats: int) -> None:
        if self._first:
            self.batch.select([row for row in range(len(self.batch.rows)) for _ in range(repeats)])

    def _outside(self) -> ConfigError:
        return ConfigError("This cache holds prompts that were read inside slim(): go on with it there.")
