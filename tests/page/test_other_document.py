"""Another document is chosen while a run is under way, or after it: nothing of the run is taken for the new one's."""

from __future__ import annotations

from tests.page.driver import Driver
from tests.page.serving import Served


def test_a_run_that_ends_after_its_document_was_left_does_not_show_it_again(page: Served) -> None:
    visit = Driver(page.url)
    visit.give("example", "archive", "input")
    visit.choose(question="Who?")
    event, meanwhile = visit.run_event(), False
    joined, last = visit.join(event).json()["event_id"], dict[int, object]()
    for message in visit.stream():
        if message.get("event_id") == joined and message["msg"] == "process_generating" and not meanwhile:
            visit.give("example", "tower", "input")
            meanwhile = True
        if message.get("event_id") == joined and message["msg"] == "process_completed":
            last = dict(zip(event["outputs"], message["output"]["data"], strict=True))
            break
    assert "Done" in str(last[visit.part("status")])
    assert "value" not in last[visit.part("document-text")]  # type: ignore[operator]
    visit.press("trace")
    assert "another document" in visit.shown("status")
    visit.http.close()
