"""Runs that were recorded: what is shown before anybody has pressed a button, read from `assets/recordings`.

`python -m benchmarks.record` writes the files; here they are checked, and a run is turned back into the engine's
events, so that a recorded run is drawn by the figures of a live one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sliminfer.assets import ASSETS
from sliminfer.engine.result import RunResult
from sliminfer.engine.tape import TapeError, checked, from_tape
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.kept_map import KeptMap

if TYPE_CHECKING:  # the figures need only its arrays, not torch, which it imports
    from sliminfer.diffusion.result import DiffusionResult

FOLDER = ASSETS / "recordings"
FORMAT = "sliminfer recording 1"


@dataclass(frozen=True)
class About:
    """What must be said about a recording wherever it is shown.

    Attributes:
        model, machine: what ran, on what.
        recorded: the day.
        document, licence, source: what was read, on which terms it is quoted, and where it comes from.
        question: what was asked.
        answer: what a right answer says.
    """

    model: str
    machine: str
    recorded: date
    document: str
    licence: str
    source: str
    question: str
    answer: str

    @classmethod
    def read(cls, data: Any) -> About:
        """From plain data; raises TapeError."""
        try:
            words = {f.name: data[f.name] for f in fields(cls)}
            empty = [name for name, value in words.items() if not isinstance(value, str) or not value.strip()]
            if empty:
                raise ValueError(f"nothing under {', '.join(empty)}")
            return cls(**words | {"recorded": date.fromisoformat(words["recorded"])})
        except (KeyError, TypeError, ValueError) as error:
            raise TapeError(f"The recording does not say what it is of ({error}): record it again.") from error

    @property
    def day(self) -> str:
        """The day in words: 26 November 2026."""
        return f"{self.recorded.day} {self.recorded:%B %Y}"


@dataclass(frozen=True)
class Piece:
    """Words of the document around the evidence: half-open token range [start, end), and whether they are of it."""

    text: str
    start: int
    end: int
    evidence: bool


@dataclass(frozen=True)
class Recording:
    """A recorded run of both sides.

    Attributes:
        config: the pruning.
        evidence: token ranges of the prompt that hold the answer.
        passage: the document around the first of them.
        run: what the events add up to.
        layer_at: when each layer of a side was done, seconds on the engine's clock, by side.
    """

    about: About
    config: SlimConfig
    evidence: tuple[Span, ...]
    passage: tuple[Piece, ...]
    run: RunResult
    layer_at: Mapping[str, tuple[float, ...]]

    @cached_property
    def kept(self) -> KeptMap:
        """The map of kept tokens."""
        return KeptMap.from_side(self.run.pruned, self.config, self.evidence)


@dataclass(frozen=True)
class DiffusionRecording:
    """A recorded measurement of diffusion of `passage`, a text of the document."""

    about: About
    passage: str
    result: DiffusionResult


def read_recording(path: Path) -> Recording:
    """The recorded run in the file at `path`.

    Raises:
        TapeError: it is none, or one of another version.
    """
    data = _read(path)
    about = About.read(data.get("about"))
    try:
        tokens, (first, last) = int(data["prompt"]["tokens"]), data["prompt"]["question"]
        evidence = tuple((int(start), int(end)) for start, end in data["prompt"]["evidence"])
        passage = tuple(Piece(**checked(Piece, piece)) for piece in data["passage"])
        config = SlimConfig.from_dict(data["config"])
        if not evidence or not passage or not 0 <= first < last <= tokens:
            raise ValueError("no question, evidence or passage")
        if any(not 0 <= start < end <= tokens for start, end in (*evidence, *((p.start, p.end) for p in passage))):
            raise ValueError("a place outside the prompt")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TapeError(f"The recording {path.name} is not whole ({error}): record it again.") from error
    events = from_tape(data.get("events"), tokens, (first, last))
    run = RunResult.of(events)
    times = {side.side: _layer_times(events, side.side) for side in run.sides}
    if any(len(times[side.side]) != side.layers or len(side.alive) != side.layers for side in run.sides):
        raise TapeError(f"The recording {path.name} lacks layers: record it again.")
    if any(not side.piece_at or side.piece_at[-1] <= 0 for side in run.sides) or run.pruned.pruned == ():
        raise TapeError(f"The recording {path.name} lacks answers or prune steps: record it again.")
    return Recording(about, config, evidence, passage, run, times)


def read_diffusion(path: Path) -> DiffusionRecording:
    """The recorded measurement in the file at `path`; raises SlimError as `read_recording` does."""
    from sliminfer.diffusion.result import DiffusionResult

    data = _read(path)
    passage = data.get("passage")
    if not isinstance(passage, str):
        raise TapeError(f"The recording {path.name} does not quote its passage: record it again.")
    return DiffusionRecording(About.read(data.get("about")), passage, DiffusionResult.from_dict(data.get("result")))


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TapeError(f"The recording {path.name} cannot be read: record it again.") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise TapeError(f"{path.name} is no recording of the form {FORMAT!r}: record it again.")
    return data


def _layer_times(events: Any, side: str) -> tuple[float, ...]:
    from sliminfer.engine.events import LayerDone

    return tuple(event.at for event in events if isinstance(event, LayerDone) and event.side == side)
