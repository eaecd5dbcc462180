"""What the layer loop carries: the rows of one call on their way through the layers, and what outlives the call."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from sliminfer.cache.layers import RaggedLayer
from sliminfer.selectors import PromptView, Selector

# Further than any prompt is long.
_BEYOND = 1 << 40


@dataclass(frozen=True)
class Rows:
    """The tokens that enter a layer, one row each.

    Attributes:
        hidden: hidden states [1, n, hidden].
        cos, sin: rotary tables [1, n, rotary_dim].
        positions: ascending positions, int64 [n].
    """

    hidden: Tensor
    cos: Tensor
    sin: Tensor
    positions: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def at(self, index: Tensor) -> Rows:
        """The rows at `index`, int64 [k]."""
        return Rows(
            self.hidden.index_select(1, index.to(self.hidden.device)),
            self.cos.index_select(1, index.to(self.cos.device)),
            self.sin.index_select(1, index.to(self.sin.device)),
            self.positions.index_select(0, index),
        )

    def with_hidden(self, hidden: Tensor) -> Rows:
        """The same tokens, or the last of them, with their states after a layer [1, k, hidden]."""
        last = slice(-hidden.shape[1], None)
        return Rows(hidden, self.cos[:, last], self.sin[:, last], self.positions[last])

    def split(self, chosen: Tensor, count: int | None = None) -> tuple[Rows, Rows]:
        """The rows where `chosen` is true and the others, bool [n], both by position.

        Without `count`, how many are chosen, it waits for the device once.
        """
        order = self.positions.add(chosen, alpha=-_BEYOND).argsort()
        count = int(chosen.sum()) if count is None else count
        return self.at(order[:count]), self.at(order[count:])

    def join(self, other: Rows) -> Rows:
        """The rows of both, in no order."""
        return Rows(
            torch.cat([self.hidden, other.hidden.to(self.hidden.device)], 1),
            torch.cat([self.cos, other.cos.to(self.cos.device)], 1),
            torch.cat([self.sin, other.sin.to(self.sin.device)], 1),
            torch.cat([self.positions, other.positions]),
        )

    @property
    def nbytes(self) -> int:
        return self.hidden.nbytes + self.cos.nbytes + self.sin.nbytes + self.positions.nbytes


@dataclass
class Sequence:
    """What the loop remembers of one cache between calls.

    Attributes:
        prompt: the prompt's blocks and question.
        selector: the method at work on this prompt, None where nothing is pruned.
        length: positions that the prompt takes up: its tokens, or fewer where they were renumbered.
        next_position: position of the next token to come.
        positions: for each layer, the positions of the prompt tokens that prefill left in it [n].
        origin: original position of each new one, where the prompt was renumbered.
        waiting: for each prune layer, the rows that were dropped before it and may come back.
        later: for each layer, the positions of what was appended after the prompt, where they are not simply
            the tokens that came after it.
    """

    prompt: PromptView
    selector: Selector | None
    length: int
    next_position: int = 0
    positions: list[Tensor] = field(default_factory=list)
    origin: Tensor | None = None
    waiting: dict[int, Rows] = field(default_factory=dict)
    later: dict[int, Tensor] = field(default_factory=dict)

    def key_positions(self, layer: int, resident: Tensor | None) -> Tensor:
        """Positions of all keys of `layer`, those of the tokens now being run included.

        `resident` are the prompt's keys that attention reads where they are not all that the layer keeps.
        """
        kept = self.positions[layer] if resident is None else resident
        later = self.later.get(layer)
        if later is None:
            later = torch.arange(self.length, self.next_position, device=kept.device)
        return torch.cat([kept, later])

    def original_positions(self) -> list[Tensor]:
        """For each layer, the ascending original positions of the prompt tokens that have KV in it."""
        if self.origin is not None:
            return [self.origin[kept] for kept in self.positions]
        if not self.later:
            return self.positions
        back = [self.later[layer][self.later[layer] < self.length] for layer in range(len(self.positions))]
        return [torch.cat([kept, more]).sort().values for kept, more in zip(self.positions, back, strict=True)]

    def renumber(self, kept: Tensor) -> None:
        """The prompt is from now on the tokens at `kept`, at positions 0, 1, 2, ...; no layer has run on them."""
        self.origin = kept
        self.length = self.next_position = len(kept)
        self.positions = []

    def exchange(self, layer: int, rows: Rows, wanted: Tensor) -> Rows:
        """`rows` before `layer`, with the waiting ones among `wanted` and without the prompt's that are not."""
        chosen = torch.zeros(self.next_position, dtype=torch.bool, device=wanted.device).index_fill_(0, wanted, True)
        chosen[self.length :].fill_(True)
        both = rows.join(self.waiting[layer])
        present, self.waiting[layer] = both.split(chosen[both.positions])
        return present


def forget(cache: Cache) -> None:
    """Drop what every layer of `cache` holds."""
    for index, layer in enumerate(cache.layers):
        if isinstance(layer, RaggedLayer):
            layer.reset()
        else:
            cache.layers[index] = DynamicLayer()
