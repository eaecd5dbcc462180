"""From scores of blocks to a table of those that are read: by a fixed share, by the best score, or by mass."""

from __future__ import annotations

import torch
from torch import Tensor

from sliminfer.schedule.reading import Grid, SparseReading


def always(grid: Grid, rows: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What may be read and what always is, by the last `rows` blocks of queries, bool [rows, blocks] each.

    Always: sinks, local blocks, and everything by the blocks that ask.
    """
    blocks = torch.arange(len(grid), device=device)
    own = blocks[len(grid) - rows :, None]
    apart = own - blocks
    causal = apart >= 0
    forced = (apart < grid.local) | (blocks < grid.sink) | (own >= grid.dense_from)
    return causal, forced & causal


def by_share(scores: Tensor, grid: Grid, share: float) -> Tensor:
    """Each row's best blocks, as many as `grid.counts(share)` says, what is always read first; ties to the earlier.

    Args:
        scores: fp32 [tables, rows, blocks], of the last `rows` blocks of queries.

    Returns:
        bool [tables, rows, blocks].
    """
    rows = scores.shape[1]
    causal, forced = always(grid, rows, scores.device)
    ranked = scores.masked_fill(forced, float("inf")).masked_fill_(~causal, -float("inf"))
    order = ranked.sort(dim=-1, descending=True, stable=True).indices
    counts = torch.tensor(grid.counts(share)[len(grid) - rows :], device=scores.device)
    chosen = torch.arange(len(grid), device=scores.device) < counts[:, None]
    return torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order, chosen.expand_as(order))


def by_max(scores: Tensor, grid: Grid, threshold: float) -> Tensor:
    """Each row's blocks with at least `threshold` times its best score (FlashPrefill, arXiv 2603.06199)."""
    causal, forced = always(grid, scores.shape[1], scores.device)
    return ((scores >= threshold * scores.amax(-1, keepdim=True)) | forced) & causal


def by_mass(scores: Tensor, grid: Grid, threshold: float) -> Tensor:
    """The fewest of each row's blocks whose scores make up `threshold` of its sum (XAttention, arXiv 2503.16428)."""
    causal, forced = always(grid, scores.shape[1], scores.device)
    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    chosen = before < threshold * ordered.sum(-1, keepdim=True)
    table = torch.zeros_like(order, dtype=torch.bool).scatter_(-1, order, chosen)
    return (table | forced) & causal


# What the adaptive rules take where no threshold is given: enough for sharp heads to read little and flat ones much.
THRESHOLDS = {"max": 0.1, "mass": 0.9}


def choose(scores: Tensor, grid: Grid, reading: SparseReading) -> Tensor:
    """The table of blocks that are read by the rule of `reading`, bool [tables, rows, blocks]."""
    if reading.rule == "share":
        return by_share(scores, grid, reading.share)
    threshold = THRESHOLDS[reading.rule] if reading.threshold is None else reading.threshold
    return (by_max if reading.rule == "max" else by_mass)(scores, grid, threshold)
