"""Token dropping in training: the upper layers learn to answer while most of the document is gone.

In such a batch every row goes on with the same number of positions, so shapes stay few: its beginning, its
questions and answers, and random blocks of the document, whether they hold the evidence or not. Retrieval then
has to be over before the first drop. Positions keep their rotary angles, as in pruned inference.
"""

import numpy as np
from numpy.typing import NDArray

# The shares of positions kept after the first and the second drop; the questions take up to two fifths of a row.
KEPT_SHARES = (1 / 2, 7 / 16)
_BLOCK = 32
# Tokens before the first answer that hold its question.
_QUESTION = 64


def kept_positions(asked: NDArray[np.bool_], generator: np.random.Generator) -> tuple[NDArray[np.int64], ...]:
    """Positions kept at each drop, ascending and flattened over rows: [rows * length * share] each.

    `asked` [rows, length] marks the positions that predict an answer. The second set is a part of the first.
    """
    rows, length = asked.shape
    blocks = generator.random((rows, -(-length // _BLOCK))).repeat(_BLOCK, axis=1)[:, :length]
    first = np.where(asked.any(1), asked.argmax(1), length) - _QUESTION
    at = np.arange(length)
    # The beginning counts most, then the questions in their order, then the blocks of the document.
    worth = np.where(at >= first[:, None], 2.0 - at / length, blocks)
    worth[:, :_BLOCK] = 3.0
    order = np.argsort(-worth, axis=1, kind="stable")
    return tuple(
        (np.sort(order[:, : int(length * share)], axis=1) + np.arange(rows)[:, None] * length).reshape(-1)
        for share in KEPT_SHARES
    )


def places_among(kept: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `positions` stands in `kept` (ascending), -1 if it was dropped."""
    found = np.minimum(np.searchsorted(kept, positions), len(kept) - 1)
    return np.where(kept[found] == positions, found, -1)
