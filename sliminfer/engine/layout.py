"""Where each row of a batch has its tokens, by the attention mask, and whether its positions are the usual ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import Span


def row_spans(
    mask: Tensor | None, rows: int, tokens: int, seen: int, held: Sequence[int] | None
) -> list[Span]:
    """Columns of each row that hold tokens, those in the cache included, half-open; the others are padding.

    Args:
        mask: ones for tokens, zeros for padding [rows, seen + tokens], or None for all ones.
        tokens: columns of this call.
        seen: columns of earlier calls.
        held: for each row, the column of its first token in the cache, where one goes on.

    Raises:
        ConfigError: the mask has another form, or says something else of a row than padding at its ends.
    """
    width = seen + tokens
    if mask is None:
        starts = [0] * rows if held is None else held
        return [(start, width) for start in starts]
    if not isinstance(mask, Tensor) or mask.dim() != 2 or mask.shape[0] != rows or mask.shape[1] != width:
        shape = "of several masks" if not isinstance(mask, Tensor) else str(list(mask.shape))
        raise ConfigError(
            f"The attention mask {shape} does not fit {rows} by {width} tokens, those in the cache included: give "
            "one of that shape, ones for tokens and zeros for padding, or none."
        )
    spans = []
    for row, seen_tokens in enumerate(mask.bool().cpu()):
        columns = seen_tokens.nonzero()[:, 0]
        if not len(columns):
            raise ConfigError(f"Row {row} of the batch is nothing but padding: leave it out.")
        start, end = int(columns[0]), int(columns[-1]) + 1
        if end - start != len(columns) or (seen and end < width):
            raise ConfigError(
                f"Row {row} has padding between its tokens (generate takes the padding token's id for padding where no "
                "mask is given): pad at the left, and pass attention_mask with ones for all tokens of the prompt."
            )
        if held is not None and start != held[row]:
            raise ConfigError(f"Row {row} of the batch begins elsewhere than in the cache: pass the same padding.")
        spans.append((start, end))
    if held is None and seen and any(start for start, _ in spans):
        raise ConfigError("The cache holds tokens that the attention mask leaves out: start from an empty cache.")
    return spans


def check_positions(position_ids: Tensor | None, spans: Sequence[Span], tokens: int, seen: int) -> None:
    """Raise ConfigError where `position_ids` [rows or 1, tokens] are not those that follow from the rows' tokens.

    They count each row's tokens from 0, or its columns, padding included.
    """
    if position_ids is None:
        return
    given = position_ids.cpu()
    fits = given.dim() == 2 and given.shape[1] == tokens and given.shape[0] in (1, len(spans))
    columns = torch.arange(seen, seen + tokens)
    for row, (start, end) in enumerate(spans):
        if not fits:
            break
        mine = given[row if given.shape[0] > 1 else 0]
        inside = (columns >= start) & (columns < end)
        fits = torch.equal(mine[inside], columns[inside] - start) or torch.equal(mine[inside], columns[inside])
    if not fits:
        raise ConfigError(
            f"position_ids other than {seen}, {seen + 1}, ... for a row's tokens cannot be followed by a pruned model: "
            "leave them out."
        )
