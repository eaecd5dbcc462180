"""Rows that were dropped but are asked for: they go on reading what is kept, and nothing reads them.

A pruned forward whose logits are wanted at every position equals the stock model in which dropped tokens are masked as
keys. There a dropped token still has a state: it sees the tokens alive before it, and itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from sliminfer.engine.masks import as_mask
from sliminfer.engine.sequence import Rows
from sliminfer.engine.stack import Stack
from sliminfer.errors import ConfigError
from sliminfer.model.windows import within

# Rows that read at once: a mask has as many times the number of tokens alive.
_AT_ONCE = 512


class Beside:
    """The dropped rows of one prefill."""

    def __init__(self, stack: Stack) -> None:
        """Raises ConfigError where the attention backend takes no masks, or a layer does not attend."""
        if "flash" in stack.backend:
            raise ConfigError(
                "Logits of every prompt token are asked for, which flash attention cannot give where tokens were "
                'dropped: pass logits_to_keep=1, or load the model with attention "sdpa".'
            )
        if not all(stack.attending):
            raise ConfigError(
                "Logits of every prompt token are asked for, but in this model's linear layers a dropped token has no "
                "place: pass logits_to_keep=1."
            )
        self._stack = stack
        self.rows: Rows | None = None

    def add(self, dropped: Rows) -> None:
        """`dropped` are not to enter the layers to come."""
        self.rows = dropped if self.rows is None else self.rows.join(dropped)

    def read(self, index: int, cache: Cache, alive: Tensor) -> None:
        """Layer `index`, which has just read the rows at positions `alive`, is read by the dropped ones."""
        if self.rows is None:
            return
        count, found = len(self.rows), []
        for first in range(0, count, _AT_ONCE):
            some = self.rows.at(torch.arange(first, min(count, first + _AT_ONCE), device=self.rows.positions.device))
            mask = as_mask(self._stack.backend, self._visible(index, some.positions, alive), some.hidden.dtype)
            found.append(self._stack.step(index, some, mask.to(some.hidden.device), _Peek(cache, index)).hidden)
        self.rows = self.rows.with_hidden(torch.cat(found, 1))

    def _visible(self, index: int, own: Tensor, alive: Tensor) -> Tensor:
        """Which of the keys at `alive`, and of their own, the rows at `own` see, bool [rows, alive + rows]."""
        alive, window = alive.to(own.device), self._stack.windows[index]
        seen = alive[None, :] <= own[:, None]
        if window is not None:
            seen &= within(window, own, alive)
        return torch.cat([seen, torch.eye(len(own), dtype=torch.bool, device=own.device)], 1)

    def with_rest(self, rows: Rows) -> Tensor:
        """The states of `rows` and the dropped ones together, by position [1, tokens, hidden]."""
        if self.rows is None:
            return rows.hidden
        both = rows.join(self.rows)
        return both.hidden.index_select(1, both.positions.argsort().to(both.hidden.device))


class _Peek(Cache):
    """One layer of a cache that others may read beside their own keys, without adding to it."""

    def __init__(self, cache: Cache, index: int) -> None:
        super().__init__(layers=[cache.layers[index]])

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        held = self.layers[0]
        keys, values = getattr(held, "keys"), getattr(held, "values")  # noqa: B009
        return torch.cat([keys, key_states], 2), torch.cat([values, value_states], 2)
