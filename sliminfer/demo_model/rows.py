"""One training row: a document with planted facts, followed by questions and quotations about it."""

from dataclasses import dataclass
from enum import IntEnum
from random import Random

import numpy as np
from numpy.typing import NDArray

from sliminfer.demo_model.corpus import Corpus
from sliminfer.demo_model.encoding import WordEncoder
from sliminfer.demo_model.tokenizer import BOS, EOS, PAD
from sliminfer.tasks.facts import ATTRIBUTES, random_fact
from sliminfer.tasks.prompt import QUOTE_PREFIX
from sliminfer.tasks.suites import plan_multivalue, plan_tracking

Ids = NDArray[np.int32]
Kinds = NDArray[np.uint8]


class Kind(IntEnum):
    """What a token counts as when it is the one to be predicted."""

    NOTHING = 0
    PROSE = 1
    COPY = 2
    ANSWER = 3


@dataclass(frozen=True)
class Piece:
    """Tokens with their kinds, [n] each."""

    ids: Ids
    kinds: Kinds

    @staticmethod
    def of(ids: list[int] | Ids, kind: Kind) -> "Piece":
        return Piece(np.asarray(ids, dtype=np.int32), np.full(len(ids), kind, dtype=np.uint8))


@dataclass(frozen=True)
class Group:
    """Statements to be planted in their order, and the question about them."""

    statements: list[Piece]
    query: Piece

    @property
    def size(self) -> int:
        return sum(len(each.ids) for each in self.statements)


def join(pieces: list[Piece]) -> Piece:
    """One piece after another."""
    return Piece(np.concatenate([each.ids for each in pieces]), np.concatenate([each.kinds for each in pieces]))


class RowBuilder:
    """Builds rows of `length + 1` tokens: the inputs are all but the last, the targets all but the first."""

    def __init__(self, corpus: Corpus, encoder: WordEncoder) -> None:
        self.corpus = corpus
        self.encoder = encoder

    def build(self, rng: Random, length: int, dense: float) -> Piece:
        """A row of `length + 1` tokens. `dense` is the share of rows that hold nothing but copies."""
        chance = rng.random()
        if chance < dense:
            row = self._copies(rng, length + 1)
        elif chance < dense + 0.08 * (1 - dense):
            row = join([Piece.of([BOS], Kind.NOTHING), self._window(rng, length, [])])
        else:
            row = self._document(rng, length + 1)
        # What is left over stays empty: at the end of a causal row padding touches nothing.
        return join([row, Piece.of([PAD] * (length + 1 - len(row.ids)), Kind.NOTHING)])

    def _copies(self, rng: Random, size: int) -> Piece:
        """A passage (of the corpus, its tokens shuffled, or random tokens), then spans of it again."""
        first = max(8, int(size * rng.uniform(0.3, 0.6)))
        passage = self._window(rng, first, []).ids
        generator = np.random.default_rng(rng.getrandbits(64))
        source = rng.random()
        if source < 0.35:
            passage = generator.integers(EOS + 1, len(self.corpus.starts_word), first, dtype=np.int32)
        elif source < 0.6:
            passage = generator.permutation(passage)
        pieces = [Piece.of([BOS], Kind.NOTHING), Piece.of(passage, Kind.NOTHING)]
        filled = 1 + len(passage)
        longest = min(64, len(passage))
        while filled < size:
            count = rng.randint(min(8, longest), longest)
            begin = rng.randrange(len(passage) - count + 1)
            span = passage[begin : begin + count]
            # The first two tokens of a span cannot be known.
            pieces += [Piece.of(span[:2], Kind.NOTHING), Piece.of(span[2:], Kind.COPY)]
            filled += len(span)
        row = join(pieces)
        return Piece(row.ids[:size], row.kinds[:size])

    def _document(self, rng: Random, size: int) -> Piece:
        groups = self._groups(rng, size)
        rest = size - 1 - sum(group.size for group in groups)
        room = int(rest * (0.6 if size < 400 else 0.4 if size < 1500 else 0.25))
        asked: list[Piece] = []
        for group in groups[: max(24, size // 100) if rng.random() < 0.8 else 3]:
            if len(group.query.ids) <= room:
                asked.append(group.query)
                room -= len(group.query.ids)
        quotes = 0
        for _ in range(rng.randint(0, 2) if size < 600 else rng.randint(1, max(7, size // 600))):
            if room >= 100:
                quotes += 1
                room -= 100
        rest -= sum(len(each.ids) for each in asked) + 100 * quotes
        rng.shuffle(groups)
        document = self._window(rng, max(rest, 8), groups)
        pieces = asked + [self._quote(rng, document.ids) for _ in range(quotes)]
        rng.shuffle(pieces)
        row = join([Piece.of([BOS], Kind.NOTHING), document, *pieces])
        return Piece(row.ids[:size], row.kinds[:size])

    def _groups(self, rng: Random, size: int) -> list[Group]:
        """Facts that fill at most two fifths of the row (a quarter of a long one), in random order."""
        room = int(size * (0.4 if size < 400 else 0.25) * rng.uniform(0.1, 1.0)) if size > 200 else size * 0.45
        groups: list[Group] = []
        for _ in range(60):
            made = [self._chain(rng)] if size >= 160 and rng.random() < 0.15 else self._facts(rng)
            for group in made:
                if group.size <= room and len(groups) < max(48, size // 80):
                    groups.append(group)
                    room -= group.size
            if room < 40 and groups:
                break
        rng.shuffle(groups)
        return groups

    def _facts(self, rng: Random) -> list[Group]:
        """One to seventeen facts with the same attribute."""
        attribute = rng.choice(ATTRIBUTES)
        groups = []
        for _ in range(rng.choice((1, 1, 2, 4, 9, 17))):
            fact = random_fact(rng, "train", attribute)
            statement = self._statement(fact.statement(rng, "train"))
            groups.append(Group([statement], self._question(rng, fact.question(rng, "train"), fact.value)))
        return groups

    def _chain(self, rng: Random) -> Group:
        """A group with several values or a chain of variables."""
        many = rng.randint(1, 4)
        if rng.random() < 0.7:
            plan = plan_tracking(rng, "train", hops=many, chains=rng.choice((1, 2, 2, 3)))
        else:
            plan = plan_multivalue(rng, "train", values=many, distractors=rng.randint(0, 4))
        statements = [self._statement(text) for text, _ in plan.statements]
        return Group(statements, self._question(rng, plan.question, ", ".join(plan.answers)))

    def _statement(self, text: str) -> Piece:
        return Piece.of(self.encoder.encode(" " + text), Kind.NOTHING)

    def _question(self, rng: Random, question: str, answer: str) -> Piece:
        """The question as people may type it, the answer with a full stop and the end mark."""
        if rng.random() < 0.08:
            question = question.lower()
        elif rng.random() < 0.05:
            question = question[:1].lower() + question[1:]
        if rng.random() < 0.12:
            question = question.rstrip("?.")
        lead = "\n\nQuestion: " if rng.random() < 0.8 else "\nQuestion: "
        encode = self.encoder.encode
        asked = Piece.of(encode(f"{lead}{question}\nAnswer:"), Kind.NOTHING)
        return join([asked, Piece.of([*encode(f" {answer}."), EOS], Kind.ANSWER)])

    def _quote(self, rng: Random, document: Ids) -> Piece:
        """Ask for the continuation of a passage of the document, in at most about 100 tokens.

        The answer goes on to the first sentence end after 40 tokens, and then the end mark; if there is none
        by 64 tokens it stops at a word without one.
        """
        corpus = self.corpus
        begin = rng.randrange(max(1, len(document) - 40))
        reach = document[begin : begin + 160]
        words = np.flatnonzero(corpus.starts_word[reach])
        opens = np.flatnonzero(corpus.ends_sentence[reach[:-1]] & corpus.opens_sentence[reach[1:]]) + 1
        start = int(opens[0]) if len(opens) and rng.random() < 0.7 else int(words[0]) if len(words) else 0
        later = words[words >= start + rng.randint(6, 14)]
        split = int(later[0]) if len(later) else len(reach) // 2
        text = " ".join(self.encoder.tokenizer.decode(reach[start:split].tolist()).split())
        form = rng.random()
        lead = "\n\nQuestion: " if form < 0.7 else "\n\n"
        prompt = Piece.of(
            self.encoder.encode(f"{lead}{QUOTE_PREFIX}{text}" + ("" if form > 0.85 else "\nAnswer:")), Kind.NOTHING
        )
        ends = opens[(opens >= split + 40) & (opens <= split + 64)]
        if len(ends):
            answer = [*reach[split : int(ends[0])].tolist(), EOS]
        else:
            stops = words[(words > split) & (words <= split + 64)]
            answer = reach[split : int(stops[-1]) if len(stops) else split].tolist()
        return join([prompt, Piece.of(answer, Kind.COPY)])

    def _window(self, rng: Random, size: int, groups: list[Group]) -> Piece:
        """At most `size` tokens of the corpus, whole words from the start of a sentence on, with `groups` planted."""
        corpus = self.corpus
        last = int(np.searchsorted(corpus.boundaries, len(corpus.tokens) - size - 1))
        low = rng.randrange(max(1, last))
        start = int(corpus.boundaries[low])
        end = min(start + size, len(corpus.tokens) - 1)
        while end > start + 1 and not corpus.starts_word[corpus.tokens[end]]:
            end -= 1
        high = int(np.searchsorted(corpus.boundaries, end))
        places = corpus.boundaries[low + 1 : high].tolist() or [end]
        planted: list[tuple[int, Piece]] = []
        for group in groups:
            planted += zip(sorted(rng.choice(places) for _ in group.statements), group.statements)
        planted.sort(key=lambda each: each[0])
        pieces: list[Piece] = []
        for place, statement in planted:
            pieces += [Piece.of(corpus.tokens[start:place].astype(np.int32), Kind.PROSE), statement]
            start = place
        pieces.append(Piece.of(corpus.tokens[start:end].astype(np.int32), Kind.PROSE))
        return join(pieces)
