"""RULER's thirteen tasks: length, evidence, answers, and what makes each task what it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from sliminfer.errors import SlimError
from sliminfer.evaluate.catalogue import Sources, find_suites
from sliminfer.tasks.items import EvalItem
from sliminfer.tasks.ruler import TASKS
from tests.tasks.text import written_text
from tests.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(written_text(4000), encoding="utf-8")
    return Sources(tiny_tokenizer(), 0, path, longest=8192)


def item(sources: Sources, task: str, context: int = 6000, index: int = 0) -> EvalItem:
    [suite] = find_suites(f"ruler/{task}", sources)
    return suite.item(context, index)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("context", [3000, 8000])
def test_every_task_fills_its_context_and_can_be_answered(sources: Sources, task: str, context: int) -> None:
    made = item(sources, task, context)
    tokens = len(made.prompt(sources.tokenizer)) + made.max_new_tokens
    assert 0.9 * context < tokens <= context
    assert made == item(sources, task, context)
    assert made.document != item(sources, task, context, index=1).document
    assert made.score(f"It says {', '.join(made.answers)}.") == 1.0
    assert made.score("nothing of the kind") == 0.0
    for start, end in made.evidence:
        text = made.document[start:end]
        assert text == text.strip()
        assert any(answer in text for answer in made.answers) or task == "qa_2"


@pytest.mark.parametrize(
    ("task", "needles"),
    [("niah_single_1", 1), ("niah_multikey_1", 1), ("niah_multivalue", 4), ("niah_multiquery", 4), ("vt", 5)],
)
def test_the_evidence_is_what_is_asked_for(sources: Sources, task: str, needles: int) -> None:
    made = item(sources, task)
    assert len(made.evidence) == len(made.answers) == needles
    for answer in made.answers:
        assert made.document.count(answer) >= 1


def test_keys_are_asked_for_without_doubt(sources: Sources) -> None:
    for index in range(5):
        made = item(sources, "niah_multikey_2", index=index)
        key = made.question.removeprefix("What is the special number of ").partition(",")[0]
        assert made.document.count(f" {key} is ") == 1
        assert made.document.count("The special number of ") > 50


def test_partial_answers_count_in_part(sources: Sources) -> None:
    made = item(sources, "niah_multivalue")
    assert made.score(made.answers[0]) == 0.25
    assert item(sources, "qa_1").score("nothing") == 0.0


def test_common_words_are_the_most_common(sources: Sources) -> None:
    made = item(sources, "cwe", 8000)
    counts = Counter(made.document.split()[1::2])
    assert {word for word, _ in counts.most_common(10)} == set(made.answers)
    assert set(counts.values()) - {counts[made.answers[0]]} == {3}
    made = item(sources, "fwe", 8000)
    assert [word for word, _ in Counter(made.document.split()).most_common(4)] == ["....", *made.answers]


def test_two_hops_need_both_articles(sources: Sources) -> None:
    made = item(sources, "qa_2")
    texts = [made.document[start:end] for start, end in made.evidence]
    assert len(texts) == 2
    assert sum(made.answers[0] in text for text in texts) == 1
    entity = made.question.rpartition(" of ")[2].rstrip("?")
    assert any(entity.removeprefix("the ") in text for text in texts)


def test_a_context_without_room_is_told(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(SlimError, match="too few for ruler/niah_single_1"):
        item(sources, "niah_single_1", 200)
    with pytest.raises(SlimError, match="ruler/niah_single_1"):
        find_suites("ruler/nonsense", sources)


def test_all_thirteen_are_asked_for_at_once(sources: Sources) -> None:
    assert [suite.name for suite in find_suites("ruler", sources)] == [f"ruler/{task}" for task in TASKS]
    assert len(TASKS) == 13
