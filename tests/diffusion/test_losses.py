"""What the answer attends to and a prune step dropped is named: the sentence, and the layer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.diffusion.losses import losses, sentences
from sliminfer.engine.events import BlocksPruned
from sliminfer.model.prompts import build_prompt
from tests.tiny import tiny_tokenizer

TEXT = "The lamp was lit at nine. The code of the gate is 48213. Rain fell all day.\nNobody came."
PROMPT = build_prompt(tiny_tokenizer(), TEXT, "What is the code?")
LAYERS, TOKENS = 6, len(PROMPT)
FACT = (TEXT.index("The code"), TEXT.index("48213") + 6)
TOUCHED = range(*PROMPT.token_range(*FACT))


def dropping(layer: int, gone: range) -> BlocksPruned:
    kept = np.array([at for at in range(TOKENS) if at not in gone], np.int32)
    return BlocksPruned("pruned", 0.0, layer, TOKENS, kept, 8, None, np.nan, ())


def attention(on: range) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    row = np.full(TOKENS, 1e-4)
    row[list(on)] = 0.02
    return [row] * LAYERS


def test_a_dropped_sentence_that_the_answer_attends_to_is_lost_at_its_step() -> None:
    (lost,) = losses(attention(TOUCHED), [dropping(2, range(3)), dropping(4, TOUCHED)], PROMPT)
    assert lost.layer == 4
    assert lost.sentence == FACT
    assert lost.share > 0.9


def test_what_is_kept_or_not_attended_to_is_no_loss() -> None:
    assert losses(attention(TOUCHED), [dropping(2, range(3))], PROMPT) == ()
    first = range(*PROMPT.token_range(0, TEXT.index("The code")))
    assert losses(attention(first), [dropping(2, TOUCHED)], PROMPT) == ()
    assert losses(attention(TOUCHED), [], PROMPT) == ()


@given(st.text("ab .!?\n", max_size=60))
def test_sentences_hold_all_words_once_and_in_order(text: str) -> None:
    spans = sentences(text)
    assert all(a < b for a, b in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert "".join("".join(text[a:b].split()) for a, b in spans) == "".join(text.split())
