"""Chat templates of many kinds: the prompt is what the template makes, and the question's tokens are found in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer import PruneStep, RunRequest, SlimConfig, question_span, slim
from sliminfer.errors import ConfigError, ModelError
from sliminfer.model.chat import chat_template
from sliminfer.model.prompts import build_prompt
from tests.tiny import tiny_model, tiny_tokenizer

PLAIN = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | trim }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
TWICE = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}\nRead again: {{ m['content'] }}{% endfor %}\nAnswer:"
PARTS = (
    "{{ bos_token }}{% for m in messages %}{% for part in m['content'] %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<eos>{% endfor %}\nAnswer:"
)
FAILS_ON_TEXT = (
    "{% for m in messages %}{% if m['content'] is string %}{{ raise_exception('parts only') }}{% endif %}"
    "{{ m['content'][0]['text'] }}{% endfor %}\nAnswer:"
)
THINKS = (
    "{{ bos_token }}{{ messages[-1]['content'] }}\nAnswer:"
    "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}"
)
SILENT = "{{ bos_token }}Hello"


def tokenizer_with(template: str | None) -> Any:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.chat_template = template
    return tokenizer


def as_parts(text: str) -> list[dict[str, str]]:
    return [{"type": "image", "url": "none"}, {"type": "text", "text": text}]


@pytest.mark.parametrize("template", [PLAIN, TWICE, PARTS, FAILS_ON_TEXT, THINKS])
def test_the_prompt_is_what_the_template_makes(template: str) -> None:
    tokenizer = tokenizer_with(template)
    prompt = build_prompt(tokenizer, "The lamp was lit at nine.", "When was it lit?")
    message = "The lamp was lit at nine.\n\nQuestion: When was it lit?"
    content = [{"type": "text", "text": message}] if template in (PARTS, FAILS_ON_TEXT) else message
    variables = {"enable_thinking": False} if template is THINKS else {}
    wanted = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True, **variables
    )
    assert prompt.text == wanted
    assert prompt.text[slice(*prompt.document)] == "The lamp was lit at nine."
    assert tokenizer.decode(prompt.ids[prompt.question[0] :]).lstrip("\n").startswith("Question: When was it lit?")
    assert prompt.question[1] == len(prompt)


def test_where_a_message_is_printed_twice_the_last_one_counts() -> None:
    tokenizer = tokenizer_with(TWICE)
    assert len(chat_template(tokenizer)) == 3
    prompt = build_prompt(tokenizer, "The lamp.", "Which?")
    assert prompt.text.count("Question: Which?") == 2
    assert prompt.document[0] == prompt.text.rindex("The lamp.")
    assert tokenizer.decode(prompt.ids[prompt.question[0] :]).count("Which?") == 1


def test_a_model_thinks_only_where_it_is_asked_to() -> None:
    tokenizer = tokenizer_with(THINKS)
    assert build_prompt(tokenizer, "Text.", "Why?").text.endswith("<think></think>")
    assert build_prompt(tokenizer, "Text.", "Why?", thinking=True).text.endswith("Answer:")
    request = RunRequest("Text.", "Why?")
    assert request.tokenized(tokenizer).prompt.text.endswith("<think></think>")
    assert RunRequest("Text.", "Why?", thinking=True).tokenized(tokenizer).prompt.text.endswith("Answer:")


def test_a_template_that_does_not_print_the_message_is_refused() -> None:
    with pytest.raises(ModelError, match="does not print the user's message"):
        build_prompt(tokenizer_with(SILENT), "Text.", "Why?")
    with pytest.raises(ModelError, match="does not print the question as it is"):
        question_span(tokenizer_with(SILENT), [{"role": "user", "content": "Why?"}])
    with pytest.raises(ModelError, match="refuses these messages: parts only"):
        question_span(tokenizer_with(FAILS_ON_TEXT), [{"role": "user", "content": "Why?"}])


def asked(tokenizer: Any, messages: list[dict[str, Any]], **options: Any) -> tuple[str, int, int]:
    """The text of the question's tokens, where they end, and how many tokens the prompt has."""
    start, end = question_span(tokenizer, messages, **options)
    variables = {name: value for name, value in options.items() if name != "question"}
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, **variables)["input_ids"]
    return tokenizer.decode(ids[start:end]), end, len(ids)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("A long text.\n\nIn two parts.\n\nWho lit it?\n", "Who lit it?"),
        ("A long text.\nWho lit it?", "Who lit it?"),
        ("Who lit it?", "Who lit it?"),
        ("Who lit it?\n\nWho lit it?", "Who lit it?"),
        ("A text.\n\nWho?\nAnd when?", "Who?\nAnd when?"),
    ],
)
@pytest.mark.parametrize("template", [PLAIN, TWICE, PARTS])
def test_the_question_of_a_chat_is_its_last_paragraph(template: str, content: str, found: str) -> None:
    tokenizer = tokenizer_with(template)
    message = as_parts(content) if template is PARTS else content
    text, end, tokens = asked(tokenizer, [{"role": "user", "content": message}])
    tail = text.lstrip("\n ")
    assert tail.startswith(found)
    assert tail.count(found) == 1
    assert end == tokens


def test_earlier_turns_are_no_question() -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The text.\n\nWho lit it?"},
        {"role": "assistant", "content": "The keeper."},
        {"role": "user", "content": "When was that?"},
    ]
    tokenizer = tokenizer_with(PLAIN)
    assert asked(tokenizer, chat)[0].strip() == "When was that?<eos>\n[assistant]"
    given_text = [{"role": "user", "content": "Who lit it, and when? Here is the text: The lamp."}]
    text, end, tokens = asked(tokenizer, given_text, question="Who lit it, and when?")
    assert (text.lstrip().startswith("Who lit it, and when?"), end) == (True, tokens)
    assert asked(tokenizer_with(THINKS), chat, enable_thinking=False)[0].endswith("<think></think>")


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(lambda text: text.strip())


@settings(deadline=None)
@given(words, words)
def test_the_span_covers_the_question_and_little_more(document: str, question: str) -> None:
    tokenizer = tokenizer_with(PLAIN)
    messages = [{"role": "user", "content": f"{document}\n\n{question}"}]
    start, end = question_span(tokenizer, messages, question=question)
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    spans = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    assert end == len(spans)
    place = len(text) - len("<eos>\n[assistant]") - len(question.strip())
    assert spans[start][0] <= place < spans[start][1]


@torch.inference_mode()
def test_slim_keeps_the_question_that_was_found() -> None:
    tokenizer, model = tokenizer_with(PLAIN), tiny_model()
    messages = [{"role": "user", "content": "the keeper wrote it down " * 30 + "\n\nWho lit the lamp of the tower?"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")
    start, end = question_span(tokenizer, messages)
    config = SlimConfig(steps=(PruneStep(2, 0.1),), block_size=8, unit_size=4, sink=1, local=1)
    with slim(model, config, question=(start, end)) as loop:
        kept = set(loop.kept_positions(model(**prompt).past_key_values)[2].tolist())
    assert set(range(start, end)) <= kept
    assert len(kept) < end / 2


@pytest.mark.parametrize(
    ("template", "messages", "question", "message"),
    [
        (None, [{"role": "user", "content": "Why?"}], None, "no chat template"),
        (PLAIN, [], None, "no user message"),
        (PLAIN, [{"role": "system", "content": "Be brief."}], None, "no user message"),
        (PARTS, [{"role": "user", "content": [{"type": "image"}]}], None, "has no text"),
        (PLAIN, [{"role": "user", "content": "  "}], None, "not in the last user message"),
        (PLAIN, [{"role": "user", "content": "Why?"}], "Who?", "not in the last user message"),
    ],
)
def test_a_chat_without_a_question_is_refused(
    template: str | None, messages: list[dict[str, Any]], question: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        question_span(tokenizer_with(template), messages, question)
