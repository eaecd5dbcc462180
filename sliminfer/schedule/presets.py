"""Presets: schedules by relative depth, so that one name means the same on 12 and on 80 layers."""

from __future__ import annotations

# (relative depth of the prune layer, keep). Depths are fractions of the layer count, so that one preset
# means the same on 12 and on 80 layers; `paper` follows the schedule of arXiv 2508.06447 scaled by depth, `balanced`
# prunes a little harder at the same layers, which brings the prompt's KV down by the 56 % that the paper reports.
PRESETS: dict[str, tuple[tuple[float, float], ...]] = {
    "gentle": ((1 / 2, 0.5),),
    "paper": ((1 / 3, 0.25), (2 / 3, 0.125)),
    "balanced": ((1 / 3, 0.2), (2 / 3, 0.1)),
    "aggressive": ((1 / 4, 0.25), (1 / 2, 0.0625)),
}


DEFAULT_PRESET = "balanced"
