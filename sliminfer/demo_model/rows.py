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


# The share of documents that hold chains of variables, and the most tokens of one quotation with its question.
_CHAIN_ROWS = 0.3
_QUOTE_ROOM = 104


class Kind(IntEnum):
    """What a token counts as when it is the one to be predicted. CHAIN is an answer of the tracking suite."""

    NOTHING = 0
    PROSE = 1
    COPY = 2
    ANSWER = 3
    CHAIN = 4


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
        """A passage (of the corpus, its tokens shuffled, random tokens, or tokens of a small alphabet, where only a
        longer context tells places apart), then spans of it again."""
        first = max(8, int(size * rng.uniform(0.3, 0.6)))
        passage = self._window(rng, first, []).ids
        generator = np.random.default_rng(rng.getrandbits(64))
        source = rng.random()
        unknown = 2
        if source < 0.3:
            alphabet = generator.integers(EOS + 1, len(self.corpus.starts_word), max(8, int(first**0.5)))
            passage = generator.choice(alphabet, first).astype(np.int32)
            unknown = 5
        elif source < 0.5:
            passage = generator.integers(EOS + 1, len(self.corpus.starts_word), first, dtype=np.int32)
        elif source < 0.7:
            passage = generator.permutation(passage)
        pieces = [Piece.of([BOS], Kind.NOTHING), Piece.of(passage, Kind.NOTHING)]
        filled = 1 + len(passage)
        longest = min(64, len(passage))
        while filled < size:
            count = rng.randint(min(8, longest), longest)
            begin = rng.randrange(len(passage) - count + 1)
            span = passage[begin : begin + count]
            # The first tokens of a span cannot be known.
            pieces += [Piece.of(span[:unknown], Kind.NOTHING), Piece.of(span[unknown:], Kind.COPY)]
            filled += len(span)
        row = join(pieces)
        return Piece(row.ids[:size], row.kinds[:size])

    def _document(self, rng: Random, size: int) -> Piece:
        chains = size >= 200 and rng.random() < _CHAIN_ROWS
        groups = self._groups(rng, size, chains)
        rest = size - 1 - sum(group.size for group in groups)
        room = int(rest * (0.6 if size < 400 else 0.45 if size < 1500 else rng.uniform(0.1, 0.4)))
        # Quotations have their share of the room before the questions: short of it, they stay unlearned.
        quotes = int(room * (rng.uniform(0.0, 0.3) if chains else rng.uniform(0.3, 0.95))) // _QUOTE_ROOM
        room -= _QUOTE_ROOM * quotes
        rest -= _QUOTE_ROOM * quotes
        asked: list[Piece] = []
        for group in groups:
            if len(group.query.ids) <= room:
                asked.append(group.query)
                room -= len(group.query.ids)
                rest -= len(group.query.ids)
        rng.shuffle(groups)
        document = self._window(rng, max(rest, 8), groups)
        pieces = asked + [self._quote(rng, document.ids) for _ in range(quotes)]
        rng.shuffle(pieces)
        row = join([Piece.of([BOS], Kind.NOTHING), document, *pieces])
        return Piece(row.ids[:size], row.kinds[:size])

    def _groups(self, rng: Random, size: int, chains: bool) -> list[Group]:
        """Facts that fill at most two fifths of the row (a quarter of a long one), in random order.

        With `chains` they are nearly all chains of variables.
        """
        most = 0.4 if size < 400 or (chains and size < 1500) else 0.25
        room = int(size * most * rng.uniform(0.1, 1.0)) if size > 200 else size * 0.45
        if chains:
            room = max(room, min(80, size * 0.4))
        groups: list[Group] = []
        for _ in range(60):
            if chains and rng.random() < 0.9:
                made = [self._tracking(rng)]
            elif size >= 160 and rng.random() < 0.08:
                made = [self._values(rng)]
            else:
                made = self._facts(rng)
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

    def _tracking(self, rng: Random) -> Group:
        """Chains of variables, one of them asked for."""
        plan = plan_tracking(rng, "train", hops=rng.choice((0, 1, 1, 2, 2, 3, 3, 4)), chains=rng.choice((1, 1, 2, 3)))
        statements = [self._statement(text) for text, _ in plan.statements]
        return Group(statements, self._question(rng, plan.question, ", ".join(plan.answers), Kind.CHAIN))

    def _values(self, rng: Random) -> Group:
        """Several values of one attribute of one entity."""
        plan = plan_multivalue(rng, "train", values=rng.randint(1, 4), distractors=rng.randint(0, 4))
        statements = [self._statement(text) for text, _ in plan.statements]
        return Group(statements, self._question(rng, plan.question, ", ".join(plan.answers)))

    def _statement(self, text: str) -> Piece:
        return Piece.of(self.encoder.encode(" " + text), Kind.NOTHING)

    def _question(self, rng: Random, question: str, answer: str, kind: Kind = Kind.ANSWER) -> Piece:
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
        return join([asked, Piece.of([*encode(f" {answer}."), EOS], kind)])

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
        later = words[words >= start + rng.randint(7, 18)]
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
