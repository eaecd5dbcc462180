"""The dimensions of decoders whose MLP has no gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sliminfer.schedule.shapes import ModelShape


def ungated(config: Any) -> ModelShape:
    """The shape in `config`, whose MLPs have a matrix up and one down."""
    return replace(ModelShape.of(config), mlp_matrices=2)
