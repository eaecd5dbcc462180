"""Blocks of the KV cache from the host's pinned memory into their slots: one launch for all blocks of a layer.

The device reads pinned memory where it lies. A copy each would take two launches a block, since a slot's heads lie
apart, and a swap moves hundreds.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def load_kernel(store_ptr, table_ptr, head_stride, words, TILE: tl.constexpr):
    # A plane is the keys, or the values, of one head; its tokens lie together on both sides.
    plane = tl.program_id(1).to(tl.int64)
    row = table_ptr + 2 * tl.program_id(0)
    source = tl.load(row).to(tl.pointer_type(tl.int64)) + plane * words
    target = store_ptr + plane * head_stride + tl.load(row + 1) * words
    for start in range(0, words, TILE):
        word = start + tl.arange(0, TILE)
        tl.store(target + word, tl.load(source + word, mask=word < words), mask=word < words)


def _address(block: int, held: Sequence[tuple[int, int]], nbytes: int) -> int:
    """Where `block` begins, by the address and the blocks of each span."""
    for start, count in held:
        if block < count:
            return start + block * nbytes
        block -= count
    raise ValueError(f"load_blocks knows no block {block} behind its last.")


def launch_config() -> dict[str, int]:
    """Words of 8 bytes, two a thread."""
    return {"TILE": 256, "num_warps": 4, "num_stages": 1}


def load_blocks(store: Tensor, spans: Sequence[Tensor], loads: Sequence[tuple[int, int]]) -> Tensor:
    """`reference.load_blocks` on the device of `store`; the `spans` are pinned, and stay until the launch is done."""
    planes, (*_, tokens, width) = store.shape[0] * store.shape[1], spans[0].shape
    nbytes = tokens * width * store.element_size()  # of a plane of one block
    starts = [store.data_ptr(), *(span.data_ptr() for span in spans)]
    dense = all(each.is_contiguous() for each in (store, *spans))
    if not dense or any(start % 8 for start in (nbytes, *starts)):
        raise ValueError("load_blocks needs dense buffers whose blocks begin at whole words of 8 bytes.")
    held = [(span.data_ptr(), len(span)) for span in spans]
    table = torch.tensor([(_address(block, held, planes * nbytes), slot) for block, slot in loads], dtype=torch.int64)
    if store.is_cuda:
        table = table.pin_memory().to(store.device, non_blocking=True)
    head_stride = store.stride(1) * store.element_size() // 8
    load_kernel[(len(loads), planes)](store.view(torch.int64), table, head_stride, nbytes // 8, **launch_config())
    return store
