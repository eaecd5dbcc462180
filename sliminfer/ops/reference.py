"""Plain-torch definitions of every kernel: what runs on a CPU, and the oracle of the Triton kernels.

Each function has the signature of the kernel of the same name in `kernels/`. On a CPU these are the
fast path too: row-wise steps run in chunks that stay in cache, because a fresh buffer of prompt size costs
more in page faults than in arithmetic, and no step repeats keys per query head.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.ops.softmax import PLAIN, Softmax, softmax_beside
from sliminfer.schedule.config import Aggregate

# RMSNorm of 2048 x 896 bf16 on one core: 10.7 ms whole, 3.1 ms in chunks of 2^20 elements, 2.9 ms of 2^18;
# of 8192 rows 46, 13.8 and 11.6 ms. On two cores every operation is a barrier between threads, and 2^19 takes what
# 2^20 takes, but 0.93 of a whole prefill where 2^20 is the whole prompt: the demo model's 2,048 tokens.
_CHUNK_ELEMENTS = 1 << 19
# Scores are held for this many (query, unit) pairs at once: 16 MB in fp32.
_SCORE_ELEMENTS = 1 << 22


def _chunk_rows(columns: int) -> int:
    return max(1, _CHUNK_ELEMENTS // columns)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm over the last dimension, `weight * x / sqrt(mean(x^2) + eps)`.

    Computed in fp32, rounded to the type of `x` before the weight is applied: the order of the Llama family,
    so that the result has the same bits.

    Args:
        x: `[..., columns]`, floating point.
        weight: `[columns]`, same type.

    Returns:
        A new contiguous tensor shaped like `x`.
    """
    if x.numel() <= _CHUNK_ELEMENTS:
        return weight * _unit_variance(x, eps)
    columns = x.shape[-1]
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rows = _chunk_rows(columns)
    for source, target in zip(x.reshape(-1, columns).split(rows), out.view(-1, columns).split(rows)):
        torch.mul(weight, _unit_variance(source, eps), out=target)
    return out


def _unit_variance(x: Tensor, eps: float) -> Tensor:
    wide = x.to(torch.float32, copy=True)
    variance = wide.square().mean(-1, keepdim=True)
    return wide.mul_(variance.add_(eps).rsqrt_()).to(x.dtype)


def rms_norm_residual(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Adds the residual into `x`, then RMSNorm: the step between attention and MLP of a decoder layer.

    Args:
        x: `[..., columns]` contiguous, overwritten by `x + residual`.
        residual: like `x`.
        weight: `[columns]`.

    Returns:
        `(normed, x)`: a new tensor, and `x` which now holds the new residual.
    """
    x.add_(residual)
    return rms_norm(x, weight, eps), x


def apply_rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotates queries and keys in place by their positions (RoPE, half-split form of arXiv 2104.09864).

    Args:
        query: `[tokens, q_heads, head_dim]`, any strides with a dense last dimension; overwritten.
        key: `[tokens, kv_heads, head_dim]`, likewise.
        cos: `[tokens, rotary_dim]`, `rotary_dim <= head_dim`; dimensions beyond it pass through.
        sin: like `cos`.

    Returns:
        `(query, key)`, the same tensors.
    """
    width = cos.shape[-1]
    cos, (sin_low, sin_high) = cos[:, None], sin[:, None].chunk(2, -1)
    for x in (query, key):
        turned = x if x.shape[-1] == width else x[..., :width]
        if x.numel() <= _CHUNK_ELEMENTS:
            _rotate(turned, cos, sin_low, sin_high)
            continue
        rows = _chunk_rows(x.shape[1] * x.shape[2])
        for parts in zip(turned.split(rows), cos.split(rows), sin_low.split(rows), sin_high.split(rows)):
            _rotate(*parts)
    return query, key


def _rotate(x: Tensor, cos: Tensor, sin_low: Tensor, sin_high: Tensor) -> None:
    low, high = x.chunk(2, -1)
    from_high = high * sin_low
    from_low = low * sin_high
    x.mul_(cos)
    low.sub_(from_high)
    high.add_(from_low)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """`silu(gate) * up` (SwiGLU, arXiv 2002.05202), written into `gate`.

    Args:
        gate: `[rows, columns]` with a dense last dimension, overwritten.
        up: `[rows, columns]`.

    Returns:
        `gate`.
    """
    # 2,048 x 4,864 in bf16 on two cores of a Xeon: 7.4 ms whole, 4.5 in chunks.
    rows = _chunk_rows(gate.shape[-1])
    for some, partner in zip(gate.split(rows), up.split(rows)):
        F.silu(some, inplace=True).mul_(partner)
    return gate


def unit_keys(keys: Tensor, unit_size: int) -> Tensor:
    """Representative key of each unit of `unit_size` consecutive tokens: the mean of its keys.

    Args:
        keys: `[kv_heads, tokens, head_dim]`.
        unit_size: tokens per unit; the last unit may hold fewer and is divided by its real count.

    Returns:
        `[kv_heads, ceil(tokens / unit_size), head_dim]` in the type of `keys`, summed in fp32.
    """
    heads, tokens, head_dim = keys.shape
    whole = tokens // unit_size
    units = -(-tokens // unit_size)
    out = torch.empty(heads, units, head_dim, dtype=keys.dtype, device=keys.device)
    if whole:
        grouped = keys[:, : whole * unit_size].unflatten(1, (whole, unit_size))
        out[:, :whole] = grouped.mean(2, dtype=torch.float32)
    if units > whole:
        out[:, whole] = keys[:, whole * unit_size :].mean(1, dtype=torch.float32)
    return out


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
    """Importance of each block to the local queries: the attention its units would receive.

    Softmax in fp32 of `scale * query . key` over the units a query may see, the maximum or the mean of that over
    queries and query heads, then the maximum over the block's units. Query heads share the keys of their group;
    keys are never repeated. A query that sees no unit, or whose logits are not finite, contributes nothing.

    Args:
        queries: `[q_heads, window, head_dim]`, after RoPE.
        keys: `[kv_heads, units, head_dim]`, one representative key per unit, ascending by position.
        unit_to_block: `[units]` int64, the row of the result that each unit belongs to.
        blocks: length of the result.
        unit_size: tokens per unit, the last one may hold fewer.
        tokens: in prefill, the number of tokens the units hold; the queries are then those of the last
            `window` tokens, and none sees a unit that reaches past its own position. None in decode, where
            the queries come after all units.
        softmax: how the layer turns scores into attention.

    Returns:
        `[blocks]` fp32 in [0, 1]; 0 for a block without units.
    """
    q_heads, window, head_dim = queries.shape
    kv_heads, units, _ = keys.shape
    packed = queries.reshape(kv_heads, -1, head_dim)
    hidden = _hidden(q_heads // kv_heads, window, units, unit_size, tokens, keys.device)
    sinks = softmax.packed(kv_heads, window)
    rows = max(1, _SCORE_ELEMENTS // max(units, 1))
    heads = max(1, _SCORE_ELEMENTS // (max(units, 1) * max(head_dim, min(rows, packed.shape[1]))))

    per_unit = torch.zeros(units, device=keys.device)
    first = 0
    for some, shared in zip(packed.split(heads), keys.split(heads), strict=True):
        beside = None if sinks is None else sinks[first : first + len(some)]
        first += len(some)
        wide_keys = shared.float().mT
        for start in range(0, packed.shape[1], rows):
            logits = softmax.capped(torch.matmul(some[:, start : start + rows].float() * scale, wide_keys))
            if hidden is not None:
                logits[..., units - hidden.shape[1] :].masked_fill_(hidden[start : start + rows], -torch.inf)
            # A row is NaN throughout where its query sees nothing, or where a logit is infinite or NaN.
            share = softmax_beside(logits, None if beside is None else beside[:, start : start + rows]).nan_to_num_(0.0)
            if aggregate == "max":
                torch.maximum(per_unit, share.amax((0, 1)), out=per_unit)
            else:
                per_unit.add_(share.sum((0, 1)))

    if aggregate == "mean":
        per_unit.div_(q_heads * window)
    return torch.zeros(blocks, device=keys.device).scatter_reduce_(0, unit_to_block, per_unit, "amax")


def _hidden(
    group: int, window: int, units: int, unit_size: int, tokens: int | None, device: torch.device
) -> Tensor | None:
    """Which of the last units lie behind each query of a group, bool `[group * window, late]`; None in decode."""
    if tokens is None:
        return None
    # Of the last `window` units at most, a unit is hidden where its last token lies behind the query.
    late = min(units, -(-window // unit_size))
    last_token = (torch.arange(units - late + 1, units + 1, device=device) * unit_size).clamp_(max=tokens) - 1
    return (last_token > torch.arange(tokens - window, tokens, device=device)[:, None]).repeat(group, 1)


# In this order they carry a score fifteen blocks far on either side, each block's share being that of its distance.
_STRIDES = (1, 2, 4, 8)
# What `choose_blocks` is told of a block: it is kept whatever its score, or it goes last.
FORCED, LAST = 1, 2


def spread(scores: Tensor, ahead: float, behind: float) -> Tensor:
    """The best of each block's score and what blocks up to fifteen away lend it, fp32 `[blocks]`, none negative.

    A block lends those that come after it `ahead`, and those before it `behind`, to the power of their distance.
    """
    if not ahead and not behind:
        return scores
    for stride in _STRIDES:
        if stride < len(scores):
            after = F.pad(scores * ahead**stride, (stride, -stride))
            before = F.pad(scores * behind**stride, (-stride, stride))
            scores = torch.maximum(scores, torch.maximum(after, before))
    return scores


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
    """A prune step's choice among blocks from their scores by two layers.

    A block counts as the better of the two, as what its neighbours lend it (`spread`; those kept by force lend nothing)
    or as `carry` of its `best` so far.

    Args:
        first, second: fp32 `[blocks]`, finite, not negative, 0 for blocks that are gone.
        best: what the step before left, fp32 `[blocks]`.
        alive: ascending ids of the blocks that are not gone, int64 `[alive]`, the prompt's last block among them.
        marks: `FORCED`, `LAST` or 0, int32 `[blocks]`; the last block is forced.
        budget: blocks to keep; ties go to the lower block.
        size, tokens: of a block, and of the prompt, whose last block may be partial.

    Returns:
        Ascending ids of the blocks kept, int64 `[budget]`; the positions in them, int64; what each block counts as,
        fp32 `[blocks]`, NaN for those that were gone; the next step's `best`, whose values for blocks that are gone
        mean nothing; and the lowest value kept, infinite where forced blocks alone are, fp32 scalar.
    """
    found = torch.maximum(first, second)
    near = spread(found.masked_fill(marks == FORCED, 0.0), ahead, behind)
    now = torch.maximum(torch.maximum(found, near), carry * best)
    scores = torch.full_like(now, torch.nan).index_copy_(0, alive, now[alive])
    marked = marks[alive]
    ranked = now[alive].masked_fill(marked == LAST, -torch.inf).masked_fill_(marked == FORCED, torch.inf)
    order = torch.sort(ranked, descending=True, stable=True)
    kept = alive[order.indices[:budget].sort().values]
    positions = (kept[:, None] * size + torch.arange(size, device=kept.device)).flatten()
    missing = len(first) * size - tokens
    return kept, positions[: len(positions) - missing], scores, now, order.values[budget - 1]


def take_rows(hidden: Tensor, cos: Tensor, sin: Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows at `index` of each, int64 `[k]`.

    Args:
        hidden, cos, sin: `[1, n, columns]`, each of its own width, the tables of one.
    """
    return hidden.index_select(1, index), cos.index_select(1, index), sin.index_select(1, index)


def load_blocks(store: Tensor, spans: Sequence[Tensor], loads: Sequence[tuple[int, int]]) -> Tensor:
    """Copy blocks of a layer's keys and values from the host into slots of its buffer; the host does not wait.

    Args:
        store: the buffer `[2, kv_heads, room, head_dim]`; slot s begins at token s * block_size.
        spans: blocks on the host, in order over all spans, `[blocks, 2, kv_heads, block_size, head_dim]` each.
        loads: (block, slot) each, no slot twice.

    Returns:
        The buffer.
    """
    size = spans[0].shape[3]
    for block, slot in loads:
        for span in spans:
            if block < len(span):
                store[:, :, slot * size : (slot + 1) * size].copy_(span[block], non_blocking=True)
                break
            block -= len(span)
    return store


def decode_attention(query: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Attention of one decoded token over everything resident: block slots in any order, then the tail.

    Args:
        query: `[q_heads, head_dim]`, after RoPE.
        keys, values: `[kv_heads, tokens, head_dim]` with at least one token, any strides.

    Returns:
        `[q_heads, head_dim]` in the type of `query`, softmax in fp32.
    """
    kv_heads = keys.shape[0]
    # The query heads of a group stand in for query positions, so that keys are not repeated.
    packed = query.reshape(1, kv_heads, -1, query.shape[-1])
    out = F.scaled_dot_product_attention(packed, keys[None], values[None], scale=scale)
    return out.reshape(query.shape)


# What a layer's row of the table holds: the address of its buffer, tokens that have room there, tokens held.
ADDRESS, ROOM, HELD = range(3)


def append_rotated(
    query: Tensor, key: Tensor, value: Tensor, cos: Tensor, sin: Tensor, store: Tensor, row: Tensor
) -> Tensor:
    """Rotates one token's queries and key as `apply_rope`, and puts its key and value behind what a buffer holds.

    Args:
        query: `[q_heads, head_dim]`, overwritten.
        key, value: `[kv_heads, head_dim]`; the key may be overwritten.
        cos, sin: `[rotary_dim]`.
        store: the buffer `[2, kv_heads, room, head_dim]`, dense, with room for the token.
        row: its row of the table, int64 `[4]`, see `ADDRESS`, `ROOM` and `HELD`; read where the tensors are.

    Returns:
        `query`.
    """
    apply_rope(query[None], key[None], cos[None], sin[None])
    place = row[HELD : HELD + 1]
    store[0].index_copy_(1, place, key[:, None])
    store[1].index_copy_(1, place, value[:, None])
    return query


def attend_row(query: Tensor, store: Tensor, row: Tensor, scale: float) -> Tensor:
    """`decode_attention` over what a buffer holds and the token that `append_rotated` has put behind it.

    Args:
        query: `[q_heads, head_dim]`, after RoPE.
        store, row: as in `append_rotated`.
    """
    keys, values = store[:, :, : int(row[HELD]) + 1]
    return decode_attention(query, keys, values, scale)
