"""How tokens are rotated: by tables that a model may have several of, one for each kind of layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Angles:
    """The rotation of some tokens.

    Attributes:
        tables: cosines and sines of each kind of layer, [1, n, rotary_dim] each; the kinds may differ in width.
        positions: what they were made from, int64 [n].
    """

    tables: tuple[tuple[Tensor, Tensor], ...]
    positions: Tensor

    def at(self, index: Tensor) -> Angles:
        """Those of the tokens at `index`, int64 [k]."""
        tables = tuple((_pick(cos, index), _pick(sin, index)) for cos, sin in self.tables)
        return Angles(tables, self.positions.index_select(0, index))

    def between(self, part: slice) -> Angles:
        """Those of a run of the tokens."""
        return Angles(tuple((cos[:, part], sin[:, part]) for cos, sin in self.tables), self.positions[part])

    def join(self, other: Angles) -> Angles:
        """Those of both, one after the other."""
        tables = tuple(
            (torch.cat([cos, cos_2.to(cos.device)], 1), torch.cat([sin, sin_2.to(sin.device)], 1))
            for (cos, sin), (cos_2, sin_2) in zip(self.tables, other.tables, strict=True)
        )
        return Angles(tables, torch.cat([self.positions, other.positions]))

    @property
    def nbytes(self) -> int:
        return sum(cos.nbytes + sin.nbytes for cos, sin in self.tables)


def _pick(table: Tensor, index: Tensor) -> Tensor:
    return table.index_select(1, index.to(table.device))
