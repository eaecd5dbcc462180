"""The engine's operations, sent to a Triton kernel or to plain torch by where the tensors are.

`auto` runs Triton on CUDA tensors and torch on others; `torch` and `triton` force one. Where a kernel fails
to compile or launch, the operation says so once and runs in torch from then on.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.ops import reference
from sliminfer.schedule.config import Aggregate

KernelChoice = Literal["auto", "torch", "triton"]

# Operation -> the file of kernels/ that holds it.
_KERNEL_FILES = {
    "rms_norm": "rms_norm_residual",
    "rms_norm_residual": "rms_norm_residual",
    "apply_rope": "rope",
    "swiglu": "swiglu",
    "unit_keys": "unit_keys",
    "block_scores": "block_scores",
    "decode_attention": "decode_attention",
}
_REFERENCE: dict[str, Callable[..., Any]] = {op: getattr(reference, op) for op in _KERNEL_FILES}


@dataclass
class _State:
    choice: KernelChoice = "auto"
    kernels: dict[str, Callable[..., Any]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    ran: dict[str, str] = field(default_factory=dict)


_state = _State()


@contextmanager
def use_kernels(choice: str) -> Iterator[None]:
    """Within the block, every operation of this process runs as `choice` says: auto, torch or triton.

    Raises:
        ConfigError: the choice is unknown, or it is triton and neither a GPU nor its interpreter is there.
    """
    if choice not in ("auto", "torch", "triton"):
        raise ConfigError(f"Unknown kernels {choice!r}: choose auto, torch or triton.")
    if choice == "triton" and not (torch.cuda.is_available() or _interpreted()):
        raise ConfigError("Triton kernels need a CUDA device: use kernels auto or torch on this machine.")
    before = _state.choice
    _state.choice = choice  # type: ignore[assignment]
    try:
        yield
    finally:
        _state.choice = before


def kernels_ran() -> dict[str, str]:
    """Operation -> "triton" or "torch", for each operation called since `forget_kernels_ran`."""
    return dict(_state.ran)


def forget_kernels_ran() -> None:
    """Start a new record for `kernels_ran`."""
    _state.ran.clear()


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """See `reference.rms_norm`."""
    normed: Tensor = _run("rms_norm", x, weight, eps)
    return normed


def rms_norm_residual(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """See `reference.rms_norm_residual`."""
    pair: tuple[Tensor, Tensor] = _run("rms_norm_residual", x, residual, weight, eps)
    return pair


def apply_rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """See `reference.apply_rope`."""
    pair: tuple[Tensor, Tensor] = _run("apply_rope", query, key, cos, sin)
    return pair


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """See `reference.swiglu`."""
    product: Tensor = _run("swiglu", gate, up)
    return product


def unit_keys(keys: Tensor, unit_size: int) -> Tensor:
    """See `reference.unit_keys`."""
    means: Tensor = _run("unit_keys", keys, unit_size)
    return means


def block_scores(
    queries: Tensor,
    keys: Tensor,
    unit_to_block: Tensor,
    blocks: int,
    scale: float,
    aggregate: Aggregate,
    unit_size: int = 1,
    tokens: int | None = None,
) -> Tensor:
    """See `reference.block_scores`."""
    scores: Tensor = _run(
        "block_scores", queries, keys, unit_to_block, blocks, scale, aggregate, unit_size, tokens
    )
    return scores


def decode_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """See `reference.decode_attention`."""
    out: Tensor = _run("decode_attention", query, keys, values, scale)
    return out


def runs_triton(op: str, device: torch.device) -> bool:
    """Whether a call of `op` on `device` would go to its Triton kernel."""
    wanted = device.type == "cuda" if _state.choice == "auto" else _state.choice == "triton"
    return wanted and op not in _state.failed


def _run(op: str, first: Tensor, *rest: Any) -> Any:
    choice = _state.choice  # as runs_triton, without a call: every operation of a decoded token passes here
    if (first.is_cuda if choice == "auto" else choice == "triton") and op not in _state.failed:
        try:
            kernel = _state.kernels.get(op) or _load(op)
            result = kernel(first, *rest)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            _state.failed.add(op)
            reason = " ".join(str(error).split())[:200]
            warnings.warn(
                f"The Triton kernel {op} failed ({type(error).__name__}: {reason}); "
                "it runs in plain torch from now on.",
                RuntimeWarning,
                stacklevel=3,
            )
        else:
            _state.ran[op] = "triton"
            return result
    _state.ran[op] = "torch"
    return _REFERENCE[op](first, *rest)


def _load(op: str) -> Callable[..., Any]:
    module = importlib.import_module(f"sliminfer.kernels.{_KERNEL_FILES[op]}")
    kernel: Callable[..., Any] = getattr(module, op)
    _state.kernels[op] = kernel
    return kernel


def _interpreted() -> bool:
    try:
        import triton
    except ImportError:
        return False
    return bool(triton.knobs.runtime.interpret)
