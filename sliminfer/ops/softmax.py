"""The softmax of layers that do more than that: a cap on their scores, a sink that takes a share of each query's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Softmax:
    """How a layer turns scores into attention.

    Attributes:
        cap: scores are bent to `cap * tanh(score / cap)`, None for no cap.
        sinks: a score for each query head that takes part in its softmax and belongs to no key [q_heads], or None.
    """

    cap: float | None = None
    sinks: Tensor | None = None

    @property
    def plain(self) -> bool:
        return self.cap is None and self.sinks is None

    def capped(self, logits: Tensor) -> Tensor:
        """`logits` in any shape, bent in place where there is a cap."""
        return logits if self.cap is None else logits.div_(self.cap).tanh_().mul_(self.cap)

    def packed(self, kv_heads: int, window: int) -> Tensor | None:
        """The sinks in the order of queries packed by KV head, fp32 [kv_heads, heads of a group * window]."""
        if self.sinks is None:
            return None
        return self.sinks.detach().float().view(kv_heads, -1).repeat_interleave(window, 1)


PLAIN = Softmax()


def softmax_beside(logits: Tensor, sinks: Tensor | None) -> Tensor:
    """Softmax over the keys of `logits` [..., rows, keys], of which each row's sink [..., rows] takes a part."""
    if sinks is None:
        return logits.softmax(-1)
    sinks = sinks.to(logits.device, logits.dtype)
    return torch.cat([logits, sinks[..., None]], -1).softmax(-1)[..., :-1]
