"""Methods that keep single tokens: the budget, the forced positions and the order are the same for all of them."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from sliminfer.blocks import BlockMap
from sliminfer.config import PruneStep, SlimConfig
from sliminfer.errors import ConfigError
from sliminfer.selectors.base import PromptView, PruneView, Selection, Selector


class TokenSelector(Selector):
    """Keeps the forced blocks' tokens and, within the step's token budget, the tokens of the highest `score`.

    The forced blocks are the engine's for every method alike: a token-level method is not made to lose the
    question that a block-level one is given.
    """

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        super().__init__(config, prompt)
        spans = map(prompt.blocks.span, prompt.blocks.forced)
        self.forced = torch.tensor([position for span in spans for position in range(*span)])

    @abstractmethod
    def score(self, view: PruneView) -> Tensor:
        """Score of each position in `view.alive`, finite fp32 [n]."""

    @classmethod
    def tokens_after(cls, step: PruneStep, blocks: BlockMap, alive: int) -> int:
        budget = step.budget_tokens(blocks.tokens)
        return alive if budget >= alive or blocks.tokens_in(blocks.forced) >= budget else budget

    def select(self, view: PruneView) -> Selection | None:
        budget = view.step.budget_tokens(self.prompt.tokens)
        if budget >= len(view.alive) or len(self.forced) >= budget:
            return None
        self.forced = self.forced.to(view.alive.device)
        scores = self.score(view).to(view.alive.device)
        scores[torch.searchsorted(view.alive, self.forced)] = math.inf
        order = torch.sort(scores, descending=True, stable=True)
        return Selection(view.alive[order.indices[:budget].sort().values])


def attention_received(queries: Tensor, keys: Tensor) -> Tensor:
    """Softmax attention that each key receives, summed over the queries, for each query head.

    Args:
        queries: the last `window` positions' [heads, window, head_dim], after RoPE.
        keys: [kv_heads, n, head_dim], after RoPE, ascending; the last `window` are the queries' own.

    Returns:
        fp32 [heads, n]; each row sums to `window`. Query heads share the keys of their group.
    """
    heads, window, width = queries.shape
    kv_heads, count, _ = keys.shape
    seen = torch.ones(window, count, dtype=torch.bool, device=keys.device).tril(count - window)
    groups = queries.view(kv_heads, heads // kv_heads, window, width)
    received = []
    for group, shared in zip(groups, keys, strict=True):  # one KV head at a time: [group, window, n] in fp32
        logits = torch.matmul(group.float() / math.sqrt(width), shared.float().t())
        received.append(logits.masked_fill_(~seen, -math.inf).softmax(-1).sum(1))
    return torch.cat(received)


def check_pool(pool: int) -> None:
    """Raise ConfigError where `pool` is no window that can be centred on a token."""
    if isinstance(pool, bool) or not isinstance(pool, int) or pool < 1 or pool % 2 == 0:
        raise ConfigError(f"Option pool is {pool!r}: it must be an odd number of tokens, 1 for no pooling.")
