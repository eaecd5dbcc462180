"""The suites: how each document, question and answer is made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from random import Random

from sliminfer.tasks.example import Example, Suite
from sliminfer.tasks.facts import (
    ATTRIBUTES,
    PLURAL_QUESTIONS,
    PLURAL_STATEMENTS,
    PLURALS,
    capitalise,
    choose_wording,
    random_fact,
)
from sliminfer.tasks.filler import Filler, TaskError
from sliminfer.tasks.names import Split, value_text, variable_name
from sliminfer.tasks.prompt import QUOTE_PREFIX, plain_prompt

DISTRACTORS = 8
VALUES = 3
HOPS = 3
QUOTE_WORDS = 16
TRACKING_QUESTIONS = (
    "Which variables hold the value {value}?",
    "Find all variables that are assigned the value {value}.",
    "Which variables are equal to {value}?",
    "Name every variable with the value {value}.",
    "List the variables whose value is {value}.",
    "What variables have {value} as their value?",
    "Which variables have the value {value}?",
)


@dataclass(frozen=True)
class Plan:
    """What to plant and ask. `statements` pairs each sentence with whether it is evidence; order is kept."""

    statements: tuple[tuple[str, bool], ...]
    question: str
    answers: tuple[str, ...]


def plan_needle(rng: Random, split: Split) -> Plan:
    """One fact, one question."""
    fact = random_fact(rng, split)
    return Plan(((fact.statement(rng, split), True),), fact.question(rng, split), (fact.value,))


def plan_multikey(rng: Random, split: Split, distractors: int = DISTRACTORS) -> Plan:
    """One fact among `distractors` facts with the same attribute about other entities."""
    fact = random_fact(rng, split)
    facts = [fact] + [random_fact(rng, split, fact.attribute) for _ in range(distractors)]
    rng.shuffle(facts)
    statements = tuple((each.statement(rng, split), each is fact) for each in facts)
    return Plan(statements, fact.question(rng, split), (fact.value,))


def plan_multivalue(rng: Random, split: Split, values: int = VALUES, distractors: int = 4) -> Plan:
    """Several values of one attribute of one entity, all asked for, among facts of the same attribute."""
    attribute = rng.choice([each for each in ATTRIBUTES if each.name in PLURALS])
    fact = random_fact(rng, split, attribute)
    plural = PLURALS[attribute.name]
    answers = tuple(value_text(rng, attribute.value, split) for _ in range(values))
    statements = [
        (capitalise(wording.format(attributes=plural, entity=fact.entity, value=answer)), True)
        for answer in answers
        for wording in [choose_wording(rng, PLURAL_STATEMENTS, split)]
    ]
    for _ in range(distractors):
        other = random_fact(rng, split, attribute)
        statements.insert(rng.randrange(len(statements) + 1), (other.statement(rng, split), False))
    question = choose_wording(rng, PLURAL_QUESTIONS, split).format(attributes=plural, entity=fact.entity)
    return Plan(tuple(statements), question, answers)


def plan_tracking(rng: Random, split: Split, hops: int = HOPS, chains: int = 2) -> Plan:
    """Variable chains as in RULER (arXiv 2404.06654): which variables hold a value, through assignments."""
    queues: list[list[tuple[str, bool]]] = []
    question = ""
    answers: tuple[str, ...] = ()
    for chain in range(chains):
        value = value_text(rng, "number", split)
        names = tuple(variable_name(rng) for _ in range(hops + 1))
        lines = [f"VAR {names[0]} = {value}."]
        lines += [f"VAR {name} = VAR {before}." for before, name in pairwise(names)]
        queues.append([(line, chain == 0) for line in lines])
        if chain == 0:
            question = choose_wording(rng, TRACKING_QUESTIONS, split).format(value=value)
            answers = names
    statements = []
    while any(queues):
        statements.append(rng.choice([queue for queue in queues if queue]).pop(0))
    return Plan(tuple(statements), question, answers)


_PLANS: dict[Suite, Callable[[Random, Split], Plan]] = {
    "needle": plan_needle,
    "multikey": plan_multikey,
    "multivalue": plan_multivalue,
    "tracking": plan_tracking,
    "multikey16": partial(plan_multikey, distractors=16),
}


def make_example(
    suite: Suite,
    filler: Filler,
    length: int,
    seed: int,
    split: Split = "heldout",
    depth: float | None = None,
) -> Example:
    """One example whose prompt has at most about `length` tokens and at least about nine tenths of that.

    `depth` in [0, 1] places the evidence of a needle; otherwise places are drawn at random. The same
    arguments give the same example. Raises TaskError if `length` leaves no room for the facts themselves.
    """
    rng = Random(f"{suite} {length} {seed} {split}")
    if suite == "quote":
        return _make_quote(filler, length, rng)
    plan = _PLANS[suite](rng, split)
    overhead = sum(filler.count_tokens([" " + text for text, _ in plan.statements]))
    overhead += filler.count_tokens([plain_prompt("", plan.question)])[0] + 8
    if overhead + 16 > length:
        raise TaskError(f"{length} tokens are too few for the {suite} suite: ask for {overhead + 16} or more.")
    sentences = filler.window(rng, length - overhead)
    places = sorted(rng.randrange(1, len(sentences) + 1) for _ in plan.statements)
    if depth is not None:
        places = [max(1, round(depth * len(sentences)))] * len(places)
    document, evidence = _plant(sentences, places, plan.statements)
    return Example(suite, document, plan.question, plan.answers, evidence)


def _plant(
    sentences: Sequence[str], places: Sequence[int], statements: Sequence[tuple[str, bool]]
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Put statement i before sentence `places[i]`, after a space; returns the text and the evidence spans."""
    parts: list[str] = []
    evidence = []
    position = planted = 0
    for index in range(len(sentences) + 1):
        while planted < len(statements) and places[planted] == index:
            text, is_evidence = statements[planted]
            if is_evidence:
                evidence.append((position + 1, position + 1 + len(text)))
            parts.append(" " + text)
            position += len(text) + 1
            planted += 1
        if index < len(sentences):
            parts.append(sentences[index])
            position += len(sentences[index])
    return "".join(parts), tuple(evidence)


def _make_quote(filler: Filler, length: int, rng: Random) -> Example:
    """Ask for the words that follow the first words of a passage; those first words occur once."""
    sentences = filler.window(rng, length - 40)
    document = "".join(sentences)
    starts = [0]
    for sentence in sentences:
        starts.append(starts[-1] + len(sentence))
    for _ in range(200):
        start = starts[rng.randrange(len(sentences))]
        words = document[start : start + 400].split()
        opening = rng.randint(6, 9)
        if len(words) < opening + QUOTE_WORDS + 1:
            continue
        given = " ".join(words[:opening])
        answer = " ".join(words[opening : opening + QUOTE_WORDS])
        begin = start + len(document[start:]) - len(document[start:].lstrip())
        passage = f"{given} {answer}"
        if document.count(given) == 1 and document.startswith(passage, begin):
            return Example("quote", document, QUOTE_PREFIX + given, (answer,), ((begin, begin + len(passage)),))
    raise TaskError("No passage of this text can be quoted: give a text with more than a few sentences.")
