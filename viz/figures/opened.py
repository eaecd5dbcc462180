"""A result file that somebody gives back to the page: a run's data, or an evaluation, checked before it is drawn.

What is read is exactly what is shown. A file of a later version may hold more, which is passed over.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sliminfer.engine.events import BlocksPruned
from sliminfer.errors import ConfigError
from viz.figures.kept_grid import kept_grid
from viz.figures.kept_map import KeptMap
from viz.figures.stored import Study, studies_of
from viz.figures.table import Table
from viz.figures.words import DASH, count, escape, rate, seconds, size, times

MOST_BYTES = 4_000_000
NO_RESULT = (
    "The file is no result: give the JSON of a run (“Data, JSON”, or `sliminfer run --json`) or of "
    "`sliminfer eval --json`."
)
Words = Annotated[str, Field(max_length=200_000)]
Name = Annotated[str, Field(max_length=400)]
Amount = Annotated[float, Field(ge=0, le=1e18)]


class _Checked(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Kept(_Checked):
    """What went on from a prune step: half-open ranges of positions, ascending."""

    layer: Annotated[int, Field(ge=0, lt=1000)]
    ranges: Annotated[list[tuple[int, int]], Field(max_length=200_000)]


class Side(_Checked):
    """One side's answer and figures, as `SideResult.to_dict` writes them."""

    text: Words
    ttft_s: Amount
    decode_tokens_per_s: Amount | None = None
    prompt_kv_bytes: Amount
    peak_bytes: Amount | None = None
    prefill_flops: Amount
    tokens_per_layer: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=1000)]
    kept: Annotated[list[Kept], Field(max_length=16)] = []


class Asked(_Checked):
    """What a run was about, see `viz.page.share.asked`; a file of the command line has nothing of it."""

    question: Words = ""
    document: Name = ""
    date: Name = ""


class OpenedRun(_Checked):
    """A run's data: both sides, and what they were asked."""

    model: Name
    device: Name | None = None
    dtype: Name | None = None
    prompt_tokens: Annotated[int, Field(ge=1, le=1_048_576)]
    full: Side
    pruned: Side
    asked: Asked = Asked()

    @model_validator(mode="after")
    def _fits(self) -> OpenedRun:
        steps, layers = self.pruned.kept, len(self.pruned.tokens_per_layer)
        if any(later.layer <= step.layer for step, later in pairwise(steps)) or any(s.layer >= layers for s in steps):
            raise ValueError("prune steps are not ascending layers of the model")
        for step in steps:
            bounds = [0, *(bound for span in step.ranges for bound in span), self.prompt_tokens]
            if any(later < bound for bound, later in pairwise(bounds)):
                raise ValueError("ranges are not ascending positions of the prompt")
        return self

    def kept_map(self) -> KeptMap:
        """Which token was alive in which layer."""
        steps = [
            BlocksPruned(
                "pruned", 0.0, step.layer, self.prompt_tokens, _positions(step.ranges), 1, None, float("nan"), ()
            )
            for step in self.pruned.kept
        ]
        return KeptMap.of(self.prompt_tokens, len(self.pruned.tokens_per_layer), steps)

    def table(self) -> Table:
        """Both sides' figures, and how many times less the pruned one took."""
        full, pruned = self.full, self.pruned
        rows = [
            ("Time to first token", seconds(full.ttft_s), seconds(pruned.ttft_s), _ratio(full.ttft_s, pruned.ttft_s)),
            ("Prefill FLOPs", count(full.prefill_flops), count(pruned.prefill_flops),
             _ratio(full.prefill_flops, pruned.prefill_flops)),
            ("Prompt’s KV cache", size(full.prompt_kv_bytes), size(pruned.prompt_kv_bytes),
             _ratio(full.prompt_kv_bytes, pruned.prompt_kv_bytes)),
        ]  # fmt: skip
        if full.peak_bytes is not None and pruned.peak_bytes is not None:
            peaks = (full.peak_bytes, pruned.peak_bytes)
            rows.append(("Peak memory above the weights", *map(size, peaks), _ratio(*peaks)))
        if full.decode_tokens_per_s is not None and pruned.decode_tokens_per_s is not None:
            rates = (full.decode_tokens_per_s, pruned.decode_tokens_per_s)
            rows.append(("Tokens a second", *map(rate, rates), DASH))
        return Table.of("Both sides of the opened run", ("Figure", "Full", "Pruned", "Full over pruned"), rows)

    def html(self) -> str:
        """The whole result."""
        about = ", ".join(
            part
            for part in (self.model, f"{count(self.prompt_tokens)} tokens", self.asked.document, self.device,
                         self.dtype, self.asked.date)
            if part
        )  # fmt: skip
        answers = "".join(
            f"<dt>{name}</dt><dd>{escape(side.text.strip()) or '<em>No text.</em>'}</dd>"
            for name, side in (("Full model", self.full), ("Pruned model", self.pruned))
        )
        question = f'<p class="asked">{escape(self.asked.question)}</p>' if self.asked.question else ""
        grid = kept_grid(self.kept_map(), "What was kept in the opened run").html() if self.pruned.kept else ""
        return (
            f'<p class="about">Opened run of {escape(about)}.</p>{question}<dl class="papers">{answers}</dl>'
            f'<div class="fig fig-scroll" tabindex="0">{self.table().html()}</div>{grid}'
        )


@dataclass(frozen=True)
class OpenedStudies:
    """An evaluation: a study for each prompt length."""

    studies: tuple[Study, ...]


class _Row(_Checked):
    suite: Name
    context: Annotated[int, Field(ge=1, le=4_000_000)]
    method: Name
    variant: Name
    accuracy: Annotated[float, Field(ge=0, le=1)] | None
    ttft_s: Amount | None
    prompt_kv_bytes: Amount | None = None
    flops_target: Amount | None = None


class _Eval(_Checked):
    model: Name
    device: Name = "cpu"
    examples: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    processes: Annotated[int, Field(ge=1, le=100_000)] = 1
    results: Annotated[list[_Row], Field(min_length=1, max_length=20_000)]


def open_result(data: bytes) -> OpenedRun | OpenedStudies:
    """What the file in `data` holds. Raises ConfigError, in a sentence, for anything else than a result."""
    if len(data) > MOST_BYTES:
        raise ConfigError(f"The file has {count(len(data))} bytes and no result has more than {count(MOST_BYTES)}.")
    try:
        read = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(NO_RESULT) from error
    if not isinstance(read, dict):
        raise ConfigError(NO_RESULT)
    try:
        if "results" in read:
            return OpenedStudies(studies_of(_Eval.model_validate(read).model_dump()))
        if "pruned" in read:
            return OpenedRun.model_validate(read)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part)[:40] for part in first["loc"][:4]) or "the whole"
        raise ConfigError(f"The file is a result that cannot be shown ({place}: {first['msg'][:120]}).") from error
    raise ConfigError(NO_RESULT)


def _positions(ranges: list[tuple[int, int]]) -> Any:
    return np.concatenate([np.arange(start, end, dtype=np.int32) for start, end in ranges] or [np.zeros(0, np.int32)])


def _ratio(full: float, pruned: float) -> str:
    return times(full / pruned) if pruned else DASH
