"""The full model that reads sparsely: nothing is dropped, and every layer attends to chosen blocks of keys."""

from __future__ import annotations

from typing import ClassVar

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.full import Full


class SparseFull(Full):
    """The block-sparse baseline: attention is cut, the work of all matrices stays.

    Its knob is the share of the blocks that are read (`reading_options`), at any length of prompt.
    """

    name: ClassVar[str] = "sparse_full"
    paper: ClassVar[str] = "sparse attention alone, as in MInference (arXiv 2407.02490); our reimplementation"

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(method=cls.name, reading="sparse", reading_options={"from_tokens": 0})

    @classmethod
    def check(cls, config: SlimConfig) -> None:
        super().check(config)
        if config.steps or config.reading != "sparse":
            raise ConfigError(
                f"Method {cls.name} drops nothing and reads sparsely: leave out prune steps and dense reading."
            )
