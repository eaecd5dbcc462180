"""Every generated example holds its evidence, is reproducible and has the length asked for."""

import pytest

from sliminfer.tasks import SUITES, Filler, Suite, TaskError, make_example, score
from sliminfer.tasks.names import in_split, invented_name
from tests.tasks.text import words_as_tokens, written_text

FILLER = Filler(written_text(4000), words_as_tokens)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("length", [384, 1024])
def test_the_evidence_holds_every_answer(suite: Suite, length: int) -> None:
    for seed in range(30):
        example = make_example(suite, FILLER, length, seed)
        spans = [example.document[start:end] for start, end in example.evidence]
        assert all(any(answer in span for span in spans) for answer in example.answers)
        assert list(example.evidence) == sorted(example.evidence)


@pytest.mark.parametrize("suite", SUITES)
def test_the_same_seed_gives_the_same_example_and_another_seed_another(suite: Suite) -> None:
    assert make_example(suite, FILLER, 512, 7) == make_example(suite, FILLER, 512, 7)
    assert make_example(suite, FILLER, 512, 7) != make_example(suite, FILLER, 512, 8)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("length", [400, 2000])
def test_the_prompt_fills_the_length_and_no_more(suite: Suite, length: int) -> None:
    for seed in range(20):
        tokens = words_as_tokens([make_example(suite, FILLER, length, seed).prompt])[0]
        assert 0.8 * length <= tokens <= length


@pytest.mark.parametrize("suite", SUITES)
def test_the_target_scores_one_and_an_empty_reply_nothing(suite: Suite) -> None:
    example = make_example(suite, FILLER, 512, 3)
    assert score(example, example.target) == 1.0
    assert score(example, "") == 0.0


def test_depth_places_the_needle() -> None:
    for depth in (0.0, 0.5, 1.0):
        example = make_example("needle", FILLER, 2000, 11, depth=depth)
        assert abs(example.evidence[0][0] / len(example.document) - depth) < 0.06


def test_the_evidence_of_multikey_is_the_only_statement_with_the_answer() -> None:
    for seed in range(30):
        example = make_example("multikey", FILLER, 1024, seed)
        assert len(example.evidence) == 1


def test_the_opening_of_a_quotation_occurs_once() -> None:
    for seed in range(30):
        example = make_example("quote", FILLER, 1024, seed)
        assert example.document.count(example.question.removeprefix("Quote: ")) == 1


def test_the_splits_share_no_invented_name() -> None:
    from random import Random

    heldout = {invented_name(Random(seed), "heldout") for seed in range(500)}
    train = {invented_name(Random(seed), "train") for seed in range(500)}
    assert not heldout & train
    assert all(in_split(name, "heldout") for name in heldout)


def test_a_length_without_room_for_the_facts_is_refused_with_the_least_that_will_do() -> None:
    with pytest.raises(TaskError, match="ask for"):
        make_example("multikey", FILLER, 40, 0)


def test_a_filler_shorter_than_the_length_is_read_again() -> None:
    short = Filler(written_text(60), words_as_tokens)
    example = make_example("needle", short, 1000, 0)
    assert words_as_tokens([example.document])[0] > 800
