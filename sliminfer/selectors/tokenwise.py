"""Methods that keep single tokens: the budget, the forced positions and the order are the same for all of them."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from sliminfer.ops.softmax import PLAIN, Softmax, softmax_beside
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PromptView, PruneView, Selection, Selector

# Keys, or scores, that are held in fp32 at once: 64 MB, so that a long prompt is scored some KV heads at a time.
_FP32_ELEMENTS = 1 << 24


class TokenSelector(Selector):
    """Keeps the forced blocks' tokens and, within the step's token budget, the tokens of the highest `score`.

    Dropped blocks go at the first step. The forced blocks are the engine's for every method alike: a token-level
    method is not made to lose the question that a block-level one is given. Where they exceed the budget, they alone
    go on.
    """

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        spans = map(prompt.blocks.span, prompt.blocks.forced)
        self.forced = torch.tensor([position for span in spans for position in range(*span)])
        self.gone = torch.zeros(prompt.tokens, dtype=torch.bool)
        for block in prompt.blocks.dropped:
            self.gone[slice(*prompt.blocks.span(block))] = True

    @abstractmethod
    def score(self, view: PruneView) -> Tensor:
        """Score of each position in `view.alive`, finite fp32 [n]."""

    @classmethod
    def tokens_after(cls, step: PruneStep, blocks: BlockMap, alive: int) -> int:
        return min(alive, _kept(step, blocks))

    def select(self, view: PruneView) -> Selection | None:
        budget = _kept(view.step, self.prompt.blocks)
        if budget >= len(view.alive):
            return None
        self.forced = self.forced.to(view.alive.device)
        self.gone = self.gone.to(view.alive.device)
        scores = self.score(view).to(view.alive.device)
        scores.masked_fill_(self.gone[view.alive], -math.inf)
        scores[torch.searchsorted(view.alive, self.forced)] = math.inf
        order = torch.sort(scores, descending=True, stable=True)
        return Selection(view.alive[order.indices[:budget].sort().values])


def _kept(step: PruneStep, blocks: BlockMap) -> int:
    """Tokens that go on after `step`: its budget, or the forced blocks' alone where they exceed it; none dropped."""
    wanted = max(blocks.budget_tokens(step), blocks.tokens_in(blocks.forced))
    return min(blocks.tokens - blocks.tokens_in(blocks.dropped), wanted)


def attention_received(queries: Tensor, keys: Tensor, softmax: Softmax = PLAIN) -> Tensor:
    """Softmax attention that each key receives, summed over the queries, for each query head.

    Args:
        queries: the last `window` positions' [heads, window, head_dim], after RoPE.
        keys: [kv_heads, n, head_dim], after RoPE, ascending; the last `window` are the queries' own.
        softmax: how the layer turns scores into attention.

    Returns:
        fp32 [heads, n]; each row sums to `window`, less what goes to sinks. Query heads share the keys of their group.
    """
    window, width = queries.shape[1:]
    kv_heads, count, _ = keys.shape
    groups = queries.reshape(kv_heads, -1, width).float() / math.sqrt(width)  # the queries that read one KV head
    at_once = max(1, _FP32_ELEMENTS // (count * max(width, groups.shape[1])))
    packed = softmax.packed(kv_heads, window)
    sinks = (None,) * kv_heads if packed is None else packed.split(at_once)
    received = []
    for some, shared, beside in zip(groups.split(at_once), keys.split(at_once), sinks):
        logits = softmax.capped(torch.matmul(some, shared.float().mT)).view(-1, window, count)
        if window > 1:  # the last query sees every key
            logits.masked_fill_(_later(window, count, keys.device), -math.inf)
        rows = None if beside is None else beside.reshape(-1, window)
        received.append(softmax_beside(logits, rows).sum(1))
    return torch.cat(received)


def _later(window: int, count: int, device: torch.device) -> Tensor:
    """Which of `count` keys come after each of the last `window` positions [window, count]."""
    return torch.ones(window, count, dtype=torch.bool, device=device).triu(count - window + 1)
