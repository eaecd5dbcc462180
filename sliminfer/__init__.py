"""Token pruning between layers for long prompts, after SlimInfer (arXiv 2508.06447).

from sliminfer import SlimConfig, SlimEngine, load_model, slim
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sliminfer.engine.engine import SlimEngine
    from sliminfer.engine.request import RunRequest
    from sliminfer.engine.result import RunResult
    from sliminfer.engine.slim import slim
    from sliminfer.errors import SlimError
    from sliminfer.model.chat import question_span
    from sliminfer.model.loading import load_model
    from sliminfer.schedule.config import PruneStep, SlimConfig

__version__ = "0.1.0"
__all__ = [
    "PruneStep",
    "RunRequest",
    "RunResult",
    "SlimConfig",
    "SlimEngine",
    "SlimError",
    "load_model",
    "question_span",
    "slim",
]

_HOME = {
    "PruneStep": "schedule.config",
    "RunRequest": "engine.request",
    "RunResult": "engine.result",
    "SlimConfig": "schedule.config",
    "SlimEngine": "engine.engine",
    "SlimError": "errors",
    "load_model": "model.loading",
    "question_span": "model.chat",
    "slim": "engine.slim",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that parsing a document or reading a config does not import torch.
    if name in _HOME:
        return getattr(importlib.import_module(f"sliminfer.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sliminfer' has no attribute {name!r}")
