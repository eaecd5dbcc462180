"""The queue of the page: Gradio's, made so that no client can take it from the others.

Each kind of work has places of its own, so that documents do not wait behind runs nor runs behind documents. A client
holds a few of them at a time, turns go round by client (`turns`), and what nobody listens to is dropped.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr

from viz.door.client import client_of
from viz.page.compat import Event, EventQueue, Queue, concurrency_id, forget_session, has_own_session, keep_records
from viz.page.stream import READING_QUEUE
from viz.page.turns import Use, in_turn, may_wait

HEARD_WITHIN_S = 15.0  # to call by hand, with two commands of curl, takes a few
LOOK_S = 0.5
MOST_RECORDS = 100  # of past calls, from which Gradio makes a table anew after every one that failed
MOST_UNREAD = 2_000  # updates: minutes of a run whose listener reads nothing


@dataclass(frozen=True)
class Places:
    """How many events may wait for each kind of work, and on what terms.

    Attributes:
        waiting: most of them.
        per_client: most of one client's, running ones included; None for no bound, since on a machine of one's own all
            clients are its owner.
        heard_within_s: how long an event may go without a listener.
        reading_s: most seconds for which the documents of one client are read, of which half are forgotten as those on
            the device are (`turns.Use`). Reading is done beside the runs, and takes the processor from them.
    """

    waiting: int
    per_client: int | None = None
    heard_within_s: float = HEARD_WITHIN_S
    reading_s: float = 60.0


class VisitorQueue(Queue):
    """The queue of one served page."""

    def __init__(
        self, page: gr.Blocks, places: Places, concurrency: int, forget: Callable[[str], None] = lambda session: None
    ) -> None:
        """`forget` is told of each session that a call without one had for itself, once the call is over."""
        super().__init__(
            live_updates=True, concurrency_count=1, update_intervals=1, max_size=None, blocks=page,
            default_concurrency_limit=concurrency,
        )  # fmt: skip
        self.places, self._forget = places, forget
        keep_records(self, MOST_RECORDS)
        self._listeners: Counter[str] = Counter()
        self._coming: Counter[tuple[str, str]] = Counter()
        self._used: dict[str, Use] = {}
        self._read: dict[str, Use] = {}
        self._since: dict[Event, float] = {}
        self._silent: dict[str, float] = {}
        self._takes: dict[str, float] = {}

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Queue an event, or say in a sentence why not."""
        if body.fn_index is None:
            return await super().push(body, request, username)
        kind = concurrency_id(self.blocks, body)
        client = client_of(request)
        refused = self._refused(kind, client)
        if refused:
            return False, refused, "queue_full"
        self._silent.pop(body.session_hash, None)  # its stream is about to be opened again
        self._coming[kind, client] += 1  # Gradio waits in between, where the next call of the same client might come
        try:
            return await super().push(body, request, username)
        finally:
            self._coming[kind, client] -= 1

    def get_events(self) -> tuple[list[Event], bool, str] | None:
        """Whose turn it is. Asked a thousand times a second while anything waits, so only what may begin is ordered."""
        now = time.monotonic()
        for kind, queue in self.event_queue_per_concurrency_id.items():
            free = queue.concurrency_limit is None or queue.current_concurrency < queue.concurrency_limit
            if free and len(queue.queue) > 1:
                under_way = Counter(map(_client, self._running(kind)))
                queue.queue[:] = in_turn(queue.queue, _client, under_way, lambda client: self._use(client, now))
        return super().get_events()

    async def process_events(self, events: list[Event], *rest: Any, **more: Any) -> None:
        """Run them, and remember for how long."""
        started = time.monotonic()
        self._since |= dict.fromkeys(events, started)
        try:
            await super().process_events(events, *rest, **more)
        finally:
            now = time.monotonic()
            for event in events:
                kind = str(event.concurrency_id)
                self._takes[kind] = (self._takes.get(kind, now - started) + now - started) / 2
                del self._since[event]
                for uses in (self._used, self._read) if kind == READING_QUEUE else (self._used,):
                    uses[_client(event)] = uses.get(_client(event), Use()).after(now - started, now)
                if has_own_session(event):  # a program's call without a session has no state to come back to
                    forget_session(self.blocks, event.session_hash)
                    asyncio.get_running_loop().run_in_executor(None, self._forget, event.session_hash)
            self._used = {client: use for client, use in self._used.items() if use.now(now) > 0.1}
            self._read = {client: use for client, use in self._read.items() if use.now(now) > 0.1}

    def send_message(self, event: Event, event_message: Any) -> None:
        """Pass a message on to the event's listener; one who has stopped reading is taken to be gone."""
        unread = self.pending_messages_per_session.get(event.session_hash)
        if unread is not None and unread.qsize() > MOST_UNREAD:
            event.alive = False
        super().send_message(event, event_message)

    def session_of(self, event: str) -> str:
        """The session that event belongs to; an event of no session is one of its own."""
        known = self.event_ids_to_events.get(event)
        return event if known is None else str(known.session_hash)

    @contextmanager
    def listening(self, session: str) -> Iterator[None]:
        """The block is the time for which somebody listens to the events of `session`."""
        self._listeners[session] += 1
        try:
            yield
        finally:
            self._listeners[session] -= 1
            if not self._listeners[session]:
                del self._listeners[session]

    def ahead(self, kind: str) -> tuple[int, float]:
        """Events of `kind` that wait or run, and the seconds that they take if they are as long as late ones."""
        known = self.event_queue_per_concurrency_id.get(kind)
        running = sum(event.concurrency_id == kind for job in self.active_jobs if job is not None for event in job)
        number = running + (0 if known is None else len(known.queue))
        return number, number * self._takes.get(kind, 0.0)

    async def drop_unheard(self) -> None:
        """For as long as the page is up: end what nobody listens to, waiting or running, and forget what it said."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            # Whether anybody ever listened is not asked: Gradio ends the events of a stream that is closed by itself.
            heard = {session for session in self.pending_messages_per_session if self._listeners[session]}
            self._silent = {
                session: self._silent.get(session, now)
                for session in self.pending_messages_per_session
                if session not in heard
            }
            late = [session for session, since in self._silent.items() if now - since > self.places.heard_within_s]
            for session in late:
                await self.clean_events(session_hash=session)
                self.pending_event_ids_session.pop(session, None)
                self.pending_messages_per_session.pop(session, None)

    def _refused(self, kind: str, client: str) -> str:
        """Why `client` may not queue anything of `kind` now; empty if it may."""
        coming = sum(number for (other, _), number in self._coming.items() if other == kind)
        queue = self.event_queue_per_concurrency_id.get(kind, EventQueue(kind, None))
        waiting, most = len(queue.queue) + coming, self.places.per_client
        own = sum(_client(event) == client for event in queue.queue) + self._coming[kind, client]
        if waiting >= self.places.waiting:
            return f"Queue is full: {self.places.waiting} are waiting already. Try again in a minute."
        if most is None:
            return ""
        if kind == READING_QUEUE and self._read.get(client, Use()).now(time.monotonic()) > self.places.reading_s:
            return "Your documents have taken long to read: paste their text, or upload the next one in ten minutes."
        if own + sum(_client(event) == client for event in self._running(kind)) >= most:
            return f"Queue is full for you: {most} of your calls are waiting or running. Let one of them end first."
        if not may_wait(waiting, own, self.places.waiting):
            return "Queue is full for you: others wait, and one of your calls does already. Let it end first."
        return ""

    def _running(self, kind: str) -> list[Event]:
        """All events of `kind` under way."""
        events = [event for job in self.active_jobs if job is not None for event in job]
        return [event for event in events if event.concurrency_id == kind]

    def _use(self, client: str, now: float) -> float:
        """Seconds for which `client` has had the device, with those of what is under way."""
        under_way = sum(now - since for event, since in self._since.items() if _client(event) == client)
        return self._used.get(client, Use()).now(now) + under_way


def _client(event: Event) -> str:
    return client_of(event.request)
