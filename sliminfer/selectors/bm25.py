"""Retrieval first: the passages whose words are those of the question (BM25), and nothing else, are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import read_knobs
from sliminfer.selectors.outside import OutsideSelector
from sliminfer.selectors.sources import Retrieval, Source


@dataclass(frozen=True)
class Bm25Knobs:
    """`passage`: tokens of a passage, all of which have its score."""

    passage: int = 64

    def __post_init__(self) -> None:
        Retrieval(self.passage)


class Bm25(OutsideSelector):
    """Passages by their BM25 score for the question's words, before layer 0: a baseline of ours.

    What retrieval-augmented generation does, on this engine: what is kept has the positions that it had, and the
    search's time is in the time to first token. Where no word of the question is in the document, what comes first
    is kept.

    Steps: one, before layer 0, of three tenths as for `specprefill`, in blocks of 32.
    """

    name: ClassVar[str] = "bm25"
    paper: ClassVar[str] = "retrieval by BM25, Robertson and Zaragoza 2009 (a baseline of ours)"
    knobs: ClassVar[type[Any]] = Bm25Knobs
    one_step: ClassVar[bool] = True

    @classmethod
    def source(cls, config: SlimConfig) -> Source:
        return Retrieval(read_knobs(Bm25Knobs, config).passage)

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(steps=(PruneStep(0, 0.3),), method=cls.name, block_size=32)
