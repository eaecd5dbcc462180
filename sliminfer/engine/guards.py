"""Ways of generating that would pass the block by, or prune a piece of the prompt as if it were the whole: refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig

# Continuous batching runs the model in a thread of its own, with a cache of pages.
ELSEWHERE = ("generate_batch", "init_continuous_batching", "continuous_batching_context_manager")


class Generate:
    """`generate` as it was, where its prefill comes in one piece, and once."""

    def __init__(self, model: nn.Module, config: SlimConfig) -> None:
        self._prunes = bool(config.steps)
        self._default: Any = getattr(model, "generation_config", None)

    def __call__(self, stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As the model's own; raises ConfigError for a prefill in chunks or at every step."""
        given = kwargs.get("generation_config", args[1] if len(args) > 1 else None) or self._default
        if kwargs.get("prefill_chunk_size", getattr(given, "prefill_chunk_size", None)) is not None:
            raise ConfigError(
                "prefill_chunk_size would make the first chunk the prompt that is pruned: leave it out; the widest "
                "results are computed in slices of tokens in any case."
            )
        if self._prunes and kwargs.get("use_cache", getattr(given, "use_cache", None)) is False:
            raise ConfigError(
                "use_cache=False would make prompt and answer a new prompt to prune at every step: leave it out."
            )
        return stock(*args, **kwargs)


def refuse_elsewhere(stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """In place of continuous batching: raises ConfigError."""
    raise ConfigError(
        "Continuous batching runs the model in a thread of its own, which slim() does not reach: use generate, whose "
        "rows run one after another."
    )
