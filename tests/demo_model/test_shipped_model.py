"""The model in assets/ answers what a first visitor asks, in full and pruned, through the engine."""

import json
from pathlib import Path

import pytest

from sliminfer import RunRequest, SlimConfig, SlimEngine, load_model
from sliminfer.demo_model import checkpoint
from sliminfer.engine.result import RunResult
from sliminfer.tasks import Filler
from sliminfer.tasks.planted import PlantedSuite
from sliminfer.tasks.scoring import contains_answer, verbatim_words

ASSETS = Path(__file__).resolve().parents[2] / "assets"
LETTER = json.loads((ASSETS / "examples" / "examples.json").read_text())[0]
EXAMPLES, CONTEXT = 20, 1024


@pytest.fixture(scope="module")
def engine() -> SlimEngine:
    # fp32 is faster than bf16 on CPUs without bf16 units, and its sums hardly depend on the machine.
    return SlimEngine(load_model("demo", device="cpu", dtype="float32"))


def replies(engine: SlimEngine, document: str, question: str, room: int) -> tuple[str, str]:
    """The full and the pruned model's replies, with the default preset."""
    config = SlimConfig.preset("paper", engine.loaded.layers)
    result = RunResult.of(engine.compare(RunRequest(document, question, config, max_new_tokens=room)))
    assert not result.failed
    return result.finished["full"].text, result.finished["pruned"].text


def test_needles_in_unseen_prose_are_found_in_full_and_pruned(engine: SlimEngine) -> None:
    tokenizer = engine.loaded.tokenizer
    filler = Filler(
        (ASSETS / "examples" / "town_archive.md").read_text(),
        lambda texts: [len(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]],
    )
    suite = PlantedSuite("needle", [filler], seed=0)
    full = pruned = 0.0
    for index in range(EXAMPLES):
        item = suite.item(CONTEXT, index)
        answers = replies(engine, item.document, item.question, room=16)
        full += item.score(answers[0])
        pruned += item.score(answers[1])
    assert full / EXAMPLES >= 0.9
    assert pruned / EXAMPLES >= 0.85


def test_it_answers_the_questions_suggested_for_the_letter(engine: SlimEngine) -> None:
    document = (ASSETS / "examples" / LETTER["file"]).read_text()
    pruned_right = 0.0
    for each in LETTER["questions"]:
        answer = each["answer"]
        judge = verbatim_words if each["question"].startswith("Quote: ") else contains_answer
        full, pruned = replies(engine, document, each["question"], room=32)
        assert judge(full, answer) == 1.0, f"{each['question']} {full}"
        pruned_right += judge(pruned, answer)
    # 12.5 % of this letter leaves one block to choose beside the forced ones, and one of the facts lies across two.
    assert pruned_right >= len(LETTER["questions"]) - 1


def test_it_ships_with_what_training_needs_to_go_on_and_in_small_shards() -> None:
    folder = ASSETS / "demo_model"
    _, tokenizer, progress = checkpoint.load(folder)
    assert tokenizer.get_vocab_size() == 4096
    assert progress.step > 0
    sizes = [path.stat().st_size for path in folder.glob("*.safetensors")]
    assert max(sizes) <= 16_000_000
    assert sum(sizes) <= 48_000_000
