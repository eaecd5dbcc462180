"""Setup: everything a visitor can choose, in one value that a link can carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from sliminfer.errors import ConfigError, SlimError
from sliminfer.schedule.config import PruneStep, SlimConfig, parse_steps
from sliminfer.schedule.presets import DEFAULT_PRESET, PRESETS, find_preset, rule_of
from sliminfer.schedule.reading import SparseReading

CUSTOM = "custom"
PLAIN = SlimConfig()
MAX_STEPS = 3
LARGEST = 2**63  # of a number in a link: what JSON, in which the page answers, can hold


@dataclass(frozen=True)
class Setup:
    """A run as the visitor has set it up.

    Attributes:
        model: name for `load_model`.
        example: id of the example document, empty for the visitor's own text.
        steps: prune steps, at most `MAX_STEPS`.
        active: decode working set as a share of the survivors; 1 keeps all of them on the device.
        reading: how the layers before the first prune step read, "dense" or "sparse".
        reading_share: share of the blocks that sparse reading attends to.
        repeats: how often to run both sides; more than one gives a median and a spread.
    """

    model: str = "demo"
    example: str = ""
    question: str = ""
    steps: tuple[PruneStep, ...] = ()
    max_new_tokens: int = 48
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    block_size: int = PLAIN.block_size
    sink: int = PLAIN.sink
    local: int = PLAIN.local
    least_tokens: int = PRESETS[DEFAULT_PRESET].least_tokens
    query_window: int = PLAIN.query_window or 0  # 0: the question decides
    active: float = 1.0
    refresh: int = PLAIN.refresh
    gamma: float = PLAIN.gamma
    active_preserve: bool = PLAIN.active_preserve
    decode_unit_size: int = PLAIN.decode_unit_size
    reading: str = PLAIN.reading
    reading_share: float = SparseReading().share
    repeats: int = 1

    def config(self) -> SlimConfig:
        """The pruning of the pruned side, by the model's own rule where nothing was set; raises ConfigError."""
        asked = {
            "block_size": self.block_size,
            "sink": self.sink,
            "local": self.local,
            "least_tokens": self.least_tokens,
            "query_window": self.query_window or None,
            "active": self.active if self.active < 1 else None,
            "refresh": self.refresh,
            "gamma": self.gamma,
            "active_preserve": self.active_preserve,
            "decode_unit_size": self.decode_unit_size,
            "reading": self.reading,
            "reading_options": {} if self.share is None else {"share": self.share},
        }
        left_alone = {name for name in asked if getattr(self, name, None) == getattr(Setup, name, None)}
        own = {name: value for name, value in rule_of(self.model).items() if name in left_alone or name not in asked}
        return SlimConfig(steps=self.steps, **{**asked, **own})

    @property
    def share(self) -> float | None:
        """The share of the blocks that is read before the first prune step, None for all."""
        return self.reading_share if self.reading == "sparse" else None

    def to_query(self) -> str:
        """The setup as a URL query with only what differs from the defaults."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        plain = Setup()
        query = {
            name: int(value) if isinstance(value, bool) else value
            for name, value in values.items()
            if name != "steps" and value != getattr(plain, name)
        }
        if self.steps:
            query["prune"] = ",".join(f"{s.layer}:{_keep_text(s.keep)}" for s in self.steps)
        return urlencode(query)

    @classmethod
    def from_query(cls, query: Mapping[str, str], start: Setup) -> Setup:
        """`start` with what `query` says; values that make no sense are a ConfigError, unknown names ignored."""
        changes: dict[str, Any] = {}
        for f in fields(cls):
            if f.name == "steps" or f.name not in query:
                continue
            kind = type(getattr(start, f.name))
            text = query[f.name]
            try:
                changes[f.name] = value = bool(int(text)) if kind is bool else kind(text)
                if kind in (int, float) and not abs(value) < LARGEST:  # not a number neither
                    raise ValueError(text)
            except ValueError as error:
                raise ConfigError(
                    f"The link's {f.name} {text[:40]!r} is not a number that can be set: correct the link, or set it "
                    "by hand."
                ) from error
        if "prune" in query:
            changes["steps"] = parse_steps(query["prune"])[:MAX_STEPS]
        return replace(start, **changes)


# Query parameters that make an address a link to a setup.
LINK_NAMES = {f.name for f in fields(Setup)} - {"steps"} | {"prune"}


def _keep_text(keep: float | int) -> str:
    return str(keep) if isinstance(keep, int) else f"{100 * keep:g}%"


def preset_of(steps: tuple[PruneStep, ...], layers: int, model: str = "", share: float | None = None) -> str:
    """Name of the preset that gives `steps` on the model called `model`, of `layers` layers, else `CUSTOM`.

    `share` is that of sparse reading, None for dense.
    """
    for name in PRESETS:
        if preset_share(name, model) == share and SlimConfig.preset(name, layers, model).steps == steps:
            return name
    return CUSTOM


def preset_share(name: str, model: str = "") -> float | None:
    """The share of the blocks that preset `name` reads before its first step, None for all."""
    return find_preset(name, model).reading_share


def preset_reading(name: str, model: str = "") -> dict[str, Any]:
    """The fields of a `Setup` that say how preset `name` reads before its first step."""
    share = preset_share(name, model)
    return {"reading": "dense"} if share is None else {"reading": "sparse", "reading_share": share}


def preset_steps(name: str, layers: int, model: str = "") -> tuple[PruneStep, ...]:
    """The prune steps of preset `name` on the model called `model`, of `layers` layers."""
    return SlimConfig.preset(name if name in PRESETS else DEFAULT_PRESET, layers, model).steps


def fault(setup: Setup, layers: int) -> str:
    """What is wrong with the setup's pruning on a model of `layers` layers, as a sentence; empty if nothing."""
    try:
        setup.config().check_model(layers)
    except SlimError as error:
        return str(error)
    return ""
