"""What the layer loop carries: the rows of one call on their way through the layers, and what outlives the call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from sliminfer.cache.kept import Kept
from sliminfer.cache.store import PromptStore
from sliminfer.engine.angles import Angles
from sliminfer.errors import ConfigError
from sliminfer.ops import dispatch as ops
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors import PromptView, Selector
from sliminfer.sparse.reader import SparseReader

if TYPE_CHECKING:
    from sliminfer.engine.reading import Reading

# Further than any prompt is long.
_BEYOND = 1 << 40
# An attribute of the cache, and not a table beside it: a copy of the cache then has a copy of its own.
_ON_CACHE = "slim_sequence"


@dataclass(frozen=True)
class Rows:
    """The tokens that enter a layer, one row each.

    Attributes:
        hidden: hidden states [1, n, hidden].
        angles: how they are rotated.
        positions: ascending positions, int64 [n].
    """

    hidden: Tensor
    angles: Angles
    positions: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def at(self, index: Tensor, positions: Tensor | None = None) -> Rows:
        """The rows at `index`, int64 [k]; `positions` are theirs where they are known."""
        angles, alike = self.angles, self.angles.positions is self.positions
        if positions is None:
            positions = self.positions.index_select(0, index)
        tables = {each.device for table in angles.tables for each in table}
        if torch.is_grad_enabled() or len(angles.tables) > 1 or tables != {self.hidden.device}:
            return Rows(self.hidden.index_select(1, index.to(self.hidden.device)), angles.at(index), positions)
        hidden, cos, sin = ops.take_rows(self.hidden, *angles.tables[0], index.to(self.hidden.device))
        turned = positions if alike else angles.positions.index_select(0, index)
        return Rows(hidden, Angles(((cos, sin),), turned), positions)

    def with_hidden(self, hidden: Tensor) -> Rows:
        """The same tokens, or the last of them, with their states after a layer [1, k, hidden]."""
        if hidden.shape[1] == len(self):
            return Rows(hidden, self.angles, self.positions)
        last = slice(-hidden.shape[1], None)
        return Rows(hidden, self.angles.between(last), self.positions[last])

    def between(self, part: slice) -> Rows:
        """A run of the rows."""
        return Rows(self.hidden[:, part], self.angles.between(part), self.positions[part])

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
            self.angles.join(other.angles),
            torch.cat([self.positions, other.positions]),
        )

    @property
    def nbytes(self) -> int:
        return self.hidden.nbytes + self.angles.nbytes + self.positions.nbytes


@dataclass
class Sequence:
    """What the loop remembers of one cache between calls; it lives on the cache, and is copied with it.

    Attributes:
        prompt: the prompt's blocks and question.
        config: the configuration that the prompt was read under.
        selector: the method at work on this prompt, None where nothing is pruned.
        store: where the KV lives.
        seen: tokens read so far.
        kept: for each layer, the tokens that have keys in it.
        chosen: the prompt tokens at positions 0, 1, 2, ..., where they were renumbered, ascending int64 [k].
        waiting: for each prune layer, the rows that were dropped before it and may come back.
        reach: positions up to which the prompt was rotated.
        whole: whether the last call came to its end, so that all layers have read the same tokens.
        placed: whether the store knows that the prompt is complete.
        reader: what attended to the prompt where layers read it sparsely.
        reading: what a cache cropped into it, or opened by it, asks the next question of.
    """

    prompt: PromptView
    config: SlimConfig
    selector: Selector | None
    store: PromptStore
    seen: int = 0
    kept: list[Kept] = field(default_factory=list)
    chosen: Tensor | None = None
    waiting: dict[int, Rows] = field(default_factory=dict)
    reach: int = 0
    whole: bool = False
    placed: bool = False
    reader: SparseReader | None = None
    reading: Reading | None = None

    @property
    def tokens(self) -> int:
        """Tokens of the prompt, or fewer once it was cropped."""
        return self.kept[0].prompt if self.kept else self.prompt.tokens

    @property
    def revives(self) -> bool:
        """Whether dropped tokens may come back in decode."""
        return self.selector is not None and self.selector.revives

    def hold(self, layer: int, positions: Tensor) -> None:
        """Layer `layer` is about to read the prompt's tokens at `positions`, ascending int64 [n]."""
        kept = Kept(positions, self.prompt.tokens, self.prompt.tokens)
        self.kept.append(kept)
        self.store.hold(layer, kept)

    def begin(self, tokens: int, depth: int) -> int:
        """`tokens` more are about to be read by `depth` layers; returns the position of the first.

        Raises:
            ConfigError: the call before did not come to its end, or ran other layers.
        """
        if self.kept:
            self._follow_crop(depth)
        first, self.seen, self.whole = self.seen, self.seen + tokens, False
        return first

    def end(self) -> None:
        """Every layer has read what was announced."""
        ragged = any(len(kept.positions) < kept.prompt for kept in self.kept)
        for kept in self.kept:
            kept.seen, kept.ragged = self.seen, ragged
        self.whole = True

    def place(self) -> None:
        """The prompt is complete: its tokens take their places in the store, unless they have them."""
        if not self.placed:
            self.store.finish_prefill([kept.positions for kept in self.kept])
            self.placed = True
            for kept in self.kept:
                kept.floor = 0 if self.store.whole else kept.prompt

    def _follow_crop(self, depth: int) -> None:
        if not self.whole or depth != len(self.kept) or any(kept.seen != self.kept[0].seen for kept in self.kept):
            raise ConfigError("The last call on this cache did not come to its end: start from an empty cache.")
        self.seen = self.kept[0].seen
        if self.tokens < self.prompt.tokens:
            if self.chosen is not None:
                self.chosen = self.chosen[: int((self.chosen < self.tokens).sum())]
            for layer, rows in self.waiting.items():
                self.waiting[layer] = rows.at((rows.positions < self.tokens).nonzero()[:, 0])

    def rotated_to(self) -> int:
        """Positions up to which tokens are rotated, those now being read included."""
        return self.seen if self.chosen is None else len(self.chosen) + self.seen - self.tokens

    def rotary(self, positions: Tensor) -> Tensor:
        """The positions by which tokens are rotated, from those in the prompt; other than these where renumbered."""
        if self.chosen is None:
            return positions
        chosen = self.chosen.to(positions.device)
        return torch.searchsorted(chosen, positions) + (positions - self.tokens).clamp_min(0)

    def key_positions(self, layer: int) -> Tensor:
        """Positions of all keys of `layer` in their order, those of the tokens now being read included."""
        return self.kept[layer].of_keys(self.seen, self.store.key_positions(layer))

    def prompt_positions(self) -> list[Tensor]:
        """For each layer, the ascending positions of the prompt tokens that have KV in it."""
        found = []
        for kept in self.kept:
            back = kept.later
            if back is None:
                found.append(kept.positions)
            else:
                found.append(torch.cat([kept.positions, back[back < kept.prompt]]).sort().values)
        return found

    def begin_again(self, chosen: Tensor | None) -> None:
        """No layer has read anything. The prompt is from now on the tokens at `chosen`, at positions 0, 1, 2, ...

        None leaves the tokens at the positions that they have.
        """
        self.chosen = chosen
        self.kept = []
        self.store.forget()

    def exchange(self, layer: int, rows: Rows, wanted: Tensor) -> Rows:
        """`rows` before `layer`, with the waiting ones among `wanted` and without the prompt's that are not."""
        chosen = torch.zeros(self.seen, dtype=torch.bool, device=wanted.device).index_fill_(0, wanted, True)
        chosen[self.tokens :].fill_(True)
        both = rows.join(self.waiting[layer])
        present, self.waiting[layer] = both.split(chosen[both.positions])
        return present


def sequence_of(cache: Cache) -> Sequence | None:
    """The sequence that `cache` holds, None where no call of the loop has filled it."""
    return getattr(cache, _ON_CACHE, None)


def attach(cache: Cache, sequence: Sequence) -> None:
    """From now on `cache` holds `sequence`."""
    setattr(cache, _ON_CACHE, sequence)
