"""A conversation: earlier turns are part of the prompt, and a reading of the document answers as if asked afresh."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.errors import ConfigError, ModelError
from sliminfer.model.conversation import build_conversation
from sliminfer.model.loading import LoadedModel
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.engine.test_reading import DOCUMENT, assert_as_afresh, last
from tests.tiny import tiny_loaded, tiny_tokenizer

CONFIG = SlimConfig((PruneStep(2, 0.3), PruneStep(4, 0.1)), local=8, query_window=8)
TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny_loaded()


words = st.lists(st.sampled_from(["lamp", "tower", "was", "lit", "?", "塔"]), min_size=1, max_size=6).map(" ".join)


@settings(max_examples=6, deadline=None)
@given(history=st.lists(st.tuples(words, words), min_size=1, max_size=3), keep=st.booleans())
def test_every_turn_through_the_reading_is_the_conversation_afresh(
    loaded: LoadedModel, history: list[tuple[str, str]], keep: bool
) -> None:
    engine = SlimEngine(loaded)
    reading = engine.read(RunRequest(DOCUMENT, "What?", CONFIG))
    for turns in range(len(history) + 1):
        said = history[:turns]
        request = RunRequest(DOCUMENT, "Who?", CONFIG, 3, ignore_eos=True, history=said, keep_history=keep)
        metrics = last(engine.ask(reading, request))
        assert_as_afresh(engine, request, metrics)
        if said and keep:
            prompt, span = build_conversation(loaded.tokenizer, DOCUMENT, said, "Who?")
            assert set(range(*prompt.question)) | set(range(*span)) <= {
                i for start, end in metrics.kept[-1].ranges for i in range(start, end)
            }


def test_a_reading_of_the_conversation_so_far_goes_on(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    first = RunRequest(DOCUMENT, "When?", CONFIG, 3, ignore_eos=True)
    said = [("When?", "At nine."), ("Who?", "The keeper.")]
    later = RunRequest(DOCUMENT, "Why?", CONFIG, 3, ignore_eos=True, history=said)
    reading = engine.read(later, earlier=engine.read(first))
    metrics = last(engine.ask(reading, later))
    assert metrics.read_tokens > len(engine.read(first))
    assert_as_afresh(engine, later, metrics)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_a_conversation_begins_as_its_first_question_did(template: str | None) -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = template
    alone = build_prompt(tokenizer, DOCUMENT, "When?")
    prompt, said = build_conversation(tokenizer, DOCUMENT, [("When?", "At nine.")], "Who lit <eos> it?")
    assert prompt.ids[: len(alone) - 1] == alone.ids[:-1]
    assert said[0] == alone.question[0]
    assert said[1] == prompt.question[0]
    assert prompt.text[prompt.spans[said[0]][0] :].startswith("Question: When?")
    assert "Who lit <eos> it?" in prompt.text[prompt.spans[prompt.question[0]][0] :]
    names = list(prompt.ids).count(tokenizer.eos_token_id)
    assert names == (3 if template else 0)  # the question's own is plain text


def test_what_is_no_conversation_is_refused_in_a_sentence() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    with pytest.raises(ModelError, match="one question at a time"):
        build_conversation(tokenizer, DOCUMENT, [("When?", "At nine.")], "Who?")
    for history in ("When?", [("When?",)], [("When?", 9)]):
        with pytest.raises(ConfigError, match=r"history has|earlier answer is"):
            RunRequest(DOCUMENT, "Who?", history=history)  # type: ignore[arg-type]
