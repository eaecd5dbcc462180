"""What the page remembers about one visitor, and the stop flags of the runs under way."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from sliminfer.cache import Link
from sliminfer.diffusion.result import DiffusionResult
from sliminfer.documents import Document
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span
from viz.figures.grid import Grid
from viz.figures.kept_map import KeptMap
from viz.figures.run_file import RunFile
from viz.figures.stored import Study
from viz.figures.table import Table
from viz.page.hands import Hands
from viz.page.live import LiveRun
from viz.page.part import Taken
from viz.page.past import Past
from viz.page.setup import Setup
from viz.page.subject import Subject
from viz.page.talk import Talk

TIME_TO_LIVE_S = 3600  # a visitor's text and results are forgotten an hour after the last click


@dataclass(frozen=True)
class Rivals:
    """Several methods on one document: their figures, and what each kept."""

    document: Document
    table: Table
    strips: Grid


@dataclass(frozen=True)
class OpenedStudies:
    """The evaluations of a file, and its name."""

    name: str
    studies: tuple[Study, ...]


@dataclass(eq=False)
class Visitor:
    """One visitor's document and last run. Lives in a `gr.State`, so nobody else sees it.

    Attributes:
        document: the text to ask about.
        taken: what of a longer document `document` is, and how it was chosen; None before any.
        model: the model that is chosen, as far as is known.
        uploaded: what the file that was uploaded last says, while it is not removed.
        tokens: length of its prompt in tokens, with the shortest question.
        evidence: character spans of the document that hold the answer to a suggested question.
        expected: what a right answer to that question says.
        ran: the setup of `run`, and `ran_at` when it ended, in UTC as ISO 8601.
        run: the last run, as far as it came, and `ran_evidence` the `evidence` of its question.
        spread: the last measurement of diffusion, with the document it was made on.
        rivals: the last comparison of methods.
        link: between device and host, where the cache's transfers are simulated.
        hands: what of the document is always kept or dropped.
        picked: characters of the document that were selected last.
        history: the finished runs, the latest last.
        talk: the conversation about the document.
        opened: the file that `run` came from, where it was none of this page's; `ran` is None then.
        studies: the evaluations of the file that was opened last.
        belongs: what each of the results that are shown belongs to, by the names of `Tab.notes`.
    """

    document: Document | None = None
    taken: Taken | None = None
    model: str = ""
    uploaded: Document | None = None
    tokens: int = 0
    evidence: tuple[Span, ...] = ()
    expected: str = ""
    ran: Setup | None = None
    ran_at: str = ""
    key: str = ""
    run: LiveRun = field(default_factory=LiveRun)
    ran_evidence: tuple[Span, ...] = ()
    spread: tuple[Document, DiffusionResult] | None = None
    rivals: Rivals | None = None
    link: Link = field(default_factory=Link)
    hands: Hands = field(default_factory=Hands)
    picked: Span | None = None
    history: tuple[Past, ...] = ()
    talk: Talk = field(default_factory=Talk)
    opened: RunFile | None = None
    studies: OpenedStudies | None = None
    belongs: dict[str, Subject] = field(default_factory=dict)

    def asks(self, setup: Setup) -> Subject:
        """What results of `setup` would belong to now."""
        return Subject(self.document, setup, self.hands)

    @property
    def ran_here(self) -> bool:
        """Whether `run` is of the document at hand: another one may be chosen while it is under way, and after."""
        of = self.belongs.get("run")
        return self.opened is None and (of is None or of.document == self.document)

    def read(self, taken: Taken, tokens: int) -> None:
        """What of a document is read from now on, of `tokens` tokens; nothing is settled about it yet."""
        self.taken, self.document, self.tokens, self.evidence = taken, taken.document, tokens, ()
        self.hands, self.picked = Hands(), None

    def forget(self) -> None:
        """Let go of the document and of everything that was found out about it."""
        self.document, self.uploaded, self.taken, self.tokens, self.evidence = None, None, None, 0, ()
        self.expected = ""
        self.belongs, self.hands, self.picked, self.history = {}, Hands(), None, ()
        self.ran, self.run, self.spread, self.rivals = None, LiveRun(), None, None
        self.ran_evidence, self.talk = (), Talk()
        self.opened, self.studies = None, None


class StopFlags:
    """One flag for each session with a run under way; setting it stops the run at the next layer."""

    def __init__(self) -> None:
        self._flags: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def begin(self, session: str) -> threading.Event:
        """A fresh flag for a run of `session`; a run of the same session that is still going is told to stop."""
        flag = threading.Event()
        with self._lock:
            before = self._flags.get(session)
            self._flags[session] = flag
        if before is not None:
            before.set()
        return flag

    def stop(self, session: str) -> bool:
        """Stop the run of `session`; False where there is none."""
        with self._lock:
            flag = self._flags.get(session)
        if flag is not None:
            flag.set()
        return flag is not None

    def is_running(self, session: str) -> bool:
        """Whether a run of `session` is under way."""
        with self._lock:
            return session in self._flags

    def under_way(self) -> list[threading.Event]:
        """The flags of all runs under way."""
        with self._lock:
            return list(self._flags.values())

    def end(self, session: str, flag: threading.Event) -> None:
        """Forget `flag` if it is still the one of `session`."""
        with self._lock:
            if self._flags.get(session) is flag:
                del self._flags[session]


@dataclass(frozen=True)
class StoredMap:
    """A kept-token map with the prompt it belongs to."""

    kept: KeptMap
    prompt: Prompt


class ResultStore:
    """Kept-token maps that browsers may ask about, under keys that cannot be guessed.

    A browser's calls for a tile or a cell come without Gradio's session, so the key is the visitor's right
    to see the result. The oldest of more than `most` results, or of results on more than `most_tokens` tokens together,
    is dropped, and any after `TIME_TO_LIVE_S`.
    """

    def __init__(self, most: int = 64, most_tokens: int = 2_000_000) -> None:
        self._most, self._most_tokens = most, most_tokens
        self._maps: OrderedDict[str, tuple[float, StoredMap]] = OrderedDict()
        self._lock = threading.Lock()

    @staticmethod
    def new_key() -> str:
        """A fresh key."""
        return secrets.token_urlsafe(16)

    def put(self, key: str, stored: StoredMap) -> None:
        """Keep `stored` under `key`, in place of what was there."""
        now = time.monotonic()
        with self._lock:
            self._maps[key] = (now, stored)
            self._maps.move_to_end(key)
            tokens = sum(kept.kept.tokens for _, kept in self._maps.values())
            while len(self._maps) > 1 and self._too_many(tokens, now):
                _, (_, gone) = self._maps.popitem(last=False)
                tokens -= gone.kept.tokens

    def _too_many(self, tokens: int, now: float) -> bool:
        oldest, _ = next(iter(self._maps.values()))
        return len(self._maps) > self._most or tokens > self._most_tokens or oldest < now - TIME_TO_LIVE_S

    def get(self, key: str) -> StoredMap | None:
        """What is kept under `key`, or None if it is not (any more) there."""
        with self._lock:
            entry = self._maps.get(key)
        return entry[1] if entry is not None and entry[0] >= time.monotonic() - TIME_TO_LIVE_S else None
