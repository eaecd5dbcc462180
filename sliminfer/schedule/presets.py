"""Presets: schedules by relative depth, so that one name means the same on 12 and on 80 layers.

Depths, keeps and the scoring rule that goes with them (the defaults of `SlimConfig`) were chosen on real pretrained
models, Qwen2.5-Coder-0.5B and 1.5B, on other seeds than docs/comparison.md reports. `paper` follows the schedule of
arXiv 2508.06447.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sliminfer.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """A schedule for any depth of model and length of prompt.

    Attributes:
        steps: (relative depth of the prune layer, share of the prompt that goes on), by rising depth.
        least_tokens: what every step keeps at least, so that a short prompt is not cut to its question alone.
        reading_share: share of the blocks that the layers before the first step attend to; None: all of them.
        note: what it costs in answers, as shown beside its name.
    """

    steps: tuple[tuple[float, float], ...]
    least_tokens: int = 0
    reading_share: float | None = None
    note: str = ""  # measured on Qwen2.5-Coder-1.5B-Instruct, docs/real-models.md


@dataclass(frozen=True)
class Tuned:
    """What one model needs instead: changes to the defaults of `SlimConfig`, and presets of its own by name."""

    rule: Mapping[str, Any] = field(default_factory=dict)
    presets: Mapping[str, Preset] = field(default_factory=dict)


# Prune early and often: three small cuts, the first at a tenth of the depth, lose less than two large ones. Layer 3 of
# 28 can already tell half of a prompt that will not matter, and layer 7 what does.
_EARLY = (3 / 28, 1 / 4, 1 / 2)


def _early(*keeps: float) -> tuple[tuple[float, float], ...]:
    return tuple(zip(_EARLY, keeps, strict=True))


PRESETS: dict[str, Preset] = {
    "gentle": Preset(_early(0.75, 0.5, 0.35), 192, note="71.5 % right at 4K and 2x, full 72.5"),
    "paper": Preset(((1 / 3, 0.25), (2 / 3, 0.125)), note="not yet; it is the paper's schedule, 2.2x"),
    "balanced": Preset(
        _early(0.5, 0.25, 0.12), 192, note="71.5 % right at 4K and 3.5x, full 72.5; 68.2 at 16K, full 64.5"
    ),
    "aggressive": Preset(
        _early(0.36, 0.14, 0.06), 192, note="69.1 % right at 4K and 4.6x, full 72.5; 68.7 at 16K and 5.1x, full 64.5"
    ),
    "fast": Preset(_early(0.36, 0.14, 0.06), 192, 0.25, "68.2 % right at 16K and 5.9x, full 64.5"),
    "fastest": Preset(
        _early(0.25, 0.1, 0.05), 192, 0.25, "68.9 % right at 16K and 6.9x, full 64.5; 52.4 at 32K and 8.5x, full 55.6"
    ),
}
DEFAULT_PRESET = "balanced"

# The shipped demo model was trained with dropped blocks: what it reads has spread by a third of its depth, and its
# chains of variables do better when all heads have a say.
TUNED: dict[str, Tuned] = {
    "demo": Tuned(
        rule={
            "aggregate": "mean",
            "query_window": 8,
            "local": 64,
            "least_tokens": 0,
            "options": {"half_life_after": 8.0},
        },
        presets={
            "gentle": Preset(((1 / 2, 0.5),)),
            "balanced": Preset(((1 / 3, 0.2), (2 / 3, 0.1))),
            "aggressive": Preset(((1 / 4, 0.25), (1 / 2, 0.0625))),
            "fast": Preset(((1 / 4, 0.25), (1 / 2, 0.0625)), reading_share=0.25),
            "fastest": Preset(((1 / 4, 0.18), (1 / 2, 0.05)), reading_share=0.25),
        },
    ),
}


def find_preset(name: str, model: str = "") -> Preset:
    """The preset `name` for the model called `model`; raises ConfigError for an unknown name."""
    own = TUNED[model].presets if model in TUNED else {}
    if name not in PRESETS:
        raise ConfigError(f"Unknown preset {name!r}: choose one of {', '.join(PRESETS)}.")
    return own.get(name, PRESETS[name])


def rule_of(model: str) -> Mapping[str, Any]:
    """Changes to the defaults of `SlimConfig` that the model called `model` needs; mostly none."""
    return TUNED[model].rule if model in TUNED else {}
