"""What one client has open at once, and how often it asks, is bounded; others notice nothing of it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from tests.coroutines import complete
from viz.door import pace as pace_module
from viz.door.admission import Admission
from viz.door.pace import Pace


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 3)), max_size=60), st.integers(1, 8), st.integers(1, 9))
def test_after_a_burst_a_client_has_so_many_a_second(
    asked: list[tuple[str, float]], a_second: int, burst: int
) -> None:
    now, let_in = 0.0, dict[str, list[float]](a=[], b=[])
    pace = Pace(a_second, burst, lambda: now)
    for client, pause in asked:
        now += pause
        let_in[client].append(now + pace.hold_s(client))
    for times in let_in.values():
        assert times == sorted(times)
        for at, start in enumerate(times):
            for later, end in enumerate(times[at:], start=1):
                assert later <= burst + (end - start) * a_second + 1 + 1e-6


@given(st.lists(st.floats(0.25, 3), max_size=30))
def test_whoever_keeps_to_the_pace_is_never_held(pauses: list[float]) -> None:
    now = 0.0
    pace = Pace(4, 1, lambda: now)
    for pause in pauses:
        now += pause
        assert pace.hold_s("a") < 1e-9


def test_clients_that_are_gone_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "_MANY", 10)
    now = 0.0
    pace = Pace(1, 1, lambda: now)
    for number in range(100):
        now += 2
        pace.hold_s(str(number))
    assert len(pace._paid) <= 11


def test_whoever_is_refused_and_goes_on_waits_for_itself() -> None:
    now = 0.0
    pace = Pace(100, 500, lambda: now)
    for _ in range(2):  # a full queue, tried again a little later: nothing is held
        pace.hold_s("polite"), pace.refused("polite")
        now += 0.6
    assert pace.hold_s("polite") == 0
    served = 0
    while now < 100:  # as fast as it can
        now += max(0.001, pace.hold_s("hostile"))
        pace.refused("hostile")
        served += 1
    assert served <= (500 + 100 * 100) / 11 + 2
    assert pace.hold_s("polite") == 0


def test_an_answer_that_refuses_is_counted() -> None:
    counted: list[str] = []

    class Noted(Pace):
        def refused(self, client: str) -> None:
            counted.append(client)

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": int(scope["path"][1:]), "headers": []})

    async def ask(status: int) -> None:
        scope = {"type": "http", "method": "GET", "path": f"/{status}", "headers": [], "client": (f"{status}", 1)}
        await Admission(refuse, Noted())(scope, receive, send)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None: ...

    for status in (200, 304, 404, 429, 503):
        complete(ask(status))
    assert counted == ["404", "429", "503"]


class Door:
    """An app behind `Admission` that answers once it is let to."""

    def __init__(self, at_once: int, files: int, pace: Pace | None = None) -> None:
        self.admission = Admission(self.app, pace, at_once, files)
        self.answered, self.began, self.may = Counter[int](), 0, asyncio.Event()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began += 1
        await self.may.wait()
        self.answered[200] += 1

    async def ask(self, client: str, path: str) -> None:
        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.answered[message["status"]] += 1

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "GET", "path": path, "headers": [], "client": (client, 1)}
        await self.admission(scope, receive, send)


def test_so_many_requests_of_a_client_are_open_and_another_s_are_let_in() -> None:
    async def visit() -> Counter[int]:
        door = Door(at_once=3, files=5)
        asked = [door.ask("192.0.2.1", "/config") for _ in range(10)]
        asked += [door.ask("192.0.2.1", "/assets/a.js") for _ in range(10)]
        asked += [door.ask("192.0.2.2", "/config") for _ in range(2)]
        tasks = [asyncio.create_task(each) for each in asked]
        while sum(door.answered.values()) + door.began < len(asked):
            await asyncio.sleep(0)
        door.may.set()
        await asyncio.gather(*tasks)
        await door.ask("192.0.2.1", "/config")
        return door.answered

    assert complete(visit()) == {200: 3 + 5 + 2 + 1, 429: 7 + 5}


def test_what_is_asked_too_often_is_held_and_then_answered() -> None:
    async def visit() -> tuple[int, Counter[int]]:
        moments = iter([0.0, 0.0, 0.0])
        door = Door(at_once=3, files=5, pace=Pace(100, 2, lambda: next(moments)))
        door.may.set()
        tasks = [asyncio.create_task(door.ask("192.0.2.1", "/config")) for _ in range(3)]
        while door.began < 2:
            await asyncio.sleep(0)
        at_once = door.began
        await asyncio.gather(*tasks)
        return at_once, door.answered

    assert complete(visit()) == (2, {200: 3})
