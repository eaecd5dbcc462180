"""A run kept as plain JSON data and brought back as the events it was, so that figures draw both alike.

What only the machine that ran it needs is left out: token ids, the text of the prompt, logits. NaN is written as null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from sliminfer.engine.events import (
    BlocksPruned,
    Compared,
    Event,
    Finished,
    FirstToken,
    LayerDone,
    PromptReady,
    Token,
)
from sliminfer.engine.metrics import Comparison, KeptAtLayer, KVBytes, RunMetrics
from sliminfer.engine.plain import plain
from sliminfer.errors import SlimError
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import to_ranges

KINDS: Mapping[str, type[Event]] = {
    kind.__name__: kind for kind in (PromptReady, LayerDone, BlocksPruned, FirstToken, Token, Finished, Compared)
}
_DIGITS = 5  # significant ones, of scores
_PLAIN: Mapping[Any, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


class TapeError(SlimError):
    """The data is no run that was kept."""


def to_tape(events: Iterable[Event]) -> list[dict[str, Any]]:
    """A finished run as plain data, an object an event; what the cache told is left out."""
    return [_written(event) for event in events if type(event).__name__ in KINDS]


def from_tape(tape: Any, tokens: int, question: tuple[int, int]) -> tuple[Event, ...]:
    """The events in `tape`, of a prompt of `tokens` tokens whose token range `question` asks.

    Raises:
        TapeError: it is no tape, or does not hold a whole run of both sides over such a prompt.
    """
    prompt = Prompt((0,) * tokens, "", ((0, 0),) * tokens, (0, 0), question)
    if not isinstance(tape, list):
        raise TapeError("The events of the recording are no list: record it again.")
    try:
        events = tuple(_read(entry, prompt) for entry in tape)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise TapeError(f"An event of the recording cannot be read ({error!r}): record it again.") from error
    ends = [(type(event), event.side) for event in events if isinstance(event, Finished | Compared)]
    both = sorted(side for _, side in ends[:2])  # in a race either may be first
    if [kind for kind, _ in ends] != [Finished, Finished, Compared] or both != ["full", "pruned"]:
        raise TapeError("The recording does not hold a whole run of both sides: record it again.")
    for event in events:
        if isinstance(event, BlocksPruned) and not _fits(event, tokens):
            raise TapeError(f"The recording prunes what is not in its prompt of {tokens:,} tokens: record it again.")
    return events


def checked(kind: type[Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """`values` for the fields of the dataclass `kind`; raises TypeError where a plain field is of another kind."""
    for f in fields(kind):
        value, wanted = values.get(f.name), _PLAIN.get(f.type)
        if f.name not in values or wanted is None:
            continue
        if not isinstance(value, wanted) or (f.type != "bool" and isinstance(value, bool)):
            raise TypeError(f"{f.name} is {value!r}")
    return values


def _fits(event: BlocksPruned, tokens: int) -> bool:
    if event.block_size < 1 or not len(event.kept):
        return False
    whole = event.scores is None or len(event.scores) == -(-tokens // event.block_size)
    return whole and event.layer >= 0 and 0 <= event.kept[0] <= event.kept[-1] < tokens


def _written(event: Event) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": type(event).__name__, "side": event.side, "at": _number(event.at)}
    match event:
        case PromptReady():
            return entry | {"tokenize_s": event.tokenize_s, "layers": event.layers}
        case BlocksPruned():
            scores = None if event.scores is None else [_number(float(score)) for score in event.scores]
            return entry | {
                "layer": event.layer,
                "alive_before": event.alive_before,
                "kept": [list(span) for span in to_ranges(event.kept.tolist())],
                "block_size": event.block_size,
                "scores": scores,
                "threshold": _number(event.threshold),
                "forced": list(event.forced),
            }
        case FirstToken() | Token():
            return entry | ({"index": event.index} if isinstance(event, Token) else {}) | {"text": event.text}
        case Finished():
            left_out = ("token_ids", "first_logits")
            metrics = {name: value for name, value in asdict(event.metrics).items() if name not in left_out}
            return entry | {"text": event.text, "reason": event.reason, "metrics": plain(metrics)}
        case Compared():
            return entry | {"comparison": plain(asdict(event.comparison)), "raced": event.raced}
    return entry | {f.name: getattr(event, f.name) for f in fields(event)[2:]}


def _read(entry: Mapping[str, Any], prompt: Prompt) -> Event:
    values = dict(entry)
    kind, side, at = KINDS[values.pop("kind")], values.pop("side"), float(values.pop("at"))
    if side not in ("full", "pruned") or not math.isfinite(at):
        raise ValueError(f"side {side!r} at {at}")
    checked(kind, values)
    if kind is PromptReady:
        return PromptReady(side, at, prompt, **values)
    if kind is BlocksPruned:
        scores = values.pop("scores")
        return BlocksPruned(
            side,
            at,
            kept=np.concatenate([np.arange(start, end, dtype=np.int32) for start, end in values.pop("kept")]),
            scores=None if scores is None else np.array([_value(score) for score in scores], np.float32),
            threshold=_value(values.pop("threshold")),
            forced=tuple(values.pop("forced")),
            **values,
        )
    if kind in (FirstToken, Token):
        return kind(side, at, token=0, **values)
    if kind is Finished:
        return Finished(side, at, text=values["text"], reason=values["reason"], metrics=_metrics(values["metrics"]))
    if kind is Compared:
        ratios = {name: _value(value) for name, value in values["comparison"].items()}
        return Compared(side, at, Comparison(**ratios), raced=values.get("raced") is True)
    return kind(side, at, **values)


def _metrics(data: Mapping[str, Any]) -> RunMetrics:
    values: dict[str, Any] = {name: math.nan if value is None else value for name, value in data.items()}
    for name in ("kv", "prompt_kv"):
        held = values[name]
        values[name] = KVBytes(tuple(map(int, held["device"])), tuple(map(int, held["host"])), int(held["spare"]))
    values["kept"] = tuple(
        KeptAtLayer(
            **checked(
                KeptAtLayer,
                {
                    "layer": each["layer"],
                    "tokens": each["tokens"],
                    "ranges": tuple((start, end) for start, end in each["ranges"]),
                    "scored_by": tuple(each.get("scored_by", ())),
                    "asked": each.get("asked", 0),
                    "forced": each.get("forced", 0),
                },
            )
        )
        for each in values["kept"]
    )
    values["blocks_read"] = tuple(values.get("blocks_read", ()))
    values["token_at"], values["tokens_per_layer"] = tuple(values["token_at"]), tuple(values["tokens_per_layer"])
    return RunMetrics(**checked(RunMetrics, values))


def _number(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _value(value: float | None) -> float:
    return math.nan if value is None else float(value)
