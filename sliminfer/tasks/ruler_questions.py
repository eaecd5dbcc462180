"""RULER's question-answering tasks over invented articles, in one hop and in two."""

from __future__ import annotations

from random import Random

from sliminfer.tasks.facts import ATTRIBUTES, Attribute, Fact, random_fact
from sliminfer.tasks.names import value_text
from sliminfer.tasks.ruler_text import Draft, Haystack

FACTS_PER_ARTICLE = 4

Article = list[tuple[str, bool]]


def one_hop(rng: Random, stack: Haystack, room: int) -> Draft:
    """A question about one of many articles, each on one entity and stating a few facts about it."""
    fact = random_fact(rng, "heldout")
    question = fact.question(rng, "heldout")
    return _among_others(rng, stack, room, [fact], question)


def two_hops(rng: Random, stack: Haystack, room: int) -> Draft:
    """A question whose answer stands in the article on a person whom another article names."""
    link = rng.choice([each for each in ATTRIBUTES if each.value == "person" and each.owner != "person"])
    first = random_fact(rng, "heldout", link)
    asked = rng.choice([each for each in ATTRIBUTES if each.owner == "person"])
    second = Fact(asked, first.value, value_text(rng, asked.value, "heldout"))
    question = f"What is the {asked.name} of the {link.name} of {first.entity}?"
    return _among_others(rng, stack, room, [first, second], question)


def _article(rng: Random, fact: Fact, wanted: bool = True) -> Article:
    """Statements about the entity of `fact`, that fact among them, under its name as a heading."""
    others = [each for each in _attributes_of(fact.attribute.owner) if each.name != fact.attribute.name]
    chosen = rng.sample(others, min(FACTS_PER_ARTICLE - 1, len(others)))
    facts = [Fact(each, fact.entity, value_text(rng, each.value, "heldout")) for each in chosen]
    lines: Article = [(" " + each.statement(rng, "heldout"), False) for each in facts]
    lines.insert(rng.randrange(len(lines) + 1), (" " + fact.statement(rng, "heldout"), wanted))
    return [(f"\n\nOn {fact.entity}.", False), *lines]


def _among_others(rng: Random, stack: Haystack, room: int, facts: list[Fact], question: str) -> Draft:
    """Articles on the entities of `facts`, whose last answers the question, among as many others as fit."""
    wanted = [_article(rng, fact) for fact in facts]
    entities = {fact.entity for fact in facts}

    def other() -> str:
        while True:
            fact = random_fact(rng, "heldout")
            if fact.entity not in entities:
                return "".join(text for text, _ in _article(rng, fact, False))

    left = room - stack.tokens([question, *(text for article in wanted for text, _ in article)])
    articles: list[Article] = [[(text, False)] for text in stack.fill(other, left)]
    for article in wanted:
        articles.insert(rng.randrange(len(articles) + 1), article)
    pieces = [piece for article in articles for piece in article]
    heading, is_evidence = pieces[0]
    pieces[0] = (heading.lstrip(), is_evidence)
    return Draft(tuple(pieces), question, (facts[-1].value,))


def _attributes_of(owner: str) -> list[Attribute]:
    """One attribute of each name that this kind of entity can have."""
    by_name = {each.name: each for each in ATTRIBUTES if each.owner == owner}
    return list(by_name.values())
