"""What probing information diffusion has found: the finished or partial result, and the board it is filled on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sliminfer.diffusion.plan import DiffusionPlan, block_map
from sliminfer.engine.plain import plain
from sliminfer.errors import ConfigError
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span, to_ranges

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class DiffusionResult:
    """What is known so far; NaN stands for what is not.

    Attributes:
        tokens: prompt length N.
        span: half-open token range that was asked about.
        removed: the token ranges that its blocks cover, without blocks that are always kept.
        layers: 0 .. L-1 [L].
        attention_share: share of the local queries' attention on `span`, in [0, 1] [L].
        removed_layers: the layers l of the removals, ascending, within 0 .. L [M].
        removed_logprob: log-probability of the answer without the span's blocks from l on, nats [M].
        random_median, random_low, random_high: median and quartiles of the control at each l, nats [M].
        full_logprob, input_removed_logprob: with nothing removed, and without the same tokens in the input, nats.
        similarity: the diffusion map of the states entering each layer, in [0, 1] [L, bins].
        answer: token ids of the answer.
        draws: random removals at each of `removed_layers`.
        done, total: layer runs made, and to be made in all.
    """

    tokens: int
    span: Span
    removed: tuple[Span, ...]
    layers: NDArray[np.int64]
    attention_share: Floats
    removed_layers: NDArray[np.int64]
    removed_logprob: Floats
    random_median: Floats
    random_low: Floats
    random_high: Floats
    full_logprob: float
    input_removed_logprob: float
    similarity: NDArray[np.float32]
    answer: tuple[int, ...]
    draws: int
    done: int
    total: int

    @property
    def probes(self) -> int:
        """Removals in all, of the span, at random and from the input."""
        return len(self.removed_layers) * (1 + self.draws) + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data under the same names; None where something is not known."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found: dict[str, Any] = plain(data)
        return found

    @classmethod
    def from_dict(cls, data: Any) -> DiffusionResult:
        """What `to_dict` gave, None as NaN again.

        Raises:
            ConfigError: a field is missing, or of another kind or length.
        """
        try:
            made = {name: _read(name, data[name]) for name in cls.__dataclass_fields__}
            depth, removals = len(made["layers"]), len(made["removed_layers"])
            lengths = {"attention_share": depth, "similarity": depth, "removed_logprob": removals}
            lengths |= {f"random_{part}": removals for part in ("median", "low", "high")}
            if depth < 1 or removals < 1 or any(len(made[name]) != length for name, length in lengths.items()):
                raise ValueError("its curves differ in length")
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"That is no measurement of diffusion ({error!r}): measure it again.") from error
        return cls(**made)


def _read(name: str, value: Any) -> Any:
    if name in ("tokens", "draws", "done", "total"):
        return int(value)
    if name in ("full_logprob", "input_removed_logprob"):
        return np.nan if value is None else float(value)
    if name in ("layers", "removed_layers"):
        return np.array(value, np.int64)
    if name in ("span", "answer"):
        return tuple(int(each) for each in value)
    if name == "removed":
        return tuple((int(start), int(end)) for start, end in value)
    return np.array(value, np.float32 if name == "similarity" else np.float64)  # None becomes NaN


@dataclass
class Board:
    """The result as it fills."""

    prompt: Prompt
    span: Span
    blocks: tuple[int, ...]
    plan: DiffusionPlan
    depth: int
    answer: tuple[int, ...]
    done: int = 0
    full: float = np.nan
    floor: float = np.nan
    share: Floats = field(init=False)
    own: Floats = field(init=False)
    control: Floats = field(init=False)
    spread: NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.plan.layer_runs(self.depth, bool(self.answer))
        self.share = np.full(self.depth, np.nan)
        self.own = np.full(len(self.plan.layers), np.nan)
        self.control = np.full((len(self.plan.layers), self.plan.draws), np.nan)
        bins = min(self.plan.bins, len(self.prompt))
        self.spread = np.full((self.depth, bins), np.nan, np.float32)
        self._edges = np.arange(bins) * len(self.prompt) // bins
        self._widths = np.diff(np.append(self._edges, len(self.prompt)))

    def spread_at(self, layer: int, changes: Tensor) -> None:
        """Bin the change of every prompt position [N] on entering `layer`."""
        sums = np.add.reduceat(changes.double().cpu().numpy(), self._edges)
        self.spread[layer] = sums / self._widths

    def snapshot(self) -> DiffusionResult:
        """The result as it stands, in arrays of its own."""
        low, median, high = np.quantile(self.control, (0.25, 0.5, 0.75), axis=1)  # NaN until every draw is in
        blocks = block_map(self.prompt, self.plan)
        removed = [position for block in self.blocks for position in range(*blocks.span(block))]
        return DiffusionResult(
            tokens=len(self.prompt),
            span=self.span,
            removed=tuple((start, end) for start, end in to_ranges(removed)),
            layers=np.arange(self.depth),
            attention_share=self.share.copy(),
            removed_layers=np.array(self.plan.layers),
            removed_logprob=self.own.copy(),
            random_median=median,
            random_low=low,
            random_high=high,
            full_logprob=self.full,
            input_removed_logprob=self.floor,
            similarity=self.spread.copy(),
            answer=self.answer,
            draws=self.plan.draws,
            done=self.done,
            total=self.total,
        )
