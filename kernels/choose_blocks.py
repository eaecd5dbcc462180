"""Choosing the blocks of a prune step in one launch: two layers, neighbours, earlier steps, the best within a budget.

One program holds all blocks. The lowest score that is kept is found bit by bit, 31 counts, as scores are never negative
and floats of one sign order as integers do; of the blocks at that very score the lower go on.
"""

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

# One program's registers hold no more: 128K tokens in blocks of 32.
MOST_BLOCKS = 4096


@triton.jit
def reach(first_ptr, second_ptr, marks_ptr, block, blocks):
    """What `block` lends its neighbours: the better layer's score, 0 where it is forced or there is none."""
    inside = (block >= 0) & (block < blocks)
    score = tl.maximum(
        tl.load(first_ptr + block, mask=inside, other=0.0), tl.load(second_ptr + block, mask=inside, other=0.0)
    )
    return tl.where(tl.load(marks_ptr + block, mask=inside, other=1) == 1, 0.0, score)


@triton.jit(do_not_specialize=["alive", "blocks", "budget", "tokens"])
def choose_kernel(
    first_ptr,
    second_ptr,
    best_ptr,
    alive_ptr,
    marks_ptr,
    new_best_ptr,
    scores_ptr,
    kept_ptr,
    positions_ptr,
    lowest_ptr,
    alive,
    blocks,
    budget,
    tokens,
    carry,
    ahead,
    behind,
    SIZE: tl.constexpr,
    NEAR: tl.constexpr,
    COUNT: tl.constexpr,
):
    index = tl.arange(0, COUNT)
    here = index < alive
    tl.store(scores_ptr + index, tl.full((COUNT,), float("nan"), tl.float32), mask=index < blocks)
    tl.debug_barrier()
    block = tl.load(alive_ptr + index, mask=here, other=0).to(tl.int32)
    mark = tl.load(marks_ptr + block, mask=here, other=0)
    found = tl.maximum(
        tl.load(first_ptr + block, mask=here, other=0.0), tl.load(second_ptr + block, mask=here, other=0.0)
    )
    found = tl.maximum(found, carry * tl.load(best_ptr + block, mask=here, other=0.0))
    after = 1.0
    before = 1.0
    for _ in range(NEAR):
        after = after * ahead
        before = before * behind
        step = _ + 1
        found = tl.maximum(found, after * reach(first_ptr, second_ptr, marks_ptr, block - step, blocks))
        found = tl.maximum(found, before * reach(first_ptr, second_ptr, marks_ptr, block + step, blocks))
    tl.store(new_best_ptr + block, found, mask=here)
    tl.store(scores_ptr + block, found, mask=here)

    # Forced blocks first, those that are to go last, nothing at all behind the last block.
    key = found.to(tl.int32, bitcast=True) + 2
    key = tl.where(mark == 1, 0x7F800002, tl.where(mark == 2, 1, key))
    key = tl.where(here, key, 0)
    lowest = 0
    for bit in range(31):
        raised = lowest | (1 << (30 - bit))
        enough = tl.sum((key >= raised).to(tl.int32), axis=0) >= budget
        lowest = tl.where(enough, raised, lowest)
    above = (key > lowest).to(tl.int32)
    level = (key == lowest).to(tl.int32)
    room = budget - tl.sum(above, axis=0)
    kept = (above == 1) | ((level == 1) & (tl.cumsum(level, axis=0) <= room))
    place = tl.cumsum(kept.to(tl.int32), axis=0) - 1
    tl.store(kept_ptr + place, block.to(tl.int64), mask=kept)
    for offset in range(SIZE):
        position = block * SIZE + offset
        tl.store(positions_ptr + place * SIZE + offset, position.to(tl.int64), mask=kept & (position < tokens))
    tl.store(lowest_ptr, (lowest - 2).to(tl.float32, bitcast=True))


@cache
def launch_config(blocks: int, size: int, near: int) -> dict[str, int]:
    """Tile and warps: all blocks in one program, eight a thread."""
    count = max(16, triton.next_power_of_2(blocks))
    return {
        "SIZE": size,
        "NEAR": near,
        "COUNT": count,
        "num_warps": min(32, max(4, count // 256)),
        "num_stages": 1,
    }


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
    """`reference.choose_blocks` on the device of `first`."""
    blocks = len(first)
    if blocks > MOST_BLOCKS:
        raise ValueError(f"choose_blocks takes {MOST_BLOCKS} blocks at most.")
    kept = torch.empty(budget, dtype=torch.int64, device=first.device)
    positions = torch.empty(budget * size - (blocks * size - tokens), dtype=torch.int64, device=first.device)
    new_best, scores = torch.empty_like(first), torch.empty_like(first)
    lowest = torch.empty((), device=first.device)
    config = launch_config(blocks, size, 15 if ahead or behind else 0)
    choose_kernel[(1,)](
        first, second, best, alive, marks, new_best, scores, kept, positions, lowest,
        len(alive), blocks, budget, tokens, carry, ahead, behind, **config,
    )  # fmt: skip
    return kept, positions, scores, new_best, lowest
