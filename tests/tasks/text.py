"""A seeded English-like text for tests, and a token counter that needs no tokenizer."""

import re
from collections.abc import Sequence
from random import Random

_WORDS = (
    "river", "morning", "lantern", "window", "garden", "winter", "letter", "harbour", "silent", "narrow", "walked",
    "carried", "opened", "against", "before", "under", "heavy", "children", "market", "stone", "bridge", "evening",
    "slowly", "quiet", "answered", "remembered", "the", "a", "of", "and", "to", "in",
)  # fmt: skip


def written_text(words: int, seed: int = 0) -> str:
    """Sentences of 6 to 18 words, four to a line."""
    rng = Random(seed)
    sentences: list[str] = []
    written = 0
    while written < words:
        size = rng.randint(6, 18)
        sentences.append(" ".join(rng.choices(_WORDS, k=size)).capitalize() + rng.choice(".....!?"))
        written += size
    return "\n".join(" ".join(sentences[i : i + 4]) for i in range(0, len(sentences), 4))


def words_as_tokens(texts: Sequence[str]) -> list[int]:
    """Words, digits and punctuation marks, counted one by one."""
    return [len(re.findall(r"[^\W\d]+|\d|[^\w\s]", text)) for text in texts]
