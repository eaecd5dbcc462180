"""Token pruning between layers for long prompts, after SlimInfer (arXiv 2508.06447).

from sliminfer import SlimConfig, SlimEngine, load_model, slim
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sliminfer.config import PruneStep, SlimConfig
    from sliminfer.decoder import slim
    from sliminfer.engine import RunRequest, SlimEngine
    from sliminfer.errors import SlimError
    from sliminfer.models import load_model

__version__ = "0.1.0"
__all__ = ["PruneStep", "RunRequest", "SlimConfig", "SlimEngine", "SlimError", "load_model", "slim"]

_HOME = {
    "PruneStep": "config",
    "RunRequest": "engine",
    "SlimConfig": "config",
    "SlimEngine": "engine",
    "SlimError": "errors",
    "load_model": "models",
    "slim": "decoder",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that parsing a document or reading a config does not import torch.
    if name in _HOME:
        return getattr(importlib.import_module(f"sliminfer.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sliminfer' has no attribute {name!r}")
