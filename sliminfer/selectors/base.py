"""What a pruning method sees at a prune layer and what it answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from sliminfer.blocks import BlockMap, Span
from sliminfer.config import PruneStep, SlimConfig


@dataclass(frozen=True)
class PromptView:
    """What is known of the prompt before the first layer.

    Attributes:
        blocks: the prompt's block map.
        question: token span of the question, if known.
        evidence: token spans that hold the answer; known in evaluation only, for the oracle.
    """

    blocks: BlockMap
    question: Span | None = None
    evidence: tuple[Span, ...] = ()

    @property
    def tokens(self) -> int:
        return self.blocks.tokens


@dataclass(frozen=True)
class PruneView:
    """The state before a prune layer runs.

    Attributes:
        step: the prune step that is due.
        prompt: the prompt as a whole.
        alive: ascending original positions still alive, int64 [n].
        queries: gives the queries after RoPE of the last `w` alive positions [heads, w, head_dim].
        keys: gives the keys after RoPE of all alive positions [kv_heads, n, head_dim].
    """

    step: PruneStep
    prompt: PromptView
    alive: Tensor
    queries: Callable[[int], Tensor]
    keys: Callable[[], Tensor]


@dataclass(frozen=True)
class Selection:
    """A method's answer.

    Attributes:
        kept: ascending original positions that go on, int64 [k]; the last prompt position is among them.
        scores: score of each block of the whole prompt, fp32 [blocks], NaN for blocks already gone;
            None where the method does not score blocks.
        threshold: the lowest score that was kept by its score rather than by force, fp32 scalar.
    """

    kept: Tensor
    scores: Tensor | None = None
    threshold: Tensor | None = None


class Selector(ABC):
    """A pruning method. One instance serves one prompt.

    Attributes:
        name: the method's name in configs, JSON and on the page.
        paper: where it comes from, as shown to users.
    """

    name: ClassVar[str]
    paper: ClassVar[str]

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        self.config = config
        self.prompt = prompt

    @property
    def query_window(self) -> int:
        """How many of the last positions' queries `select` reads."""
        return self.config.query_window

    @abstractmethod
    def select(self, view: PruneView) -> Selection | None:
        """The positions that go on, or None to keep everything alive."""
