"""Which tokens stand behind one layer's keys: what a cache must know to be cropped, copied and gone on with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sliminfer.errors import ConfigError


@dataclass
class Kept:
    """The tokens of one sequence that have keys in one layer, by original position.

    Attributes:
        positions: of the prompt tokens that prefill left in the layer, ascending, int64 [n].
        prompt: tokens of the prompt, dropped ones included.
        seen: tokens that the layer has read in all, the prompt's and those appended since.
        later: positions of what was appended, where that is not simply what came after the prompt, int64 [m].
        floor: how few tokens a crop may leave: the prompt's where a part of it waits on the host.
        ragged: whether a layer of the same cache holds fewer tokens than it has read.
    """

    positions: Tensor
    prompt: int
    seen: int
    later: Tensor | None = None
    floor: int = 0
    ragged: bool = False

    def of_keys(self, end: int, resident: Tensor | None = None) -> Tensor:
        """Positions of all keys in their order, up to position `end`, int64 [keys].

        `resident` are those of the prompt's keys that attention reads, where they are not all that are kept.
        """
        first = self.positions if resident is None else resident
        later = self.later
        if later is None:
            later = torch.arange(self.prompt, end, device=first.device)
        return torch.cat([first, later])

    def append(self, positions: Tensor) -> None:
        """Note the positions of keys that came, where they are not simply the next ones, int64 [k]."""
        self.later = positions if self.later is None else torch.cat([self.later, positions])

    def cut(self, tokens: int) -> int:
        """Forget the last `tokens` of those seen; returns how many of the first keys stay.

        Raises:
            ConfigError: tokens were brought back in decode, which cannot be undone, or part of the prompt would have
                to be found on the host. No layer has forgotten anything then.
        """
        if self.later is not None:
            raise ConfigError(
                "This cache cannot be cropped: its method brings dropped tokens back while it decodes; use another "
                "method, or leave prompt lookup and assistants out."
            )
        end = max(0, self.seen - tokens)
        if end < self.floor:
            raise ConfigError(
                "This cache cannot be cropped into its prompt, parts of which wait on the host: leave active out."
            )
        if end < self.prompt:
            self.positions = self.positions[: int((self.positions < end).sum())]
            self.prompt = end
        self.seen = end
        return len(self.positions) + end - self.prompt

    def check_stock(self) -> None:
        """Raise ConfigError where the stock model, which takes all layers to hold the same tokens, is to go on."""
        if self.ragged:
            raise ConfigError(
                f"This cache holds a pruned prompt of {self.prompt:,} tokens: go on with it inside slim(), or start "
                "from an empty cache."
            )
