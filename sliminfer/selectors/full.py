"""The full model: nothing is dropped."""

from __future__ import annotations

from typing import ClassVar

from sliminfer.selectors.base import PruneView, Selection, Selector


class Full(Selector):
    """Keeps everything; the baseline every other method is compared with."""

    name: ClassVar[str] = "full"
    paper: ClassVar[str] = "the stock model"

    def select(self, view: PruneView) -> Selection | None:
        return None
