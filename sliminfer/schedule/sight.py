"""Which layers can tell what a question asks for: those whose attention reaches the whole prompt.

A layer with a sliding window sees the end of a prompt alone, and one that does not attend has no scores to give. So a
prune step is scored by the last layer before it that sees everything, and by its own where that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import ScoreLayer, SlimConfig


class Chunk(int):
    """A window in tokens that begins anew at every multiple of its length, rather than sliding along."""


class Scorers(NamedTuple):
    """The layers that score one prune step.

    Attributes:
        before: a layer that has run, None where no such layer sees the whole prompt.
        own: whether the pruning layer scores as well.
    """

    before: int | None
    own: bool

    def layers(self, own: int) -> tuple[int, ...]:
        """Their numbers, where the pruning layer is `own`."""
        return (*(() if self.before is None else (self.before,)), *((own,) if self.own else ()))

    @property
    def asked(self) -> ScoreLayer:
        """The setting of `SlimConfig.score_layer` that says the same."""
        if self.before is None:
            return "own"
        return "both" if self.own else "previous"


def seeing_layers(windows: Sequence[int | None], attending: Sequence[bool]) -> tuple[int, ...] | None:
    """The layers whose attention reaches the whole prompt; None for all, also where each of them has a window."""
    seeing = tuple(i for i, window in enumerate(windows) if attending[i] and window is None)
    if len(seeing) == len(windows) or (not seeing and all(attending)):
        return None
    return seeing


def scorers_of(layer: int, seeing: Sequence[int] | None, asked: ScoreLayer) -> Scorers:
    """Who scores a prune step at `layer`.

    Args:
        seeing: the ascending layers that see the whole prompt; None for all.
        asked: the layers that may score, see `SlimConfig.score_layer`.

    Raises:
        ConfigError: no layer up to `layer` sees the whole prompt.
    """
    if not layer:
        return Scorers(None, False)  # nothing of the model has run: scores come from outside it
    if seeing is None:
        return Scorers(None if asked == "own" else layer - 1, asked != "previous")
    before = max((each for each in seeing if each < layer), default=None)
    own = layer in seeing
    if before is None and not own:
        first = f"layer {seeing[0]} is the first that does: prune there or later" if seeing else "use the full model"
        raise ConfigError(f"No layer up to {layer} reads the whole prompt, so that none can choose; {first}.")
    if asked == "own" and own:
        return Scorers(None, True)
    return Scorers(before, own and (asked != "previous" or before is None))


def as_scored(config: SlimConfig, layer: int, seeing: Sequence[int] | None) -> SlimConfig:
    """`config` with the layers that score its step at `layer` as what was asked for."""
    asked = scorers_of(layer, seeing, config.score_layer).asked
    return config if asked == config.score_layer else config.with_changes(score_layer=asked)
