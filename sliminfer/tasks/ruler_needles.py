"""RULER's needle tasks and variable tracking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Literal
from uuid import UUID

from sliminfer.tasks.names import invented_name, variable_name
from sliminfer.tasks.ruler_text import Draft, Haystack, hide

HOPS = 4


@dataclass(frozen=True)
class NeedleTask:
    """Needles in a haystack.

    Attributes:
        haystack: one noise repeated, an essay, or nothing but other needles.
        names, values: what keys and values look like.
        keys: needles with a key of their own; those not asked for distract.
        values_per_key: needles that share the key that is asked for.
        queries: how many keys are asked for.
    """

    haystack: Literal["noise", "essay", "needles"] = "essay"
    names: Literal["word", "uuid"] = "word"
    values: Literal["number", "uuid"] = "number"
    keys: int = 1
    values_per_key: int = 1
    queries: int = 1


def needles(task: NeedleTask, rng: Random, stack: Haystack, room: int) -> Draft:
    """A draft of at most about `room` tokens, question included."""
    kind = "number" if task.values == "number" else "code"

    def needle(key: str, value: str) -> str:
        return f" The special {kind} of {key} is {value}."

    keys: list[str] = []
    while len(keys) < task.keys:
        keys.append(_other_key(rng, task.names, keys))
    asked = keys[: task.queries]
    per_key = {key: task.values_per_key if key in asked else 1 for key in keys}
    pairs = [(key, _value(rng, task.values)) for key in keys for _ in range(per_key[key])]
    if len(asked) > 1:
        question = f"What are the special {kind}s of {', '.join(asked[:-1])} and {asked[-1]}, as given in the text?"
    elif task.values_per_key > 1:
        question = f"What are all the special {kind}s of {asked[0]}, as given in the text?"
    else:
        question = f"What is the special {kind} of {asked[0]}, as given in the text?"
    hidden = [(needle(key, value), key in asked) for key, value in pairs]
    rng.shuffle(hidden)
    left = room - stack.tokens([question, *(text for text, _ in hidden)])
    if task.haystack == "essay":
        straw = stack.essay(rng, left)
    elif task.haystack == "noise":
        straw = stack.noise(rng, left)
    else:
        straw = stack.fill(lambda: needle(_other_key(rng, task.names, keys), _value(rng, task.values)), left)
    answers = tuple(value for key, value in pairs if key in asked)
    return Draft(hide(rng, straw, hidden), question, answers)


def variable_tracking(rng: Random, stack: Haystack, room: int) -> Draft:
    """A chain of assignments in noise; asked for are all variables that hold its value."""
    value = str(rng.randrange(10_000, 100_000))
    names = [variable_name(rng) for _ in range(HOPS + 1)]
    hidden = [(f" VAR {names[0]} = {value}.", True)]
    hidden += [(f" VAR {after} = VAR {before}.", True) for before, after in pairwise(names)]
    question = f"Which variables are assigned the value {value}, directly or through other variables?"
    left = room - stack.tokens([question, *(text for text, _ in hidden)])
    return Draft(hide(rng, stack.noise(rng, left), hidden), question, tuple(names))


def _other_key(rng: Random, kind: str, taken: Sequence[str]) -> str:
    while True:
        key = _uuid(rng) if kind == "uuid" else invented_name(rng, "heldout")
        if key not in taken:
            return key


def _value(rng: Random, kind: str) -> str:
    return _uuid(rng) if kind == "uuid" else str(rng.randrange(1_000_000, 10_000_000))


def _uuid(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
