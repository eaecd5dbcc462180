"""How a reply is scored: in [0, 1], the same for every model and method."""

import re

from sliminfer.tasks.example import Example


def words_of(text: str) -> list[str]:
    """Lower-case words and numbers, without punctuation."""
    return re.findall(r"\w+", text.lower())


def contains_answer(reply: str, answer: str) -> float:
    """1.0 if the words of `answer` occur in `reply` one after another, otherwise 0.0."""
    return float(f" {' '.join(words_of(answer))} " in f" {' '.join(words_of(reply))} ")


def all_of(reply: str, answers: tuple[str, ...]) -> float:
    """The share of `answers` that occur in `reply` (RULER's string match)."""
    return sum(contains_answer(reply, answer) for answer in answers) / len(answers)


def parts_found(reply: str, parts: tuple[tuple[str, ...], ...]) -> float:
    """The share of `parts` that `reply` holds; of each part any one of its wordings counts."""
    return sum(max(contains_answer(reply, wording) for wording in wordings) for wordings in parts) / len(parts)


def verbatim_words(reply: str, answer: str) -> float:
    """1.0 if `reply` begins with exactly the words of `answer`, punctuation included, otherwise 0.0."""
    expected = answer.split()
    return float(reply.split()[: len(expected)] == expected)


def score(example: Example, reply: str) -> float:
    """The score of a reply to `example`: verbatim for quotations, otherwise the share of answers it holds."""
    if example.suite == "quote":
        return verbatim_words(reply, example.answers[0])
    return all_of(reply, example.answers)
