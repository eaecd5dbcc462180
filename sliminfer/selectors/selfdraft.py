"""The model's own first layers as the draft: they find, and the whole model reads what they found from layer 0 on."""

from __future__ import annotations

from typing import ClassVar

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import at_depth
from sliminfer.selectors.sliminfer import SlimInfer


class SelfDraft(SlimInfer):
    """Self-speculative prefill: an extension of ours.

    The layers before the step read the whole prompt and blocks are scored as by `sliminfer`; then the model reads
    the chosen ones from layer 0 on, at the positions that they had. `gemfilter` does so by single tokens, another
    score and new positions. Against going on from the step's layer, as `sliminfer` does, this drops the early layers'
    KV of everything else too, and pays with reading what is kept twice in those layers.

    Steps: one, where the first pass ends: a quarter of the depth, and an eighth goes on.
    """

    name: ClassVar[str] = "self-draft"
    paper: ClassVar[str] = "an extension of ours to SlimInfer, arXiv 2508.06447"
    one_step: ClassVar[bool] = True
    two_pass: ClassVar[bool] = True
    keeps_positions: ClassVar[bool] = True

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        return SlimConfig(steps=(PruneStep(at_depth(1 / 4, layers), 0.125),), method=cls.name, least_tokens=192)
