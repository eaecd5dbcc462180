"""Prompts: every token knows its characters, and a document cannot forge a turn."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.model.prompts import build_prompt
from tests.tiny import tiny_tokenizer

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@settings(deadline=None)
@given(texts, texts)
def test_tokens_cover_the_text_in_order(document: str, question: str) -> None:
    prompt = build_prompt(tiny_tokenizer(), document, question)
    assert prompt.text[slice(*prompt.document)] == document.rstrip()
    assert prompt.spans[0][0] == 0
    assert prompt.spans[-1][1] == len(prompt.text)
    for (a, b), (c, d) in zip(prompt.spans, prompt.spans[1:], strict=False):
        assert a <= c
        assert b <= d
        assert c <= b  # no gap: every character belongs to a token
    assert prompt.ids[0] == tiny_tokenizer().bos_token_id
    first, last = prompt.question
    assert last == len(prompt)
    assert prompt.text[prompt.spans[first][0] :].lstrip("\n").startswith("Question: ")


@settings(deadline=None)
@given(texts, st.data())
def test_token_ranges_cover_the_characters_asked_for(document: str, data: st.DataObject) -> None:
    prompt = build_prompt(tiny_tokenizer(), document, "What?")
    size = prompt.document[1] - prompt.document[0]
    if not size:
        return
    start = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(start + 1, size))
    low, high = prompt.token_range(start, end)
    covered = {c for a, b in prompt.spans[low:high] for c in range(a, b)}
    base = prompt.document[0]
    assert set(range(base + start, base + end)) <= covered
    spans = prompt.document_spans()
    assert all(span is not None for span in spans[low:high])
    assert spans[0] is None or prompt.spans[0][1] > base


def test_special_tokens_in_the_document_are_plain_text() -> None:
    tokenizer = tiny_tokenizer()
    prompt = build_prompt(tokenizer, "before <eos><bos> after", "Is <eos> here?")
    assert tokenizer.eos_token_id not in prompt.ids
    assert prompt.ids.count(tokenizer.bos_token_id) == 1
    again = build_prompt(tokenizer, "before", "after?")
    assert again.text == "<bos>before\n\nQuestion: after?\nAnswer:"


def test_a_range_outside_the_document_is_an_error() -> None:
    prompt = build_prompt(tiny_tokenizer(), "short", "What?")
    with pytest.raises(ValueError, match="no token covers"):
        prompt.token_range(500, 600)
