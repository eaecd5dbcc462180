"""The example documents that ship with the project: readable, of the promised length, and with true answers."""

import json
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from sliminfer.documents import load_document
from sliminfer.tasks.facts import ATTRIBUTES, QUESTIONS, STATEMENTS, capitalise
from sliminfer.tasks.prompt import QUOTE_PREFIX

ROOT = Path(__file__).resolve().parents[2] / "assets"
EXAMPLES = json.loads((ROOT / "examples" / "examples.json").read_text())
TEXTS = {example["file"]: load_document(ROOT / "examples" / example["file"]).text for example in EXAMPLES}
QUESTIONED = [(example["file"], question) for example in EXAMPLES for question in example["questions"]]
FACTS = [(file, question) for file, question in QUESTIONED if not question["question"].startswith(QUOTE_PREFIX)]
QUOTES = [(file, question) for file, question in QUESTIONED if question["question"].startswith(QUOTE_PREFIX)]
LENGTHS = {
    "lighthouse_letter.md": (900, 1_100),
    "expedition_log.md": (3_600, 4_000),
    "maintenance_manual.md": (7_400, 8_192),
    "town_archive.md": (14_000, 16_000),
}


def identifier(pair: tuple[str, dict[str, object]]) -> str:
    return f"{pair[0]}: {pair[1]['question']}"


def test_every_document_is_listed_once() -> None:
    on_disk = sorted(path.name for path in (ROOT / "examples").glob("*.md"))
    assert sorted(example["file"] for example in EXAMPLES) == on_disk == sorted(LENGTHS)
    for example in EXAMPLES:
        assert set(example) == {"file", "title", "description", "questions"}
        assert TEXTS[example["file"]].startswith(f"# {example['title']}\n")


@pytest.mark.parametrize("file", LENGTHS)
def test_lengths_with_the_demo_tokenizer(file: str) -> None:
    tokenizer = Tokenizer.from_file(str(ROOT / "demo_model" / "tokenizer.json"))
    tokens = len(tokenizer.encode(TEXTS[file]).ids)
    least, most = LENGTHS[file]
    assert least <= tokens <= most


@pytest.mark.parametrize("file", LENGTHS)
def test_the_prose_is_plain_and_does_not_repeat_itself(file: str) -> None:
    text = TEXTS[file]
    assert text.isascii()
    assert all(line == line.rstrip() for line in text.splitlines())
    sentences = re.findall(r"[^.!?\n]{40,}[.!?]", text)
    assert len(sentences) == len(set(sentences))


@pytest.mark.parametrize(("file", "question"), FACTS, ids=map(identifier, FACTS))
def test_a_fact_is_stated_once_and_answers_its_question(file: str, question: dict) -> None:
    text, answer = TEXTS[file], question["answer"]
    start, end = question["evidence"]
    stated = text[start:end]
    assert answer in stated
    assert text.count(stated) == 1
    assert is_fact(question["question"], stated, answer)


def is_fact(question: str, stated: str, answer: str) -> bool:
    """Whether a question and a statement are wordings of the same fact in the vocabulary of the demo model."""
    for attribute in ATTRIBUTES:
        for wording in attribute.questions + QUESTIONS:
            before, _, after = capitalise(wording.format(attribute=attribute.name, entity="\0")).partition("\0")
            if not (question.startswith(before) and question.endswith(after)):
                continue
            entity = question[len(before) : len(question) - len(after)]
            forms = attribute.statements + STATEMENTS
            filled = [form.format(attribute=attribute.name, entity=entity, value=answer) for form in forms]
            if stated in map(capitalise, filled):
                return True
    return False


@pytest.mark.parametrize(("file", "question"), QUOTES, ids=map(identifier, QUOTES))
def test_a_quotation_begins_once_and_goes_on_as_given(file: str, question: dict) -> None:
    text = TEXTS[file]
    start, end = question["evidence"]
    opening = question["question"].removeprefix(QUOTE_PREFIX)
    assert text[start:end] == f"{opening} {question['answer']}"
    assert text.count(opening) == 1


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example["file"])
def test_each_document_asks_from_start_to_end(example: dict) -> None:
    length = len(TEXTS[example["file"]])
    places = [question["evidence"][0] / length for question in example["questions"]]
    assert min(places) < 0.25
    assert max(places) > 0.75
    assert any(0.3 < place < 0.7 for place in places)
    quotes = [question for question in example["questions"] if question["question"].startswith(QUOTE_PREFIX)]
    assert len(quotes) == 1
    assert 4 <= len(example["questions"]) - len(quotes) <= 8
    for question in example["questions"]:
        assert set(question) == {"question", "answer", "evidence", "note"}
        assert question["note"].endswith(".")
