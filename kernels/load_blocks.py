"""Blocks of KV from page-locked host memory into slots of the layers' buffers, all layers of a stage in one launch.

The device reads the host's memory where it lies, over a table of addresses. A copy and a scatter of torch's for each
block of each layer take the host 30 us, 48 ms for the 1,634 of one exchange on an 8B model; a launch for each of its 29
layers still took 8.5 ms with their planning. Few programs read, so that the kernels of the step that runs beside them
keep their multiprocessors: a link of 64 GB/s and a latency of 2 us needs 128 KB under way, and 32 programs have 1 MB.
"""

from collections.abc import Sequence
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

_PROGRAMS = 32
_WORD = 8  # bytes


@triton.jit(do_not_specialize=["pairs"])
def load_kernel(table_ptr, pairs, rows, columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Copies `rows` rows of `columns` words for each column of the table: from, to, and the stride of the target."""
    for pair in range(tl.program_id(0), pairs, tl.num_programs(0)):
        # Rows begin at whole 16 bytes: said here, as numbers from memory say nothing.
        source = tl.multiple_of(tl.load(table_ptr + pair).to(tl.pointer_type(tl.int64)), 16)
        target = tl.multiple_of(tl.load(table_ptr + pairs + pair).to(tl.pointer_type(tl.int64)), 16)
        stride = tl.multiple_of(tl.load(table_ptr + 2 * pairs + pair), 2)
        for first in range(0, rows, ROWS):
            row = (first + tl.arange(0, ROWS)).to(tl.int64)[:, None]
            for start in range(0, columns, COLUMNS):
                column = start + tl.arange(0, COLUMNS)[None, :]
                inside = (row < rows) & (column < columns)
                words = tl.load(source + row * columns + column, mask=inside)
                tl.store(target + row * stride + column, words, mask=inside)


@cache
def launch_config(columns: int) -> dict[str, int]:
    """Tiles of 32 KB: 16 words a thread on their way at once."""
    width = min(1024, triton.next_power_of_2(columns))
    return {"ROWS": 4096 // width, "COLUMNS": width, "num_warps": 8, "num_stages": 1}


def load_blocks(
    store: Tensor,
    others: Sequence[Tensor],
    hosts: Sequence[Sequence[Tensor]],
    addresses: Sequence[Tensor],
    loads: Sequence[tuple[int, int]],
) -> None:
    """`reference.load_blocks`, by the `addresses` of all blocks of each layer, int64 [blocks] on the host."""
    stores = (store, *others)
    _, heads, _, width = store.shape
    token = width * store.element_size()
    if token % 16 or not all(each.is_contiguous() for each in stores):
        raise ValueError("load_blocks takes dense buffers whose rows are multiples of 16 bytes.")
    row = hosts[0][0].shape[2] * token
    blocks, slots = torch.tensor(loads).T
    table = torch.empty(3, len(stores), len(loads), dtype=torch.int64, pin_memory=store.is_cuda)
    table[0] = torch.stack([each[blocks] for each in addresses])
    table[1] = torch.tensor([each.data_ptr() for each in stores])[:, None] + slots * row
    table[2] = torch.tensor([each.shape[2] * token // _WORD for each in stores])[:, None]
    columns = row // _WORD
    load_kernel[(_PROGRAMS,)](
        table.to(store.device, non_blocking=True), table[0].numel(), 2 * heads, columns, **launch_config(columns)
    )
