"""Turns go round by client; and a public page on a virtual clock, with one hostile client among polite ones."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viz.page.turns import Use, in_turn, may_wait

CLIENTS = st.sampled_from("abcd")
WAITING = st.lists(CLIENTS, max_size=20)


def turns(waiting: list[str], under_way: dict[str, int], used: dict[str, float]) -> list[tuple[str, int]]:
    """Clients in the order of their turns, each with the place in which it came."""
    came = list(zip(waiting, range(len(waiting)), strict=True))
    return in_turn(came, lambda event: event[0], under_way, lambda client: used.get(client, 0.0))


def test_a_client_with_much_waiting_gets_every_nth_turn() -> None:
    assert "".join(client for client, _ in turns(list("aaaaabcb"), {}, {})) == "abcabaaa"


@given(WAITING, st.dictionaries(CLIENTS, st.integers(0, 3)), st.dictionaries(CLIENTS, st.floats(0, 100)))
def test_turns_go_round(waiting: list[str], under_way: dict[str, int], used: dict[str, float]) -> None:
    order = turns(waiting, under_way, used)
    assert sorted(order) == sorted(zip(waiting, range(len(waiting)), strict=True))
    for client in set(waiting):
        own = [place for name, place in order if name == client]
        assert own == sorted(own), "a client's own keep the order in which they came"
    had = Counter(under_way)
    for at, (client, place) in enumerate(order):
        for other, later in order[at + 1 :]:
            assert had[client] <= had[other] or client == other, "nobody has a second turn before another's first"
            if had[client] == had[other] and client != other:
                first = (used.get(client, 0.0), place) < (used.get(other, 0.0), later)
                assert first, "in a round whoever had the device least comes first"
        had[client] += 1


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1000)), max_size=10))
def test_use_is_what_was_used_less_what_is_forgotten(uses: list[tuple[float, float]]) -> None:
    use, moment, halves = Use(), 0.0, 0.0
    for seconds, pause in uses:
        moment += pause
        use, halves = use.after(seconds, moment), halves * 0.5 ** (pause / 600) + seconds
    assert use.now(moment) == pytest.approx(halves)
    assert use.now(moment + 600) == pytest.approx(halves / 2)


@given(st.integers(1, 50), st.data())
def test_one_client_leaves_half_of_the_places_to_others(places: int, data: st.DataObject) -> None:
    waiting = data.draw(st.integers(0, places))
    assert may_wait(waiting, 0, places) == (waiting < places)
    assert not may_wait(waiting, 1, places) or 2 * waiting < places


@dataclass
class Asker:
    """Asks for `cost` seconds of the device, `at_once` runs at a time, each again some `pause` after it ended; where
    the queue is full it comes again after some `retry`."""

    name: str
    cost: float
    pause: float
    retry: float
    at_once: int = 1
    waits: list[float] = field(default_factory=list)


@dataclass
class Page:
    """The queue's rules on a virtual clock, with one device and `places`."""

    places: int = 8
    per_client: int = 2
    now: float = 0.0
    waiting: list[tuple[str, float, Asker]] = field(default_factory=list)
    running: Asker | None = None
    used: dict[str, Use] = field(default_factory=dict)

    def run(self, askers: list[Asker], seconds: float) -> None:
        """Let `askers` come and go for so long; fills in their waits, tries at a full queue included."""
        order, random = count(), Random(1)
        events: list[tuple[float, int, Asker, float | None]] = [
            (0.1 * place, next(order), asker, None)
            for place, asker in enumerate(askers)
            for _ in range(asker.at_once)
        ]  # fmt: skip
        heapq.heapify(events)
        over: tuple[float, float] | None = None  # when the run under way ends, and when it was asked for
        while events and self.now < seconds:
            if over is not None and over[0] <= events[0][0]:
                self.now, asked = over
                asker = self._ended()
                asker.waits.append(self.now - asked)
                heapq.heappush(events, (self.now + random.uniform(0, asker.pause), next(order), asker, None))
                over = None
            else:
                self.now, _, asker, since = heapq.heappop(events)
                asked = self.now if since is None else since
                if self._refused(asker.name):
                    heapq.heappush(events, (self.now + random.uniform(0.2, 1) * asker.retry, next(order), asker, asked))
                else:
                    self.waiting.append((asker.name, asked, asker))
            if over is None and self.waiting:
                over = self._begin()

    def _begin(self) -> tuple[float, float]:
        used = lambda client: self.used.get(client, Use()).now(self.now)  # noqa: E731
        self.waiting = in_turn(self.waiting, lambda event: event[0], {}, used)
        _, asked, self.running = self.waiting.pop(0)
        return self.now + self.running.cost, asked

    def _ended(self) -> Asker:
        assert self.running is not None
        asker, self.running = self.running, None
        self.used[asker.name] = self.used.get(asker.name, Use()).after(asker.cost, self.now)
        return asker

    def _refused(self, client: str) -> bool:
        own = sum(name == client for name, _, _ in self.waiting)
        running = self.running is not None and self.running.name == client
        return own + running >= self.per_client or not may_wait(len(self.waiting), own, self.places)


def polite_waits(hostile: list[Asker], seconds: float = 1200) -> list[float]:
    """The mean wait of each of 20 polite clients, in seconds."""
    polite = [Asker(f"polite {n}", cost=1.0, pause=2.0, retry=1.0) for n in range(20)]
    Page().run(polite + hostile, seconds)
    assert all(asker.waits for asker in polite), "everyone is answered"
    return [sum(asker.waits) / len(asker.waits) for asker in polite]


@pytest.mark.parametrize(
    "hostile",
    [
        Asker("hostile", cost=1.0, pause=0.0, retry=0.1, at_once=14),
        Asker("hostile", cost=15.0, pause=0.0, retry=0.1, at_once=14),  # streams that it never opens
        Asker("hostile", cost=60.0, pause=0.0, retry=0.1, at_once=14),  # runs as long as they may be
        Asker("hostile", cost=0.01, pause=0.0, retry=0.1, at_once=32),
    ],
    ids=["floods", "unheard", "long runs", "cheap calls"],
)
def test_twenty_polite_clients_are_answered_within_twice_their_time(hostile: Asker) -> None:
    without, beside = polite_waits([]), polite_waits([hostile])
    assert hostile.waits, "the hostile client gets its turns as well"
    assert max(new / old for new, old in zip(beside, without, strict=True)) < 2
