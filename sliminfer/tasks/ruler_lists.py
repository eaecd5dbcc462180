"""RULER's aggregation tasks: the words that a long list holds most often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

from sliminfer.tasks.names import invented_name
from sliminfer.tasks.ruler_text import Draft, Haystack

COMMON, COMMON_TIMES, RARE_TIMES = 10, 30, 3
ALPHA = 2.0
CODED_WORDS = 1000


def common_words(rng: Random, stack: Haystack, room: int) -> Draft:
    """A numbered list in which ten words occur thirty times each and all others three times.

    Where the room is short, the ten take at most half of it and occur less often.
    """
    question = f"Which {COMMON} words occur most often in the list above?"
    words = _words(rng)
    common = list(islice(words, COMMON))

    def build(rng: Random, tokens: int) -> str:
        cost = stack.tokens([f" 1000. {word}" for word in common])
        times = max(RARE_TIMES + 1, min(COMMON_TIMES, tokens // 2 // cost))
        others = (word for word in _words(rng) if word not in common)
        rare = stack.fill(lambda: " ".join([f" 1000. {next(others)}"] * RARE_TIMES), tokens - times * cost)
        entries = common * times + [text.split()[1] for text in rare for _ in range(RARE_TIMES)]
        rng.shuffle(entries)
        return " ".join(f"{number}. {word}" for number, word in enumerate(entries, start=1))

    return Draft(((_fitted(build, rng, stack, room - stack.tokens([question])), False),), question, tuple(common))


def frequent_words(rng: Random, stack: Haystack, room: int) -> Draft:
    """Coded words whose k-th occurs in proportion to 1 / k^2; the first is mere dots, the next three are asked for."""
    question = "Which three coded words, apart from the dots, occur most often in the coded text above?"
    coded = ["....", *islice(_words(rng), CODED_WORDS - 1)]
    shares = [1 / rank**ALPHA for rank in range(1, CODED_WORDS + 1)]
    total = sum(shares)

    def build(rng: Random, tokens: int) -> str:
        count = tokens / 4  # any start does: the second build corrects it
        entries = [word for word, share in zip(coded, shares, strict=True) for _ in range(round(count * share / total))]
        rng.shuffle(entries)
        return " ".join(entries)

    return Draft(((_fitted(build, rng, stack, room - stack.tokens([question])), False),), question, tuple(coded[1:4]))


def _fitted(build: Callable[[Random, int], str], rng: Random, stack: Haystack, tokens: int) -> str:
    """A text of `build` of at most `tokens` tokens, and not far below: what is asked for is corrected until it fits."""
    seed, asked, text = rng.random(), tokens, ""
    for _ in range(4):
        text = build(Random(seed), asked)
        measured = stack.tokens([text])
        if 0.98 * tokens <= measured <= tokens:
            break
        asked = int(asked * 0.99 * tokens / measured)
    return text


def _words(rng: Random) -> Iterator[str]:
    """Invented words, none of them twice."""
    seen: set[str] = set()
    while True:
        word = invented_name(rng, "heldout").lower()
        if word not in seen:
            seen.add(word)
            yield word
