"""Blocks from the host into slots: the same bytes as one copy each, by one launch, and only where pinned."""

from __future__ import annotations

import pytest
import torch

from sliminfer.kernels import load_blocks as kernel
from sliminfer.ops import reference
from tests.kernels.checks import Draw


def buffers(dtype: torch.dtype, device: torch.device, heads: int, size: int, width: int) -> tuple[torch.Tensor, ...]:
    draw = Draw(7, dtype, torch.device("cpu"))
    spans = tuple(draw(blocks, 2, heads, size, width) for blocks in (3, 1, 4))
    pinned = tuple(span.pin_memory() for span in spans) if device.type == "cuda" else spans
    return (torch.zeros(2, heads, 6 * size + 5, width, dtype=dtype, device=device), *pinned)


@pytest.mark.parametrize(("heads", "size", "width"), [(1, 4, 8), (2, 32, 64), (3, 8, 128)])
def test_blocks_of_several_spans_reach_their_slots(
    heads: int, size: int, width: int, dtype: torch.dtype, device: torch.device
) -> None:
    store, *spans = buffers(dtype, device, heads, size, width)
    wanted, loads = store.clone(), [(0, 5), (2, 0), (3, 1), (7, 3)]
    reference.load_blocks(wanted, spans, loads)
    found = kernel.load_blocks(store, spans, loads)
    assert found is store
    assert torch.equal(store, wanted)
    assert torch.equal(store[:, :, : size].cpu(), spans[0][2].cpu())
    assert not store[:, :, 6 * size :].any()


def test_blocks_that_begin_between_words_are_refused(device: torch.device) -> None:
    store, *spans = buffers(torch.float16, device, 1, 1, 3)
    with pytest.raises(ValueError, match="whole words"):
        kernel.load_blocks(store, spans, [(0, 0)])
