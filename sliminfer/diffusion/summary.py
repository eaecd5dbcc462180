"""Many probes of diffusion on one model, added up: what holds of that model, not of one passage.

Each probe is put on a scale of its own before they are added: a removal's *loss* is what it takes from the
log-probability of the answer, as a share of what the same passage's removal from layer 0 on takes. At 1 the model
needs the passage itself as much as on the first layer, at 0 not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sliminfer.diffusion.result import DiffusionResult
from sliminfer.engine.plain import plain

Floats = NDArray[np.float64]

LEAST_LOSS = 0.5  # nats; a passage whose removal costs less is not what the answer rests on
QUARTILES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class DiffusionSummary:
    """Quartiles over probes of one model; the first axis of each is low, median, high.

    Attributes:
        probes: how many are in it.
        left_out: those in which the answer does not rest on the passage, by `LEAST_LOSS`.
        tokens: median length of the prompts.
        layers: L, the depth of the model.
        removed_layers: the layers l of the removals, within 0 .. L [M].
        own_loss: loss without the passage's blocks from l on, as a share of that at l = 0 [3, M].
        random_loss: the same without as many random blocks [3, M].
        attention: times that the passage's share of the question's attention exceeds an even spread [3, L].
        free_from: share of the probes that lose at most a tenth from l on and at all later ones [M].
    """

    probes: int
    left_out: int
    tokens: int
    layers: int
    removed_layers: NDArray[np.int64]
    own_loss: Floats
    random_loss: Floats
    attention: Floats
    free_from: Floats

    @classmethod
    def of(cls, results: Sequence[DiffusionResult]) -> DiffusionSummary:
        """The summary of finished probes, all of one model and one plan's layers.

        Raises:
            ValueError: there are none that tell anything, or their layers differ.
        """
        used = [each for each in results if loss(each)[0] >= LEAST_LOSS]
        if not used:
            raise ValueError(f"in none of the {len(results)} probes does the answer rest on the passage")
        first = used[0]
        if any(list(each.removed_layers) != list(first.removed_layers) for each in used):
            raise ValueError("the probes removed from different layers")
        own = np.stack([loss(each) / loss(each)[0] for each in used])
        random = np.stack([(each.full_logprob - each.random_median) / loss(each)[0] for each in used])
        even = [(each.span[1] - each.span[0]) / each.tokens for each in used]
        attention = np.stack([each.attention_share / share for each, share in zip(used, even, strict=True)])
        # From the end: free at l only where it is free at every later layer, too.
        free = np.logical_and.accumulate((own <= 0.1)[:, ::-1], axis=1)[:, ::-1]
        return cls(
            probes=len(used),
            left_out=len(results) - len(used),
            tokens=int(np.median([each.tokens for each in used])),
            layers=len(first.layers),
            removed_layers=np.array(first.removed_layers),
            own_loss=np.quantile(own, QUARTILES, axis=0),
            random_loss=np.quantile(random, QUARTILES, axis=0),
            attention=np.quantile(attention, QUARTILES, axis=0),
            free_from=free.mean(axis=0),
        )

    @property
    def half_gone(self) -> int:
        """First layer from which on the median loss stays at half or less; L where that is only the end."""
        stays = np.logical_and.accumulate((self.own_loss[1] <= 0.5)[::-1])[::-1]
        return int(self.removed_layers[int(np.argmax(stays))])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data under the same names."""
        found: dict[str, Any] = plain({name: getattr(self, name) for name in self.__dataclass_fields__})
        return found

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DiffusionSummary:
        """What `to_dict` gave; raises KeyError, TypeError or ValueError for anything else."""
        own = {name: data[name] for name in cls.__dataclass_fields__}
        for name in ("own_loss", "random_loss", "attention", "free_from"):
            own[name] = np.array(own[name], dtype=np.float64)
        made = cls(**own | {"removed_layers": np.array(own["removed_layers"], dtype=np.int64)})
        marks = len(made.removed_layers)
        shapes = (made.own_loss.shape, made.random_loss.shape, made.attention.shape, made.free_from.shape)
        if shapes != ((3, marks), (3, marks), (3, made.layers), (marks,)):
            raise ValueError("the curves do not have one value a layer")
        return made


def loss(result: DiffusionResult) -> Floats:
    """What the answer's log-probability loses by each removal of the passage, nats [M]."""
    lost: Floats = result.full_logprob - result.removed_logprob
    return lost
