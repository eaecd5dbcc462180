"""The full model: nothing is dropped."""

from __future__ import annotations

from typing import ClassVar

from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PruneView, Selection, Selector


class Full(Selector):
    """Keeps everything, whatever the steps; the baseline every other method is compared with."""

    name: ClassVar[str] = "full"
    paper: ClassVar[str] = "the stock model"

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(method=cls.name)

    @classmethod
    def tokens_after(cls, step: PruneStep, blocks: BlockMap, alive: int) -> int:
        return alive

    def select(self, view: PruneView) -> Selection | None:
        return None
