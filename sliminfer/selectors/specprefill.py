"""Speculative prefill (SpecPrefill, arXiv 2502.02789): a small model reads all, and says what the large one reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import read_knobs
from sliminfer.selectors.outside import OutsideSelector
from sliminfer.selectors.sources import Drafting, Source


@dataclass(frozen=True)
class SpecPrefillKnobs:
    """`look_ahead`: tokens that the draft says; `pool`: neighbours (odd) averaged over; see `Drafting`."""

    look_ahead: int = 8
    pool: int = 13

    def __post_init__(self) -> None:
        Drafting(self.look_ahead, self.pool)


class SpecPrefill(OutsideSelector):
    """Chunks of the prompt, chosen by a draft model's attention before layer 0: our reimplementation.

    A token's score is the draft's softmax attention from the prompt's last token and from each of `look_ahead` tokens
    that the draft says, averaged over `pool` neighbours, the maximum over layers and heads, averaged over these
    queries; a chunk's is the mean of its tokens'. The chunks are the config's blocks, of 32 tokens as published.
    What is kept has the positions that it had. A draft of another tokenizer, as in arXiv 2603.02631, reads the same
    text, and its scores are carried over by character offsets.

    Steps: one, before layer 0. The paper keeps from a tenth of the prompt upwards; three tenths here. The draft's time,
    FLOPs and memory are in every figure.
    """

    name: ClassVar[str] = "specprefill"
    paper: ClassVar[str] = "SpecPrefill, arXiv 2502.02789 (our reimplementation)"
    knobs: ClassVar[type[Any]] = SpecPrefillKnobs
    one_step: ClassVar[bool] = True

    @classmethod
    def source(cls, config: SlimConfig) -> Source:
        options = read_knobs(SpecPrefillKnobs, config)
        return Drafting(options.look_ahead, options.pool)

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(steps=(PruneStep(0, 0.3),), method=cls.name, block_size=32, query_window=1)
