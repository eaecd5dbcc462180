"""KeyDiff (arXiv 2504.15364): keep the keys that are least like the others, whatever is asked."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.base import PruneView
from sliminfer.selectors.tokenwise import TokenSelector


class KeyDiff(TokenSelector):
    """Distinct keys go on: our reimplementation, as a pruning of hidden states, for prompts without a question.

    A token's score is minus the cosine between its key and the mean of all keys at unit length, averaged over KV
    heads. No query is read, so what is kept serves whatever is asked later. The paper evicts KV entries with it,
    which saves no prefill work; it has no schedule for prefill, and prunes here on that of the SlimInfer paper.
    """

    name: ClassVar[str] = "keydiff"
    paper: ClassVar[str] = "KeyDiff, arXiv 2504.15364 (our reimplementation)"
    reads_keys: ClassVar[bool] = True

    @classmethod
    def query_window(cls, config: SlimConfig, blocks: BlockMap) -> int:
        return 0

    def score(self, view: PruneView) -> Tensor:
        keys = F.normalize(view.keys().float(), dim=-1)
        return -F.cosine_similarity(keys, keys.mean(1, keepdim=True), dim=-1).mean(0)
