"""Attention masks and positions of a batch: what they say of each row, or why they cannot be followed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sliminfer.engine.layout import check_positions, row_spans
from sliminfer.errors import ConfigError

MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def test_padding_at_either_end_is_told_from_tokens() -> None:
    assert row_spans(MASK, 3, 5, 0, None) == [(2, 5), (0, 5), (0, 3)]
    assert row_spans(MASK.bool(), 3, 5, 0, None) == row_spans(MASK.float(), 3, 5, 0, None)
    assert row_spans(None, 2, 5, 0, None) == [(0, 5), (0, 5)]
    assert row_spans(None, 2, 1, 5, [2, 0]) == [(2, 6), (0, 6)]
    assert row_spans(torch.ones(1, 6), 1, 1, 5, None) == [(0, 6)]


@pytest.mark.parametrize(
    ("mask", "tokens", "seen", "held", "words"),
    [
        ({"full_attention": None}, 5, 0, None, "of several masks does not fit 3 by 5 tokens"),
        (torch.ones(3, 1, 5, 5), 5, 0, None, r"\[3, 1, 5, 5\] does not fit"),
        (MASK[:2], 5, 0, None, "does not fit"),
        (MASK[:, :1], 1, 4, None, "does not fit 3 by 5 tokens, those in the cache included"),
        (torch.tensor([[1, 0, 1, 1, 1]] * 3), 5, 0, None, "Row 0 has padding between its tokens"),
        (torch.tensor([[1] * 5, [0] * 5, [1] * 5]), 5, 0, None, "Row 1 of the batch is nothing but padding"),
        (MASK, 1, 4, [2, 0, 0], "Row 2 has padding between"),
        (MASK[:, [1, 0, 2, 3, 4]].index_fill(1, torch.tensor([3, 4]), 1), 1, 4, [1, 0, 0], "begins elsewhere"),
        (torch.tensor([[0, 1, 1, 1, 1]] * 3), 1, 4, None, "leaves out: start from an empty cache"),
    ],
)
def test_a_mask_that_says_anything_else_is_refused(
    mask: Any, tokens: int, seen: int, held: list[int] | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        row_spans(mask, 3, tokens, seen, held)


def test_positions_may_count_tokens_or_columns() -> None:
    spans = row_spans(MASK, 3, 5, 0, None)
    check_positions(None, spans, 5, 0)
    check_positions(torch.arange(5)[None], spans, 5, 0)
    check_positions(torch.tensor([[1, 1, 0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]), spans, 5, 0)
    check_positions(torch.tensor([[5]]), [(0, 6)], 1, 5)


@pytest.mark.parametrize(
    "positions",
    [
        torch.tensor([[0, 1, 2, 3, 5]]),
        torch.arange(5),
        torch.arange(4)[None],
        torch.arange(10).view(2, 5),
        torch.tensor([[1, 1, 1, 2, 3], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]),
    ],
)
def test_other_positions_are_refused(positions: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="leave them out"):
        check_positions(positions, row_spans(MASK, 3, 5, 0, None), 5, 0)
