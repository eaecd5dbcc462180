"""Nothing of a visitor reaches the output of a public page, however malformed the call that carries it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.harden.calls import MARKER, Call, calls
from tests.harden.public import public_server
from tests.harden.server import Server
from tests.page.visit import Visit


@pytest.fixture(scope="module", params=["public", "one's own"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if request.param == "public":
        with public_server() as up:
            yield up
        return
    up = Server(tmp_path_factory.mktemp("own"))
    try:
        up.wait()
        yield up
    finally:
        up.stop()


def said(server: Server) -> str:
    """All that the page has written to standard output and standard error."""
    return (server.folder / "server.log").read_text(errors="replace")


def test_a_marker_in_every_malformed_call_is_not_in_the_output(server: Server) -> None:
    config = httpx.get(f"{server.url}config", timeout=60).json()
    info = httpx.get(f"{server.url}gradio_api/info", timeout=60).json()
    with httpx.Client(base_url=server.url, timeout=60) as http:

        @seed(11)
        @settings(max_examples=250, phases=[Phase.generate], database=None, deadline=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(calls(config, info))
        def send(call: Call) -> None:
            with http.stream(call.method, call.path, content=call.content, headers=call.headers) as answer:
                assert answer.status_code < 500 or b"full" in answer.read()

        send()
    assert MARKER not in said(server)


def test_a_marker_in_a_visit_that_goes_well_or_badly_is_not_in_the_output(server: Server) -> None:
    """A run on a text, an upload that is read and one that is not, links, a passage, calls that are refused."""
    visit = Visit(server.url)
    url = f"{server.url}gradio_api"
    for name, content in (("a.txt", MARKER.encode()), (f"{MARKER}.pdf", b"%PDF-1.7\n" + MARKER.encode())):
        [path] = visit.http.post(f"{url}/upload", files={"files": (name, content)}).json()
        asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}, "orig_name": name}]}
        event = visit.http.post(f"{url}/call/read_document", json=asked).json()["event_id"]
        assert MARKER in visit.http.get(f"{url}/call/read_document/{event}").text
    visit.choose(source="Paste", paste=f"{MARKER} is the code. " * 20, question=f"What is {MARKER}?", phrase=MARKER)
    for event in (visit.run_event(), visit.event("measure-diffusion"), visit.event("compare-methods")):
        visit.join(event).raise_for_status()
        assert [message for message in visit.stream() if message["msg"] == "process_completed"]
    for query in (f"question={MARKER}", f"prune={MARKER}", f"model={MARKER}", f"seed={MARKER}"):
        assert visit.http.get(f"{server.url}?{query}").status_code == 200
    for body in (f'{{"data": ["{MARKER}"]', json.dumps({"data": [MARKER], "fn_index": MARKER})):
        for path in ("call/compare", "queue/join", "run/predict", "component_server"):
            answer = visit.http.post(f"{url}/{path}", content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (400, 422)
    assert MARKER not in said(server)
    assert "Traceback" not in said(server)
