"""Retrieval first, by meaning: the passages that an embedding model finds most like the question, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import sources
from sliminfer.selectors.base import read_knobs
from sliminfer.selectors.outside import OutsideSelector


@dataclass(frozen=True)
class EmbeddingKnobs:
    """`passage`: tokens of a passage, all of which have its score."""

    passage: int = 64

    def __post_init__(self) -> None:
        sources.Embedding(self.passage)


class Embedding(OutsideSelector):
    """Passages by the likeness of their vectors to the question's, before layer 0: a baseline of ours.

    The draft is the embedding model, one that is a decoder, such as Qwen3-Embedding: it reads the prompt once, and a
    passage's vector is the mean of its last states (late chunking). A model that was not trained for it finds little.
    What it takes is in every figure, as for `specprefill`.

    Steps: one, before layer 0, of three tenths as for `specprefill`, in blocks of 32.
    """

    name: ClassVar[str] = "embedding"
    paper: ClassVar[str] = "retrieval by late chunking, arXiv 2409.04701 (a baseline of ours)"
    knobs: ClassVar[type[Any]] = EmbeddingKnobs
    one_step: ClassVar[bool] = True

    @classmethod
    def source(cls, config: SlimConfig) -> sources.Source:
        return sources.Embedding(read_knobs(EmbeddingKnobs, config).passage)

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(steps=(PruneStep(0, 0.3),), method=cls.name, block_size=32)
