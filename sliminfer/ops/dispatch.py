"""The engine's operations, sent to a Triton kernel or to plain torch by where the tensors are.

`auto` runs Triton on CUDA tensors and torch on others; `torch` and `triton` force one. Where a kernel cannot be
compiled for a device or fitted to it, the operation says so once and runs in torch on that device from then on.
The choice, and the record of what ran, belong to the context (the thread or task) that made them.
"""

from __future__ import annotations

import importlib
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.ops import block_rows, reference
from sliminfer.ops.softmax import PLAIN, Softmax
from sliminfer.schedule.config import Aggregate

KernelChoice = Literal["auto", "torch", "triton"]
# (operation, device index) -> what ran it last; the CPU's index is -1.
Record = dict[tuple[str, int], str]

# Operation -> the file of kernels/ that holds it.
_KERNEL_FILES = {
    "rms_norm": "rms_norm_residual",
    "rms_norm_residual": "rms_norm_residual",
    "apply_rope": "rope",
    "swiglu": "swiglu",
    "unit_keys": "unit_keys",
    "block_scores": "block_scores",
    "decode_attention": "decode_attention",
    "sparse_attention": "sparse_attention",
    "choose_blocks": "choose_blocks",
    "take_rows": "take_rows",
    "load_blocks": "load_blocks",
    "append_rotated": "kept_attention",
    "attend_row": "kept_attention",
}
_REFERENCE: dict[str, Callable[..., Any]] = {
    op: getattr(block_rows if op == "sparse_attention" else reference, op) for op in _KERNEL_FILES
}


@dataclass
class _State:
    """What the process has learnt: the kernels it imported, and on which devices one of them cannot run."""

    kernels: dict[str, Callable[..., Any]] = field(default_factory=dict)
    failed: set[tuple[str, int]] = field(default_factory=set)


_state = _State()
_choice: ContextVar[str] = ContextVar("kernels", default="auto")
_record: ContextVar[Record | None] = ContextVar("kernels_ran", default=None)


@contextmanager
def use_kernels(choice: str, record: Record | None = None) -> Iterator[None]:
    """Within the block, every operation of this context runs as `choice` says: auto, torch or triton.

    Args:
        record: where given, what runs within the block is noted in it, and not in the record of `kernels_ran`.

    Raises:
        ConfigError: the choice is unknown, or it is triton and neither a GPU nor its interpreter is there.
    """
    if choice not in ("auto", "torch", "triton"):
        raise ConfigError(f"Unknown kernels {choice!r}: choose auto, torch or triton.")
    if choice == "triton" and not (torch.cuda.is_available() or _interpreted()):
        raise ConfigError("Triton kernels need a CUDA device: use kernels auto or torch on this machine.")
    before, recorded = _choice.get(), _record.get()
    _choice.set(choice)
    if record is not None:
        _record.set(record)
    try:
        yield
    finally:
        # Set, not reset by token: a generator may leave the block in another context than it entered it in.
        _choice.set(before)
        if record is not None:
            _record.set(recorded)


def kernels_ran(record: Record | None = None) -> dict[str, str]:
    """Operation -> "triton", "torch", or "torch+triton" where devices differ.

    Of `record`, or else of the calls of this context since `forget_kernels_ran`.
    """
    ran: dict[str, set[str]] = {}
    for (op, _), how in (_ran() if record is None else record).items():
        ran.setdefault(op, set()).add(how)
    return {op: "+".join(sorted(ways)) for op, ways in ran.items()}


def forget_kernels_ran() -> None:
    """Start a new record for `kernels_ran`."""
    _ran().clear()


def _ran() -> Record:
    record = _record.get()
    if record is None:
        record = {}
        _record.set(record)
    return record


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
    softmax: Softmax = PLAIN,
) -> Tensor:
    """See `reference.block_scores`; the kernel knows the plain softmax alone."""
    if not softmax.plain:
        return reference.block_scores(
            queries, keys, unit_to_block, blocks, scale, aggregate, unit_size, tokens, softmax
        )
    scores: Tensor = _run(
        "block_scores", queries, keys, unit_to_block, blocks, scale, aggregate, unit_size, tokens
    )
    return scores


def decode_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """See `reference.decode_attention`."""
    out: Tensor = _run("decode_attention", query, keys, values, scale)
    return out


def sparse_attention(query: Tensor, keys: Tensor, values: Tensor, table: Tensor, block: int, scale: float) -> Tensor:
    """See `block_rows.sparse_attention`."""
    out: Tensor = _run("sparse_attention", query, keys, values, table, block, scale)
    return out


def choose_blocks(
    first: Tensor,
    second: Tensor,
    best: Tensor,
    alive: Tensor,
    marks: Tensor,
    budget: int,
    size: int,
    tokens: int,
    carry: float,
    ahead: float,
    behind: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `reference.choose_blocks`."""
    chosen: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = _run(
        "choose_blocks", first, second, best, alive, marks, budget, size, tokens, carry, ahead, behind
    )
    return chosen


def take_rows(hidden: Tensor, cos: Tensor, sin: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `reference.take_rows`."""
    taken: tuple[Tensor, Tensor, Tensor] = _run("take_rows", hidden, cos, sin, index)
    return taken


def load_blocks(store: Tensor, spans: Sequence[Tensor], loads: Sequence[tuple[int, int]]) -> Tensor:
    """See `reference.load_blocks`."""
    if store.is_cuda and not all(span.is_pinned() for span in spans):  # no kernel reads pageable memory
        return reference.load_blocks(store, spans, loads)
    loaded: Tensor = _run("load_blocks", store, spans, loads)
    return loaded


def append_rotated(
    query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor, store: Tensor, row: Tensor
) -> Tensor:
    """See `reference.append_rotated`."""
    rotated: Tensor = _run("append_rotated", query, key, value, cos, sin, store, row)
    return rotated


def attend_row(query: Tensor, store: Tensor, row: Tensor, scale: float) -> Tensor:
    """See `reference.attend_row`."""
    out: Tensor = _run("attend_row", query, store, row, scale)
    return out


def runs_triton(op: str, device: torch.device) -> bool:
    """Whether a call of `op` on `device` would go to its Triton kernel."""
    choice, on_gpu = _choice.get(), device.type == "cuda"
    wanted = on_gpu if choice == "auto" else choice == "triton"
    index = (torch.cuda.current_device() if device.index is None else device.index) if on_gpu else -1
    return wanted and (op, index) not in _state.failed


def _run(op: str, first: Tensor, *rest: Any) -> Any:
    choice = _choice.get()  # as runs_triton, without a call: every operation of a decoded token passes here
    place = op, first.get_device()
    if (first.is_cuda if choice == "auto" else choice == "triton") and place not in _state.failed:
        try:
            result = _launch(_state.kernels.get(op) or _load(op), first, *rest)
        except Exception as error:
            if not _before_the_launch(error):
                raise
            _state.failed.add(place)
            reason = " ".join(str(error).split())[:200]
            warnings.warn(
                f"The Triton kernel {op} cannot run on {first.device} ({type(error).__name__}: {reason}); "
                "it runs in plain torch there from now on.",
                RuntimeWarning,
                stacklevel=3,
            )
        else:
            _ran()[place] = "triton"
            return result
    _ran()[place] = "torch"
    return _REFERENCE[op](first, *rest)


def _launch(kernel: Callable[..., Any], first: Tensor, *rest: Any) -> Any:
    """`kernel(first, *rest)` with the device of `first` current: Triton launches there, wherever its pointers are."""
    if not first.is_cuda or first.get_device() == torch.cuda.current_device():
        return kernel(first, *rest)
    with torch.cuda.device(first.get_device()):
        return kernel(first, *rest)


def _before_the_launch(error: Exception) -> bool:
    """Whether `error` says that a kernel cannot run: found while it was imported, compiled, loaded or given arguments.

    Nothing was written then, and the plain operation may take over. After a launch it may not: a kernel that
    writes in place would be followed by the same operation once more.
    """
    if isinstance(error, ImportError | ValueError | TypeError):
        return True
    kinds = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("triton.")}
    if kinds & {"CompilationError", "OutOfResources", "PTXASError"}:
        return True
    frames = traceback.walk_tb(error.__traceback__)
    return any(str(frame.f_globals.get("__name__", "")).startswith("triton.compiler") for frame, _ in frames)


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
