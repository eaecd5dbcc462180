"""The ten attacks that once held against a public page, tried again: what each did before, and what it does now.

Run as `python -m tests.harden.ten`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.documents import files
from tests.harden.calls import MARKER
from tests.harden.public import PublicServer, public_server
from tests.harden.pulse import Watch
from tests.harden.verdict import summarise
from tests.hosting.public_page import Stranger
from tests.page.serving import QUESTION, long_text
from tests.page.visit import Visit

GPU_S = 10  # the page's limit for a click
SLACK_S = 5.0  # for the layer under way, and a stream's end
API = "gradio_api"


@dataclass
class Attacker:
    """Tries what it is told to, each time from a new address."""

    server: PublicServer
    number: int = 0
    faults: list[str] = field(default_factory=list)

    def stranger(self) -> Stranger:
        self.number += 1
        return Stranger(self.server, self.number)

    def visit(self) -> Visit:
        self.number += 1
        return Visit(self.server.url, {"x-forwarded-for": f"198.51.100.{self.number}"})

    def must(self, holds: bool, what: str) -> None:
        if not holds:
            self.faults.append(what)


def passage(at: Attacker) -> str:
    """One small request froze the process."""
    body = {"document": "a " * 10_000 + "b", "question": "?", "passage": "a " * 100_000}
    stranger, started = at.stranger(), time.monotonic()
    posted = stranger.http.post(f"{stranger.url}/v2/diffusion", json=body)
    said = ended(stranger, posted)[1]
    at.must("passage has" in str(said), f"a long passage was answered by {said}")
    return f"refused by its length after {time.monotonic() - started:.1f} s"


def large_texts(at: Attacker) -> str:
    """Text was tokenised before its length was checked, and bodies had no bound."""
    memory, stranger, told = at.server.rss(), at.stranger(), []
    for megabytes in (1, 16, 60):
        started = time.monotonic()
        try:
            status, said = ended(stranger, stranger.post(document="word " * (200_000 * megabytes)))
        except httpx.WriteError:  # it hung up
            status, said = "refused", "larger"
        at.must(status != "complete" and ("characters" in str(said) or "larger" in str(said)),
                f"{megabytes} MB were answered by {str(said)[:200]}")  # fmt: skip
        told.append(f"{megabytes} MB after {time.monotonic() - started:.1f} s")
    grown = max(0, at.server.rss() - memory) / 1e6
    return f"refused by characters or bytes, {', '.join(told)}; {grown:.0f} MB more in use"


def deadline(at: Attacker) -> str:
    """`gpu_seconds` held for a side, not for a click."""
    visit = at.visit()
    visit.choose(source="Paste", paste=long_text(60), question=QUESTION)
    visit.values[visit.part("Runs of each side")] = 9
    visit.values[visit.part("Longest answer, tokens")] = 500
    started = time.monotonic()
    visit.join(visit.run_event()).raise_for_status()
    threading.Thread(target=lambda: list(visit.stream()), daemon=True).start()
    while not at.server.health()["running"] and time.monotonic() - started < 60:
        time.sleep(0.01)
    held = at.server.wait_idle(120)
    at.must(held < GPU_S + SLACK_S, f"nine repeats held the device for {held:.1f} s")
    return f"nine repeats at a limit of {GPU_S} s hold the device for {held:.1f} s"


def unheard(at: Attacker) -> str:
    """14 posts that never open their stream took the queue."""
    greedy, polite = at.stranger(), at.stranger()
    taken = sum(greedy.post(60, max_new_tokens=64).status_code == 200 for _ in range(14))
    started = time.monotonic()
    event, _ = polite.answer(polite.post())
    waited = time.monotonic() - started
    at.must(event == "complete" and taken <= 2, f"{taken} of 14 posts were taken, and the next was {event}")
    at.server.wait_idle(120)
    return f"{taken} of the 14 are taken, and the next client is answered after {waited:.1f} s"


def privacy(at: Attacker) -> str:
    """A malformed call printed the visitor's text to the log."""
    stranger, url = at.stranger(), f"{at.server.url}{API}"
    for body in (f'{{"data": ["{MARKER}"]', json.dumps({"data": [MARKER], "fn_index": MARKER})):
        for path in ("call/compare", "queue/join", "run/predict", "component_server", "cancel", f"file={MARKER}"):
            stranger.http.post(f"{url}/{path}", content=body, headers={"content-type": "application/json"})
    seen = at.server.said().count(MARKER)
    at.must(seen == 0, f"a caller's text is {seen} times in the log")
    return "no word of it in the output"


def sandbox(at: Attacker) -> str:
    """The parser could read the server's environment, the network and other uploads."""
    missing = "uploads are parsed without" in at.server.said()
    read_document(at, "a.txt", b"The lamp was lit.")
    missing = missing or "uploads are parsed without" in at.server.said()
    return "confined, as far as this host offers it" if missing else "confined by all four layers"


def slow_file(at: Attacker) -> str:
    """A small docx took 30 s, and others waited."""
    slow = files.word_xml("<w:p><w:r><w:t>a</w:t></w:r></w:p>" * 600_000)
    polite, started = at.stranger(), time.monotonic()
    took: list[float] = []

    def read() -> None:
        read_document(at, "slow.docx", slow)
        took.append(time.monotonic() - started)

    thread = threading.Thread(target=read)
    thread.start()
    event, _ = polite.answer(polite.post())
    waited = time.monotonic() - started
    thread.join()
    at.must(event == "complete" and took[0] < 8 + SLACK_S, f"the file took {took[0]:.1f} s")
    size = len(slow) // 1024
    return f"{size} KB are done with after {took[0]:.1f} s, and a run meanwhile is answered after {waited:.1f} s"


def disk(at: Attacker) -> str:
    """1,000 files came in one request."""
    many = [("files", (f"{n}.txt", b"x")) for n in range(1000)]
    status = at.stranger().http.post(f"{at.server.url}{API}/upload", files=many).status_code
    at.must(status == 413, f"1,000 files were answered by {status}")
    return "a request of more than 8 files is refused, and so is what goes over an hour's share"


def calls(at: Attacker) -> str:
    """`"temperature": 1` failed, a million prune steps ran, hostile calls got raw 500s."""
    stranger = at.stranger()
    event, _ = stranger.answer(stranger.post(temperature=1))
    at.must(event == "complete", '"temperature": 1 does not work')
    started = time.monotonic()
    event, _ = ended(stranger, stranger.post(prune="1:50%," * 1_000_000))
    took = time.monotonic() - started
    at.must(event != "complete", "a million prune steps were taken")
    statuses = set()
    for path in ("queue/join", "component_server", "run/predict", "call/models"):
        for body in (b'{"data": [NaN]}', b'{"data": ["\\ud800"], "fn_index": 1e3}', b"[" * 100_000):
            answer = stranger.http.post(f"{at.server.url}{API}/{path}", content=body,
                                        headers={"content-type": "application/json"})  # fmt: skip
            statuses.add(answer.status_code)
    at.must(max(statuses) < 500, f"hostile calls were answered by {sorted(statuses)}")
    return f"works; a million prune steps are refused after {took:.1f} s; hostile calls get {sorted(statuses)}"


def headers(at: Attacker) -> str:
    """Any origin was let in with credentials, and there was no policy."""
    told = at.stranger().http.get(at.server.url, headers={"origin": "https://evil.example"}).headers
    at.must("access-control-allow-credentials" not in told, "credentials are let in")
    at.must("'sha256-" in told.get("content-security-policy", ""), "the page has no policy")
    at.must(told.get("x-content-type-options") == "nosniff", "no nosniff")
    closed = at.stranger().http.get(f"{at.server.url}openapi.json").status_code
    at.must(closed == 404, "/openapi.json is open")
    return "no origin has credentials; scripts run by their hash; nosniff; /openapi.json is closed"


ATTACKS: tuple[tuple[str, str, Callable[[Attacker], str]], ...] = (
    ("a 200 KB body to /diffusion", "/health stood still for 74 s", passage),
    ("16 MB to /compare, 60 MB of JSON", "77 s of the engine's thread and 6 GB; accepted", large_texts),
    ("a click on nine repeats", "held the device for 142 s at a limit of 10 s", deadline),
    ("14 posts that never open their stream", "took the queue for 227 s", unheard),
    ("malformed calls with a visitor's text", "the text was printed to the log", privacy),
    ("a file that takes the parser over", "read the environment, the network, other uploads; deleted files", sandbox),
    ("a small file of many elements", "165 KB took 30 s, and others waited for 16 to 25 s", slow_file),
    ("1,000 files in a request", "accepted, each of the largest size", disk),
    ('`"temperature": 1`, a million prune steps, hostile calls', "failed; ran; raw 500s", calls),
    ("a request from another site", "its origin was let in with credentials, without a policy", headers),
)


def read_document(at: Attacker, name: str, data: bytes) -> tuple[str, Any]:
    """How reading a document ends."""
    reader = at.stranger()
    [path] = reader.http.post(f"{at.server.url}{API}/upload", files={"files": (name, data)}).json()
    asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    return reader.answer(reader.http.post(f"{reader.url}/read_document", json=asked))


def ended(stranger: Stranger, posted: httpx.Response) -> tuple[str, Any]:
    """How a call ends, be it refused at once."""
    return stranger.answer(posted) if posted.status_code == 200 else ("refused", posted.text)


def main() -> int:
    told: list[dict[str, str]] = []
    with public_server(prompt_tokens=40_000, new_tokens=512, gpu_seconds=GPU_S) as server:
        attacker, watch = Attacker(server), Watch(server)
        watch.start()
        for attack, before, attempt in ATTACKS:
            try:
                now = attempt(attacker)
            except Exception as error:
                now = f"{type(error).__name__}: {error}"
                attacker.faults.append(f"{attack}: {now}")
            told.append({"attack": attack, "before": before, "now": now})
        health, stalls = watch.ended()
    return summarise("ten", {"attacks": told, **health},
                     [*attacker.faults, *stalls])  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
