"""SlimConfig: what a pruned run does, checked when it is made.

Vocabulary: a *prompt* of N tokens is cut into *blocks* of `block_size` tokens at original positions; a
*prune step* at layer p lets only some blocks' hidden states enter layer p; the layers from one prune step
to the next are a *stage*, the tokens alive in it its *survivors*.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from sliminfer.errors import ConfigError
from sliminfer.schedule.presets import find_preset, rule_of

Aggregate = Literal["max", "mean"]
ScoreLayer = Literal["previous", "own", "both"]
Reading = Literal["dense", "sparse"]


@dataclass(frozen=True)
class PruneStep:
    """At `layer` (0-based), hidden states of only `keep` of the prompt go on.

    Before layer 0 nothing of the model has run: a step there is for methods whose scores come from outside it.
    `keep` is a fraction of the prompt in (0, 1] when it is a float, an absolute token count when it is an
    int of at least 2; both are rounded up to whole blocks.
    """

    layer: int
    keep: float | int

    def __post_init__(self) -> None:
        if isinstance(self.layer, bool) or not isinstance(self.layer, int) or self.layer < 0:
            raise ConfigError(f"Prune layer {self.layer!r} is not a whole number of at least 0.")
        number = isinstance(self.keep, int | float) and not isinstance(self.keep, bool)
        if not number or (isinstance(self.keep, float) and not math.isfinite(self.keep)):
            raise ConfigError(f"Keep {self.keep!r} is not a number: give a fraction such as 0.25 or a token count.")
        if isinstance(self.keep, float) and not 0.0 < self.keep <= 1.0:
            raise ConfigError(
                f"Keep {self.keep} at layer {self.layer} is not a fraction between 0 and 1: "
                "write 0.25 for a quarter, or a whole number for a token count."
            )
        if isinstance(self.keep, int) and self.keep < 1:
            raise ConfigError(f"Keep {self.keep} at layer {self.layer} is not a positive token count.")
        if self.keep == 1:  # "3:1" means all of it, not one token
            object.__setattr__(self, "keep", 1.0)

    def budget_tokens(self, prompt_tokens: int) -> int:
        """Tokens this step may keep of a prompt of `prompt_tokens`, before rounding up to whole blocks."""
        if isinstance(self.keep, float):
            return min(prompt_tokens, math.ceil(self.keep * prompt_tokens))
        return min(prompt_tokens, self.keep)


@dataclass(frozen=True)
class SlimConfig:
    """A pruning schedule and the rules by which blocks are scored and kept.

    Attributes:
        steps: prune steps with rising layers and non-increasing keep; empty means the full model.
        method: name of the selector (`sliminfer.selectors.available()`).
        options: knobs of one method alone, by name.
        block_size: tokens per block.
        unit_size: tokens per unit in prefill scoring; 1 lets every key represent itself.
        least_tokens: what every step keeps at least, however small its share of a short prompt.
        sink: leading blocks that are always kept.
        local: trailing tokens whose blocks are always kept.
        query_window: last prompt positions whose queries score the blocks; None for the question's and all that
            follow it, or, where no question is known, the last `blocks.UNKNOWN_QUESTION` positions.
        score_layer: whose queries and keys score: the layer just run ("previous", free), the pruning layer's own
            ("own", projected for it), or the better score of the two ("both"; methods that read one layer take the
            one just run).
        aggregate: a unit's score is the mean or the max over queries and heads; a block's is that of its best unit.
        active: decode working set per stage, blocks' worth of tokens as a fraction of the survivors (float)
            or as a token count (int); None keeps every survivor on the device.
        active_preserve: whether the layers before the first prune step hold a working set as well; they keep the
            whole prompt on the device otherwise.
        refresh: decode steps between two looks at the working set.
        gamma: the working set is swapped when its overlap with the wanted one falls below this share.
        decode_block_size: survivors per block of that working set, neighbours once the dropped tokens are gone.
        decode_unit_size: tokens per mean-key unit in decode scoring, at most such a block.
        decode: who chooses what decode attends to within `active`: "blocks", the working sets of the cache, or
            another of `sliminfer.decode_policies.available()`.
        decode_options: knobs of that policy alone, by name.
        reading: how the layers before the first prune step attend: "dense", to every key, or "sparse", to chosen blocks
            of keys, where that can pay (`sliminfer.sparse`).
        reading_options: of sparse reading, by name (`schedule.reading.SparseReading`).
    """

    steps: tuple[PruneStep, ...] = ()
    method: str = "sliminfer"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    block_size: int = 8
    unit_size: int = 1
    least_tokens: int = 0
    sink: int = 1
    local: int = 16
    query_window: int | None = None
    score_layer: ScoreLayer = "both"
    aggregate: Aggregate = "max"
    active: float | int | None = None
    active_preserve: bool = False
    refresh: int = 8
    gamma: float = 0.9
    decode_block_size: int = 32
    decode_unit_size: int = 8
    decode: str = "blocks"
    decode_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    reading: Reading = "dense"
    reading_options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.steps, Iterable) or not all(isinstance(step, PruneStep) for step in self.steps):
            raise ConfigError(f"steps is {self.steps!r}: give PruneSteps, as in (PruneStep(4, 0.25),).")
        object.__setattr__(self, "steps", tuple(self.steps))
        for name, least in (
            ("block_size", 1), ("unit_size", 1), ("least_tokens", 0), ("sink", 0), ("local", 1), ("query_window", 1),
            ("refresh", 1), ("decode_block_size", 1), ("decode_unit_size", 1),
        ):  # fmt: skip
            value = getattr(self, name)
            if name == "query_window" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} is {value!r}: it must be a whole number of at least {least}.")
        for name, kind, what in (
            ("method", str, "a name"), ("decode", str, "a name"), ("active_preserve", bool, "true or false"),
            ("options", Mapping, "a mapping from names to values"),
            ("decode_options", Mapping, "a mapping from names to values"),
            ("reading_options", Mapping, "a mapping from names to values"),
        ):  # fmt: skip
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"{name} is {getattr(self, name)!r}: it must be {what}.")
        object.__setattr__(self, "decode_unit_size", min(self.decode_unit_size, self.decode_block_size))
        for name, whole in (("unit_size", "block_size"), ("decode_unit_size", "decode_block_size")):
            unit, block = getattr(self, name), getattr(self, whole)
            if block % unit:
                raise ConfigError(f"{name} {unit} does not divide {whole} {block}: choose a divisor of it.")
        if self.score_layer not in ("previous", "own", "both"):
            raise ConfigError(f"score_layer is {self.score_layer!r}: choose previous, own or both.")
        if self.reading not in ("dense", "sparse"):
            raise ConfigError(f"reading is {self.reading!r}: choose dense or sparse.")
        if self.aggregate not in ("max", "mean"):
            raise ConfigError(f"aggregate is {self.aggregate!r}: choose max or mean.")
        if not isinstance(self.gamma, int | float) or not 0.0 <= self.gamma <= 1.0:
            raise ConfigError(f"gamma is {self.gamma!r}: it is a share between 0 and 1.")
        if self.active is not None:
            PruneStep(1, self.active)  # the same rule as keep
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            if after.layer <= before.layer:
                raise ConfigError(
                    f"Prune layers must rise: layer {after.layer} comes after layer {before.layer}; reorder the steps."
                )
            comparable = isinstance(after.keep, float) == isinstance(before.keep, float)
            if comparable and after.keep > before.keep:
                raise ConfigError(
                    f"Keep must not grow: {after.keep} at layer {after.layer} follows {before.keep} at layer "
                    f"{before.layer}, but dropped tokens cannot come back; lower the later keep."
                )

    def check_model(self, layers: int) -> None:
        """Raise ConfigError where a prune step does not fit a model of `layers` decoder layers."""
        for step in self.steps:
            if step.layer >= layers:
                raise ConfigError(f"Prune layer {step.layer} does not exist: the model has layers 0 to {layers - 1}.")

    @classmethod
    def preset(
        cls, name: str, layers: int, model: str = "", seeing: Sequence[int] | None = None, **changes: Any
    ) -> SlimConfig:
        """A preset for a model of `layers` decoder layers, with `changes` to any field.

        Args:
            name: one of `presets.PRESETS`.
            layers: decoder layers of the model.
            model: its name as `load_model` takes it; some have presets and a scoring rule of their own.
            seeing: its layers that see the whole prompt, None for all (`ModelShape.seeing`). A step between two of
                them moves to right behind the first, which chooses in any case; one before all of them up to the first.
        """
        chosen = find_preset(name, model)
        steps: dict[int, PruneStep] = {}
        for depth, keep in chosen.steps:
            layer = min(max(1, round(depth * layers)), layers - 1)
            if layers > 1:
                steps[layer] = PruneStep(layer, keep)
        made: dict[str, Any] = {
            "steps": tuple(steps[layer] for layer in sorted(steps)),
            "least_tokens": chosen.least_tokens,
        }
        if chosen.reading_share is not None:
            made |= {"reading": "sparse", "reading_options": {"share": chosen.reading_share}}
        return cls(**{**rule_of(model), **made}).where_seen(seeing).with_changes(**changes)

    def where_seen(self, seeing: Sequence[int] | None) -> SlimConfig:
        """The steps moved to where one of the layers `seeing` can choose (see `preset`); of several, the last."""
        if not seeing:
            return self
        layers = [_behind(step.layer, seeing) if step.layer else 0 for step in self.steps]
        moved = {layer: PruneStep(layer, step.keep) for layer, step in zip(layers, self.steps, strict=True)}
        return self.with_changes(steps=tuple(moved[layer] for layer in sorted(moved)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data that `from_dict` reads back to an equal config."""
        data = asdict(self)
        data["steps"] = [{"layer": step.layer, "keep": step.keep} for step in self.steps]
        data["options"] = dict(self.options)
        data["decode_options"] = dict(self.decode_options)
        data["reading_options"] = dict(self.reading_options)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SlimConfig:
        """The config written by `to_dict`; unknown fields are an error, missing ones take the default."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"{data!r} is no config: give a mapping as to_dict() makes it.")
        known = {f.name for f in fields(cls)}
        unknown = sorted(map(str, set(data) - known))
        if unknown:
            raise ConfigError(f"Unknown setting {unknown[0]!r}: known are {', '.join(sorted(known))}.")
        values = dict(data)
        try:
            values["steps"] = tuple(PruneStep(step["layer"], step["keep"]) for step in data.get("steps", ()))
        except (KeyError, TypeError) as error:
            raise ConfigError('Each prune step needs a layer and a keep, as in {"layer": 4, "keep": 0.25}.') from error
        return cls(**values)

    @classmethod
    def from_file(cls, path: str | Path) -> SlimConfig:
        """A config from a JSON file: a bare config, or a preset file of `tune` with it under "config"."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path} is not a readable JSON config: {error}.") from error
        if not isinstance(data, dict) or not isinstance(data.get("config", data), dict):
            raise ConfigError(f"{path} holds no JSON object: write a config as SlimConfig.to_dict() gives it.")
        return cls.from_dict(data.get("config", data))

    def with_changes(self, **changes: Any) -> SlimConfig:
        """A copy with some fields replaced, validated again."""
        return replace(self, **changes)


def _behind(layer: int, seeing: Sequence[int] | None) -> int:
    if not seeing or layer in seeing:
        return layer
    return max((each + 1 for each in seeing if each < layer), default=max(1, seeing[0]))


MOST_CHARACTERS = 4_000  # of prune steps as text: some 400 steps


def parse_steps(text: str) -> tuple[PruneStep, ...]:
    """Prune steps from the command line's form `LAYER:KEEP,LAYER:KEEP`, as in `4:0.25,8:0.125`.

    A keep without a point is a token count ("4:2048"), one with a point or a percent sign a fraction.
    """
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(
            f"The prune steps take {len(text):,} characters, and no model has layers for more than {MOST_CHARACTERS:,}"
            ": give fewer."
        )
    steps = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        layer_text, colon, keep_text = part.partition(":")
        try:
            if not colon:
                raise ValueError(part)
            layer = int(layer_text)
            if keep_text.endswith("%"):
                keep: float | int = float(keep_text[:-1]) / 100
            else:
                keep = int(keep_text) if keep_text.strip().isdigit() else float(keep_text)
        except ValueError as error:
            raise ConfigError(f"{part!r} is not a prune step: write LAYER:KEEP, as in 4:0.25 or 4:2048.") from error
        steps.append(PruneStep(layer, keep))
    return tuple(steps)
