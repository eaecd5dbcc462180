"""Who scores a prompt's tokens from outside the model, and what that costs; `engine.outside` runs what is said here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from sliminfer.errors import ConfigError
from sliminfer.schedule.flops import Scoring, layer_flops, prefill_flops, stock_flops
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors.options import check_count, check_pool, check_share


class Source(ABC):
    """What gives each prompt token a score before the model runs.

    Attributes:
        name: as events, errors and figures call it.
        needs_draft: whether a second model has to be loaded.
    """

    name: ClassVar[str]
    needs_draft: ClassVar[bool] = False

    @abstractmethod
    def flops(self, draft: ModelShape | None, tokens: int, window: int) -> float:
        """FLOPs of scoring `tokens` tokens, the draft's own count of them, by the last `window` and what follows."""


@dataclass(frozen=True)
class Drafting(Source):
    """A draft model reads the prompt, says a few tokens more, and its attention is the score.

    A token's score in one layer and head is the softmax attention that a query pays it, averaged over `pool`
    neighbours; then the maximum over layers and heads, then the mean or maximum over queries (SpecPrefill,
    arXiv 2502.02789, takes the mean). The queries are those of the prompt's last positions and of every token said.

    Attributes:
        look_ahead: tokens that the draft says.
        pool: neighbouring tokens (an odd number) whose attention is averaged; 1 for none.
        over_queries: how the queries are brought together.
        skip: share of the draft's layers, from the first on, that have no say.
    """

    name: ClassVar[str] = "draft"
    needs_draft: ClassVar[bool] = True

    look_ahead: int = 8
    pool: int = 13
    over_queries: Literal["mean", "max"] = "mean"
    skip: float = 0.0

    def __post_init__(self) -> None:
        check_count("look_ahead", self.look_ahead, least=0)
        check_pool(self.pool)
        check_share("skip", self.skip)
        if self.over_queries not in ("mean", "max"):
            raise ConfigError(f"Option over_queries is {self.over_queries!r}: choose mean or max.")

    def scoring_layers(self, layers: int, seeing: Sequence[int] | None = None) -> tuple[int, ...]:
        """Which of the draft's `layers`, or of `seeing` where some have windows, have a say; at least one."""
        can = tuple(range(layers)) if seeing is None else tuple(seeing)
        return tuple(layer for layer in can if layer >= round(self.skip * layers)) or can[-1:]

    def flops(self, draft: ModelShape | None, tokens: int, window: int) -> float:
        if draft is None:
            raise ConfigError("A draft model scores the tokens here: name one, as in --draft MODEL.")
        scored = len(self.scoring_layers(draft.layers, draft.seeing))
        total = prefill_flops(draft, (tokens,) * draft.layers, (Scoring(window, tokens),) * scored)
        for said in range(self.look_ahead):
            seen = tokens + said + 1
            for layer in map(draft.layer, range(draft.layers)):
                total += layer_flops(layer, 1) + 4.0 * layer.query_width * (min(seen, layer.window or seen) - 1)
            total += scored * 2.0 * draft.query_width * (tokens + draft.hidden)
        return total + max(0, self.look_ahead - 1) * 2.0 * draft.hidden * draft.vocab


@dataclass(frozen=True)
class Embedding(Source):
    """The draft as an embedding model: passages by their likeness to the question.

    One reading of the whole prompt; a passage's vector is the mean of its tokens' last states, as in late chunking
    (arXiv 2409.04701), and its score the cosine between that and the question's, brought to 0 to 1.

    Attributes:
        passage: tokens of one passage, the draft's own count; every token has the score of its passage.
    """

    name: ClassVar[str] = "embedding"
    needs_draft: ClassVar[bool] = True

    passage: int = 64

    def __post_init__(self) -> None:
        check_count("passage", self.passage, least=1)

    def flops(self, draft: ModelShape | None, tokens: int, window: int) -> float:
        if draft is None:
            raise ConfigError("An embedding model scores the passages here: name one, as in --draft MODEL.")
        return stock_flops(draft, tokens) - 2.0 * draft.hidden * draft.vocab


@dataclass(frozen=True)
class Retrieval(Source):
    """BM25 over passages of the prompt, by the words of the question: no model at all.

    Attributes:
        passage: tokens of one passage; every token has the score of its passage.
    """

    name: ClassVar[str] = "bm25"

    passage: int = 64

    def __post_init__(self) -> None:
        check_count("passage", self.passage, least=1)

    def flops(self, draft: ModelShape | None, tokens: int, window: int) -> float:
        return 0.0
