"""What can be asked: every wrong value is told in one sentence, where the request is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sliminfer.engine.request import RunRequest, Sampling
from sliminfer.errors import ConfigError
from tests.tiny import tiny_tokenizer


def request(document: Any = "The lamp was lit at nine.", question: Any = "When?", **given: Any) -> RunRequest:
    return RunRequest(document, question, **given)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: request(None), "The document is None: give a text"),
        (lambda: request(question=5), "The question is 5: give a text"),
        (lambda: request(b"bytes"), "give a text"),
        (lambda: request("  "), "The document is empty"),
        (lambda: request("The lamp \ud800 was lit."), "half a character .* at position 9"),
        (lambda: request(question="When\udfff?"), "The question has half a character"),
        (lambda: request(config=None), "give a SlimConfig"),
        (lambda: request(max_new_tokens=2.5), "max_new_tokens is 2.5: give a whole number"),
        (lambda: request(max_new_tokens=True), "max_new_tokens is True"),
        (lambda: request(max_new_tokens=0), "ask for at least 1"),
        (lambda: request(seed=1.5), "seed is 1.5"),
        (lambda: request(seed=-1), "The seed is -1"),
        (lambda: request(seed=2**70), "give a whole number from 0 to"),
        (lambda: request(temperature="hot"), "temperature is 'hot'"),
        (lambda: request(temperature=float("nan")), "between 0 and 5"),
        (lambda: request(top_p=None), "top_p is None"),
        (lambda: request(evidence=5).tokenized(tiny_tokenizer()), "The evidence is 5"),
        (lambda: request(evidence=((900, 910),)).tokenized(tiny_tokenizer()), "not in the document"),
        (lambda: request(evidence=((12, 4),)).tokenized(tiny_tokenizer()), "not in the document"),
    ],
)
def test_a_wrong_value_is_refused_in_a_sentence(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_numbers_of_other_kinds_are_numbers() -> None:
    import numpy as np

    assert Sampling(max_new_tokens=np.int64(5), temperature=1).max_new_tokens == 5
