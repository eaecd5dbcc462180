"""What the kernel tests share: fresh inputs, poisoned memory, and distance to a float64 result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

# Bounds on the relative norm of the error, by type; what rounding alone leaves is 2-10 times smaller.
BOUNDS = {torch.float32: 3e-6, torch.float16: 2e-3, torch.bfloat16: 8e-3}


class Draw:
    """Random tensors of one type on one device, from a fixed seed."""

    def __init__(self, seed: int, dtype: torch.dtype, device: torch.device) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype
        self.device = device

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator).to(self.device, self.dtype)


def error(result: Tensor, wanted: Tensor) -> float:
    """`|result - wanted| / |wanted|` in float64; NaN anywhere gives NaN, which no bound admits."""
    result, wanted = result.double().cpu(), wanted.double().cpu()
    assert result.shape == wanted.shape
    return float((result - wanted).norm() / wanted.norm().clamp(min=1e-30))


@contextmanager
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New uninitialised tensors hold NaN, so that an element nobody writes shows."""
    empty = torch.empty

    def filled(*size: object, **options: object) -> Tensor:
        out: Tensor = empty(*size, **options)  # type: ignore[call-overload]
        return out.fill_(float("nan")) if out.is_floating_point() else out.fill_(-1)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", filled)
        yield
