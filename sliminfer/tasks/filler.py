"""The text in which facts are planted, cut at sentence ends and measured in tokens."""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from random import Random

from sliminfer.errors import SlimError

# A sentence ends at . ! or ?, perhaps a closing quote or bracket, and white space before a capital or a quote.
_SENTENCE_END = re.compile(r"[.!?][\"')\]]*(?=\s+[\"'(]?[A-Z])|[.!?][\"')\]]*(?=\s*\n)")

CountTokens = Callable[[Sequence[str]], list[int]]


class TaskError(SlimError):
    """A task that cannot be built from the text at hand."""


class Filler:
    """A text with its sentence ends and the number of tokens up to each.

    `count_tokens` maps a list of strings to their lengths in tokens. Sentences are counted one by one, so a
    window's length is right to within a token per sentence.
    """

    def __init__(self, text: str, count_tokens: CountTokens) -> None:
        self.text = text.strip()
        self.ends = [match.end() for match in _SENTENCE_END.finditer(self.text)]
        if not self.ends or self.ends[-1] < len(self.text):
            self.ends.append(len(self.text))
        self.count_tokens = count_tokens
        starts = [0, *self.ends[:-1]]
        self.tokens_before = [0]
        for count in count_tokens([self.text[start:end] for start, end in zip(starts, self.ends)]):
            self.tokens_before.append(self.tokens_before[-1] + count)
        if self.tokens_before[-1] < 16:
            raise TaskError("The filler text is shorter than 16 tokens: give a longer text.")

    def window(self, rng: Random, tokens: int) -> list[str]:
        """Whole sentences of at most `tokens` tokens in all (at least one), from a random sentence on.

        Each keeps the white space before it, so that joining them gives the text back; a text that is too short
        is read again from its beginning.
        """
        total = self.tokens_before[-1]
        latest = max(0, total - tokens)
        first = rng.randrange(bisect_left(self.tokens_before, latest) + 1) % len(self.ends)
        sentences: list[str] = []
        left = tokens
        while True:
            index = (first + len(sentences)) % len(self.ends)
            left -= self.tokens_before[index + 1] - self.tokens_before[index]
            if left < 0 and sentences:
                break
            sentence = self.text[self.ends[index - 1] if index else 0 : self.ends[index]]
            if sentences and index == 0:
                sentence = "\n" + sentence
            sentences.append(sentence)
        sentences[0] = sentences[0].lstrip()
        return sentences
