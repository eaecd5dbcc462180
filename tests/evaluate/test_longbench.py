"""LongBench and JSON-lines files: prompts, truncation in the middle, missing and broken files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.errors import SlimError
from sliminfer.evaluate.catalogue import Sources, find_suites
from sliminfer.tasks.longbench import LongBench2Suite, LongBenchSuite
from sliminfer.tasks.longbench_tasks import TASKS
from sliminfer.tasks.middle import cut_middle
from tests.tiny import tiny_tokenizer

ROW = {"input": "Who lit the lamp?", "context": "The keeper lit it.\n", "answers": ["the keeper"], "all_classes": None}
V2 = {
    "context": "The keeper lit it.", "question": "Who?", "answer": "B",
    "choice_A": "nobody", "choice_B": "the keeper", "choice_C": "rain", "choice_D": "wind",
}  # fmt: skip


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def prompt_text(item: Any) -> str:
    tokenizer = tiny_tokenizer()
    return str(tokenizer.decode(item.prompt(tokenizer).ids))


def test_the_prompt_of_a_chat_task(tmp_path: Path) -> None:
    write(tmp_path / "longbench" / "hotpotqa.jsonl", ROW)
    item = LongBenchSuite("hotpotqa", tmp_path, tiny_tokenizer()).item(2048, 0)
    assert prompt_text(item) == (
        "<bos>Several passages follow, and then a question about them.\n\nThe keeper lit it.\n\n\n"
        "Answer in as few words as possible and write nothing else.\n\nQuestion: Who lit the lamp?\nAnswer:\nAnswer:"
    )
    assert item.max_new_tokens == 32
    assert item.score("It was the keeper") == pytest.approx(2 / 4)  # "the" does not count


def test_the_prompt_of_a_task_without_chat_keeps_every_line_end(tmp_path: Path) -> None:
    write(tmp_path / "longbench" / "lcc.jsonl", ROW | {"input": "", "context": "def f():\n"})
    item = LongBenchSuite("lcc", tmp_path, tiny_tokenizer()).item(2048, 0)
    assert prompt_text(item) == "<bos>Continue this code.\ndef f():\nNext line:\n"


def test_the_benchmarks_own_prompts_are_used_where_they_lie(tmp_path: Path) -> None:
    write(tmp_path / "longbench" / "qasper.jsonl", ROW)
    (tmp_path / "longbench" / "dataset2prompt.json").write_text(json.dumps({"qasper": "<{context}|{input}>"}))
    assert prompt_text(LongBenchSuite("qasper", tmp_path, tiny_tokenizer()).item(2048, 0)) == (
        "<bos><The keeper lit it.\n|Who lit the lamp?>\nAnswer:"
    )
    (tmp_path / "longbench" / "dataset2prompt.json").write_text(json.dumps({"qasper": "{input}"}))
    with pytest.raises(SlimError, match="has no prompt for qasper"):
        LongBenchSuite("qasper", tmp_path, tiny_tokenizer())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 300), st.integers(1, 60), st.integers(8, 200))
def test_truncation_takes_the_middle_and_keeps_both_ends(words: int, asked: int, limit: int) -> None:
    """The same text as LongBench's own way: decode the first and the last half of the tokens."""
    tokenizer = tiny_tokenizer()
    document = " ".join(f"w{i}" for i in range(words))
    question = "\n" + " ".join(f"q{i}" for i in range(asked))
    ids = tokenizer(document + question, add_special_tokens=False)["input_ids"]
    half = limit // 2
    expected = document + question
    if len(ids) > limit:
        expected = tokenizer.decode(ids[:half]) + tokenizer.decode(ids[len(ids) - half :])
    cut = cut_middle(tokenizer, document, question, limit)
    assert "".join(cut) == expected
    if len(tokenizer(question, add_special_tokens=False)["input_ids"]) < half:
        assert cut[1] == question


def test_a_long_document_fits_with_its_answer(tmp_path: Path) -> None:
    long = ROW | {"context": "The keeper lit the lamp at nine. " * 400}
    for task in TASKS:
        write(tmp_path / "longbench" / f"{task}.jsonl", long | {"all_classes": ["lamp", "keeper"]})
        item = LongBenchSuite(task, tmp_path, tiny_tokenizer()).item(1200, 0)
        tokens = len(item.prompt(tiny_tokenizer())) + item.max_new_tokens
        assert 1100 <= tokens <= 1200, task
        assert 0.0 <= item.score("the keeper") <= 1.0


def test_version_2_asks_for_a_letter(tmp_path: Path) -> None:
    (tmp_path / "longbench-v2.json").write_text(json.dumps([V2]))
    suite = LongBench2Suite(tmp_path, tiny_tokenizer())
    item = suite.item(2048, 0)
    assert "(B) the keeper\n" in item.question
    assert (item.score("The correct answer is (B)."), item.score("The correct answer is (A).")) == (1.0, 0.0)
    assert suite.size(50) == 1


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        ("longbench/qasper", r"longbench/qasper.jsonl is missing: use --download, or unpack data.zip"),
        ("longbench-v2", r"longbench-v2.jsonl is missing: use --download, or put data.json"),
        ("mine.jsonl", r"mine.jsonl is missing: write one record a line"),
    ],
)
def test_a_missing_file_says_what_to_fetch_and_where_to_put_it(tmp_path: Path, suite: str, message: str) -> None:
    with pytest.raises(SlimError, match=message):
        find_suites(suite, Sources(tiny_tokenizer(), data=tmp_path))


@pytest.mark.parametrize("content", ["{broken\n", "[1]\n", '{"document": "x"}\n', "\n"])
def test_broken_files_are_told(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(content)
    with pytest.raises(SlimError, match=r"mine\.jsonl"):
        find_suites(str(path), Sources(tiny_tokenizer()))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("metric", "luck", "metric 'luck'"),
        ("question", 3, "no text as its question"),
        ("document", "  ", "no text as its document"),
        ("answers", [9], "answers that are no list of texts"),
        ("answers", {"a": 1}, "answers that are no list of texts"),
        ("max_new_tokens", "many", "no positive whole number"),
        ("evidence", [[0, 99]], "within its document"),
        ("evidence", [["a", 1]], "within its document"),
    ],
)
def test_a_record_of_the_wrong_kind_is_told_with_its_number(
    tmp_path: Path, field: str, value: object, words: str
) -> None:
    good = {"document": "The lamp was lit.", "question": "When?"}
    path = write(tmp_path / "mine.jsonl", good, good | {field: value})
    with pytest.raises(SlimError, match=f"Record 2 of .*mine.jsonl has .*{words}"):
        find_suites(str(path), Sources(tiny_tokenizer()))


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_bytes(b"\xff\xfe{}")
    with pytest.raises(SlimError, match="save it as UTF-8"):
        find_suites(str(tmp_path / "mine.jsonl"), Sources(tiny_tokenizer()))


def test_own_files_with_and_without_answers(tmp_path: Path) -> None:
    document = "The keeper lit the lamp at nine."
    path = write(
        tmp_path / "mine.jsonl",
        {"document": document, "question": "When?", "answers": ["nine", "9"], "evidence": [[4, 19]]},
        {"document": document, "question": "Who?"},
        {"document": document, "question": "Who?", "answers": "the keeper", "metric": "qa_f1"},
    )
    [suite] = find_suites(str(path), Sources(tiny_tokenizer()))
    items = [suite.item(1024, index) for index in range(3)]
    assert (suite.name, suite.size(10)) == ("mine", 3)
    assert items[0].score("At 9 o'clock") == 1.0
    assert document[slice(*items[0].evidence[0])] == "keeper lit the "
    assert items[1].score("anything") != items[1].score("anything")  # NaN: there is nothing to compare with
    assert items[2].score("keeper") == 1.0
    assert suite.item(110, 0).evidence == ()  # the middle is gone, and with it the places


def test_files_come_from_the_hub_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("data/qasper.jsonl", json.dumps(ROW) + "\n")
    (tmp_path / "data.json").write_text(json.dumps([V2]))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda dataset, name, repo_type: str(tmp_path / name))
    sources = Sources(tiny_tokenizer(), data=tmp_path / "data", download=True)
    suites = find_suites("longbench/qasper,longbench-v2", sources)
    assert [suite.size(9) for suite in suites] == [1, 1]
    assert (tmp_path / "data" / "longbench" / "qasper.jsonl").is_file()
