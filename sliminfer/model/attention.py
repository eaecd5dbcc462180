"""Which attention backend a model runs on, and what to call it in results."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers.utils.import_utils import is_flash_attn_2_available

from sliminfer.errors import ModelError
from sliminfer.model.families.base import Family
from sliminfer.ops import row_attention
from sliminfer.ops.compat import causal_backend

FLASH = "flash_attention_2"
SDPA = "sdpa"

# cuDNN's kernel is the faster one, 631 against 351 TFLOP/s causal on an H100 (32 and 8 heads of 128, 32K tokens), but
# the host plans 60 to 91 ms for every length that it has not met, and every visitor's document is a new length
# (torch 2.11, cuDNN 9.19).
_PLAN_S = 0.07
_SAVED_S_PER_FLOP = 1 / 351e12 - 1 / 631e12


def check_attention(implementation: str) -> None:
    """Raise ModelError for a backend whose masks are not known here, by transformers' name."""
    flash = "flash" in implementation and "paged" not in implementation
    if implementation not in (SDPA, "eager") and not flash:
        raise ModelError(
            f"Attention {implementation!r} is not supported: load the model with sdpa, eager or flash_attention_2."
        )


def check_backend(family: Family, implementation: str) -> None:
    """Raise ModelError for a backend that `family` does not have, by transformers' name."""
    kind = FLASH if "flash" in implementation else implementation
    if kind != "eager" and kind not in family.backends:
        others = " or ".join(each for each in (SDPA, "eager") if each in (*family.backends, "eager"))
        raise ModelError(f"{family.label} does not run with attention {implementation!r} here: load it with {others}.")


def choose_attention(
    device: torch.device, dtype: torch.dtype, backends: Sequence[str] = (FLASH, SDPA)
) -> str:
    """transformers' name of the fastest attention backend that runs here.

    flash-attention 2 where the device and type allow it and it imports, be it the flash-attn package or the
    prebuilt kernel of the Hub package `kernels`, which is loaded to see whether it can be. Otherwise torch's
    own, which dispatches to its cuDNN or flash backend on a GPU. Only those among `backends` come into question, and
    "eager" where the model has none of them.
    """
    half = dtype in (torch.float16, torch.bfloat16)
    if FLASH in backends and device.type == "cuda" and half and _flash_imports():
        return FLASH
    return SDPA if SDPA in backends else "eager"


def describe_attention(
    implementation: str, device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, head_dim: int
) -> str:
    """`implementation` as results report it: torch's own with what runs a causal prefill.

    For instance "flash_attention_2", "eager", "sdpa/flash_attention", "sdpa/rows" for `row_attention`, or
    "sdpa/flash+cudnn" where the length decides, see `cudnn_pays`.
    """
    if implementation == SDPA and device.type == "cpu" and dtype is torch.bfloat16 and row_attention.pays():
        return f"{SDPA}/rows"
    stock = stock_attention(implementation, device, dtype, heads, kv_heads, head_dim)
    return f"{SDPA}/flash+cudnn" if stock == f"{SDPA}/cudnn_attention" else stock


def stock_attention(
    implementation: str, device: torch.device, dtype: torch.dtype, heads: int, kv_heads: int, head_dim: int
) -> str:
    """As `describe_attention`, for the stock model, which has torch's own backends only."""
    if implementation != SDPA:
        return implementation
    query = torch.zeros(1, heads, 128, head_dim, device=device, dtype=dtype)
    key = torch.zeros(1, kv_heads, 128, head_dim, device=device, dtype=dtype)
    return f"{SDPA}/{causal_backend(query, key).name.lower()}"


def cudnn_pays(queries: int, keys: int, heads: int, head_dim: int, layers: int) -> bool:
    """Whether cuDNN's attention saves more than it takes to plan, for a length that it has not met.

    Args:
        queries, keys: rows and columns of the scores, of which causal attention computes half.
        layers: of the model. Prune steps divide them, so that about half of them share one length.
    """
    flops = 2 * queries * keys * heads * head_dim
    return flops * layers / 2 * _SAVED_S_PER_FLOP > _PLAN_S


@contextmanager
def cudnn_where_it_pays(query: Tensor, keys: Tensor, layers: int) -> Iterator[None]:
    """Within the block torch's attention of `query` over `keys` leaves cuDNN out where `cudnn_pays` denies it.

    Args:
        query, keys: [1, heads, tokens, head_dim], on any device.
    """
    _, heads, rows, head_dim = query.shape
    if not query.is_cuda or cudnn_pays(rows, keys.shape[2], heads, head_dim, layers):
        yield
        return
    _cudnn.leave_out()
    try:
        yield
    finally:
        _cudnn.let_in()


class _CudnnSwitch:
    """Torch's switch for cuDNN attention is the process's: threads of several devices share one count.

    A thread that would have cuDNN while another leaves it out gets torch's flash kernel: slower, not wrong.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left_out = 0
        self._before = True

    def leave_out(self) -> None:
        with self._lock:
            if self._left_out == 0:
                self._before = torch.backends.cuda.cudnn_sdp_enabled()
                torch.backends.cuda.enable_cudnn_sdp(False)
            self._left_out += 1

    def let_in(self) -> None:
        with self._lock:
            self._left_out -= 1
            if self._left_out == 0:
                torch.backends.cuda.enable_cudnn_sdp(self._before)


_cudnn = _CudnnSwitch()


def _flash_imports() -> bool:
    try:
        return bool(is_flash_attn_2_available(kernels_fallback_ok=True))
    except TypeError:  # transformers before the Hub fallback
        return bool(is_flash_attn_2_available())
