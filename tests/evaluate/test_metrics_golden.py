"""LongBench's metrics against values worked out by hand, and the rules they follow."""

from __future__ import annotations

import pytest

from sliminfer.tasks import metrics
from sliminfer.tasks.longbench import score
from sliminfer.tasks.longbench_tasks import TASKS


@pytest.mark.parametrize(
    ("reply", "answer", "expected"),
    [
        ("The cat sat.", "a cat sat", 1.0),  # articles, case and punctuation do not count
        ("cat dog", "cat", 2 / 3),  # precision 1/2, recall 1
        ("cat cat dog", "cat dog dog", 2 / 3),  # two shared of three and three
        ("it was blue", "red", 0.0),
        ("", "red", 0.0),
        ("the", "a", 0.0),  # nothing is left to compare
        ("twenty-two", "twentytwo", 1.0),  # punctuation is taken out, not replaced
    ],
)
def test_qa_f1(reply: str, answer: str, expected: float) -> None:
    assert metrics.qa_f1(reply, answer) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reply", "answer", "expected"),
    [
        # Longest common subsequence "the cat on mat": 4 words; of 6 in the reply and 5 in the answer.
        ("the cat lay on a mat", "the cat sat on mat", 2 * (4 / 6) * (4 / 5) / (4 / 6 + 4 / 5)),
        ("mat the on cat", "the cat", 2 * (2 / 4) * (2 / 2) / (2 / 4 + 2 / 2)),
        ("running", "runs", 0.0),  # no stemming
        ("", "runs", 0.0),
    ],
)
def test_rouge_l(reply: str, answer: str, expected: float) -> None:
    assert metrics.rouge_l(reply, answer) == pytest.approx(expected)


def test_classification() -> None:
    classes = ["Date", "Number", "Other number", "City"]
    assert metrics.classification("Date", "Date", classes) == 1.0
    assert metrics.classification("Date or City", "Date", classes) == 0.5
    assert metrics.classification("City", "Date", classes) == 0.0
    # "number" is part of "Other number" only in another case; names are compared as they are written.
    assert metrics.classification("Other number", "Other number", ["number", "Other number"]) == 1.0
    assert metrics.classification("Other number", "number", ["number", "Other number"]) == 0.5


def test_retrieval_and_count() -> None:
    assert metrics.retrieval("Paragraph 12", "Paragraph 12") == 1.0
    assert metrics.retrieval("12 or 13", "Paragraph 12") == 0.5
    assert metrics.retrieval("Paragraph 1", "Paragraph 12") == 0.0
    assert metrics.retrieval("none", "Paragraph 12") == 0.0
    assert metrics.count("There are 7, not 8, no, 7.", "7") == pytest.approx(2 / 3)
    assert metrics.count("seven", "7") == 0.0


def test_code_similarity() -> None:
    assert metrics.code_similarity("\n\n# a comment\n```python\nreturn x\nreturn y", "return x") == 1.0
    # "abcd" and "abcf": three of four characters in common, 2 * 3 / 8.
    assert metrics.code_similarity("abcd", "abcf") == pytest.approx(0.75)
    assert metrics.code_similarity("// nothing", "x") == 0.0


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("The correct answer is (B)", "B"),
        ("**The correct answer is C.**", "C"),
        ("I think the correct answer is: D", "D"),
        ("A", "A"),
        ("(D).", "D"),
        ("A dog is right.", None),
        ("The correct answer is Edinburgh", None),
    ],
)
def test_letters(reply: str, letter: str | None) -> None:
    assert metrics.chosen_letter(reply) == letter


def test_the_best_reference_counts_and_few_shot_replies_end_with_their_line() -> None:
    assert score(TASKS["hotpotqa"], "blue", ("red", "blue")) == 1.0
    assert score(TASKS["triviaqa"], "\nblue\nPassage: red and green", ("blue",)) == 1.0
    assert score(TASKS["narrativeqa"], "blue\nPassage: red and green", ("blue",)) < 1.0
    assert score(TASKS["trec"], "Date\nQuestion: Number", ("Date",), ("Date", "Number")) == 1.0


def test_the_sixteen_tasks_are_those_of_the_paper() -> None:
    kinds = {metric: sorted(n for n, t in TASKS.items() if t.metric == metric) for metric in ("rouge_l", "code")}
    assert len(TASKS) == 16
    assert kinds == {"rouge_l": ["gov_report", "multi_news", "qmsum", "samsum"], "code": ["lcc", "repobench-p"]}
    assert {name for name, task in TASKS.items() if not task.chat} == {
        "trec", "triviaqa", "samsum", "lcc", "repobench-p",
    }  # fmt: skip
    assert all(task.prompt.count("{context}") == 1 for task in TASKS.values())
