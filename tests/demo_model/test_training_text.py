"""Training rows are exactly what the tokenizer makes of their text, and mark what can be known."""

from random import Random

import numpy as np
import pytest
from tokenizers import Tokenizer

from sliminfer.demo_model.batches import Request, Rows
from sliminfer.demo_model.corpus import Corpus, tokenise
from sliminfer.demo_model.encoding import WordEncoder
from sliminfer.demo_model.rows import Kind, RowBuilder
from sliminfer.demo_model.tokenizer import BOS, EOS, PAD, train_tokenizer
from sliminfer.tasks.facts import ATTRIBUTES, random_fact
from tests.tasks.text import written_text

TOKENIZER: Tokenizer = train_tokenizer(iter(written_text(3000, seed).split("\n")[0] for seed in range(40)), 400)
CORPUS: Corpus = tokenise([written_text(30_000)], TOKENIZER)


def test_the_corpus_is_the_whole_text() -> None:
    assert TOKENIZER.decode(CORPUS.tokens[:-1].tolist()) == written_text(30_000)
    assert CORPUS.tokens[-1] == EOS


def test_sentences_end_before_every_boundary() -> None:
    for boundary in CORPUS.boundaries[:200]:
        before = TOKENIZER.decode(CORPUS.tokens[boundary - 8 : boundary].tolist())
        after = TOKENIZER.decode(CORPUS.tokens[boundary : boundary + 2].tolist())
        assert before[-1] in ".!?"
        assert after[0] in " \n"


def test_words_encode_as_the_whole_text_does() -> None:
    encoder = WordEncoder(TOKENIZER)
    rng = Random(0)
    for attribute in ATTRIBUTES:
        fact = random_fact(rng, "train", attribute)
        text = f" {fact.statement(rng, 'train')}\n\nQuestion: {fact.question(rng, 'train')}\nAnswer: {fact.value}."
        assert encoder.encode(text) == TOKENIZER.encode(text).ids


@pytest.mark.parametrize("length", [256, 1024])
def test_a_row_is_tokenised_as_its_text_is(length: int) -> None:
    builder = RowBuilder(CORPUS, WordEncoder(TOKENIZER))
    for seed in range(40):
        row = builder.build(Random(seed), length, dense=0.0)
        assert len(row.ids) == len(row.kinds) == length + 1
        assert row.ids[0] == BOS
        ids = row.ids[row.ids != PAD][1:].tolist()
        # A row may be cut off inside its last question: what comes before is exact.
        again = TOKENIZER.encode(TOKENIZER.decode(ids, skip_special_tokens=False)).ids
        assert again[: len(ids) - 4] == ids[:-4]


def test_answers_end_with_the_end_mark_and_stand_in_the_document() -> None:
    builder = RowBuilder(CORPUS, WordEncoder(TOKENIZER))
    for seed in range(20):
        row = builder.build(Random(seed), 1024, dense=0.0)
        answers = row.kinds == Kind.ANSWER
        assert np.all(row.ids[answers] != PAD)
        starts = np.flatnonzero(answers[1:] & ~answers[:-1]) + 1
        text = TOKENIZER.decode(row.ids.tolist())
        for start in starts[:-1]:
            end = start + int(np.argmin(answers[start:]))
            assert row.ids[end - 1] == EOS
            answer = TOKENIZER.decode(row.ids[start : end - 1].tolist()).strip().removesuffix(".")
            for value in answer.split(", "):
                assert text.count(value) >= 2


def test_dense_copies_repeat_what_came_before() -> None:
    builder = RowBuilder(CORPUS, WordEncoder(TOKENIZER))
    for seed in range(20):
        row = builder.build(Random(seed), 128, dense=1.0)
        copied = row.kinds == Kind.COPY
        assert copied.mean() > 0.2
        pairs = {tuple(row.ids[i : i + 2]) for i in range(1, 128) if not copied[i + 1]}
        # Every known token continues a pair that an earlier span or the passage held.
        known = [tuple(row.ids[i - 1 : i + 1]) in pairs for i in np.flatnonzero(copied)]
        assert np.mean(known) > 0.9


def test_a_request_decides_its_batch_wholly() -> None:
    rows = Rows(CORPUS, TOKENIZER, 1024)
    first, again = (rows[Request(256, 0.2, True, "5 17")] for _ in range(2))
    other = rows[Request(256, 0.2, True, "5 18")]
    assert first.inputs.equal(again.inputs)
    assert first.places.equal(again.places)
    assert first.kept[0].equal(again.kept[0])
    assert not first.inputs.equal(other.inputs)


def test_chosen_places_prefer_answers_and_copies_to_prose() -> None:
    batch = Rows(CORPUS, TOKENIZER, 2048)[Request(512, 0.1, False, "0 0")]
    assert batch.inputs.shape == (4, 512)
    assert len(batch.places) == 1024
    flat = batch.inputs.reshape(-1)
    inside = (batch.places + 1) % 512 != 0
    assert flat[batch.places[inside] + 1].equal(batch.targets[inside])
    assert (batch.kinds == Kind.ANSWER).any()
