"""Calls that are none: refused before Gradio takes them apart, each with what is wrong and without a word of it."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest

from tests.page.serving import QUESTION, Served
from tests.page.visit import Visit

SECRET = "Zanzibar48213"
API = "gradio_api"


@pytest.fixture(scope="module")
def visit(page: Served) -> Visit:
    return Visit(page.url)


def posted(page: Served, path: str, body: Any) -> httpx.Response:
    return httpx.post(f"{page.url}{API}/{path}", json=body, timeout=60)


ENDPOINTS = [
    ("call/nothing", {"data": []}, "no such endpoint"),
    ("call/run", {"data": []}, "no such endpoint"),
    ("call/models", {"data": 7}, "no list of the endpoint's 1"),
    ("call/models", {"data": []}, "no list of the endpoint's 1"),
    ("call/models", {}, "no list"),
    ("call/models", [SECRET], "no JSON object"),
    ("call/v2/models", {SECRET: 1}, "not one that the endpoint takes"),
    ("call/v2/compare", {"question": SECRET}, "argument document is missing"),
    ("call/models", {"data": [1], "session_hash": {"a": SECRET}}, "session_hash is no name"),
    ("call/models", {"data": [1], "session_hash": f"../{SECRET}"}, "session_hash is no name"),
    ("cancel", {"session_hash": "a", "event_id": "b", "fn_index": SECRET}, "fn_index is no whole number"),
    ("cancel", {"fn_index": 1}, "event_id is missing"),
    ("reset", {"event_id": [SECRET]}, "event_id is no name"),
    ("queue/join", {"data": [], "fn_index": 10**9, "session_hash": "a"}, "no event of the page"),
    ("queue/join", {"data": [], "fn_index": True, "session_hash": "a"}, "no event of the page"),
    ("queue/join", {"data": [], "session_hash": "a"}, "no event of the page"),
    ("run/predict", {"data": [SECRET], "fn_index": SECRET}, "no event of the page"),
    ("component_server", {"component_id": SECRET, "fn_name": "kept_panel"}, "no component with functions"),
    ("component_server", {"component_id": -1, "fn_name": "__init__", "session_hash": "a"}, "no component with"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "words"), ENDPOINTS)
def test_a_call_that_is_none_is_told_what_is_wrong(page: Served, path: str, body: Any, words: str) -> None:
    answer = posted(page, path, body)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert SECRET not in answer.text


def test_every_event_refuses_another_number_of_values(page: Served, visit: Visit) -> None:
    for event in visit.config["dependencies"]:
        body = visit.body(event) | {"data": [None] * (len(event["inputs"]) + 1)}
        assert posted(page, "run/predict", body).status_code == 422


def test_events_that_compute_are_reached_through_the_queue_only(page: Served, visit: Visit) -> None:
    for name in ("run", "upload", "compare-methods", "measure-diffusion"):
        event = visit.event(name) if "-" in name else visit.called(name)
        assert posted(page, "run/predict", visit.body(event)).status_code == 404


ODD = (None, SECRET, -1, 10**12, 1e300, True, [SECRET], {SECRET: SECRET})


@pytest.mark.parametrize("first", [0, 3, 6])
def test_odd_values_of_the_page_s_own_events_are_refused_without_a_fault(
    page: Served, visit: Visit, first: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Every value of every event in turn: an answer, or a refusal in one sentence with nothing of it in the log."""
    odd = itertools.islice(itertools.cycle(ODD), first, None)
    for event in visit.config["dependencies"]:
        if event["queue"] or not event["backend_fn"]:
            continue
        for at in range(len(event["inputs"])):
            body = visit.body(event)
            body["data"][at] = next(odd)
            answer = posted(page, "run/predict", body)
            assert answer.status_code in (200, 422), (event["api_name"], at, answer.text[:300])
            assert answer.status_code == 200 or answer.json()["error"].endswith((".", ").")), answer.text[:300]
            assert "Traceback" not in answer.text
    written = capfd.readouterr()
    assert SECRET not in written.out + written.err + caplog.text


@pytest.mark.parametrize("odd", [None, SECRET, 1e300, -5, True, [SECRET], {SECRET: 1}])
@pytest.mark.parametrize("function", ["kept_panel", "kept_cell"])
def test_functions_of_components_take_odd_data(page: Served, visit: Visit, function: str, odd: Any) -> None:
    served = [part["id"] for part in visit.config["components"] if part["props"].get("server_fns")]
    part = next(part for part in served if function in page_functions(visit, part))
    for field in ("key", "width", "start", "end", "layer", "position"):
        data = {"key": "a", "width": 1, "start": 0, "end": 1, "layer": 0, "position": 0} | {field: odd}
        body = {"component_id": part, "fn_name": function, "session_hash": "a", "data": data}
        assert posted(page, "component_server", body).status_code in (200, 422)


def page_functions(visit: Visit, part: int) -> list[str]:
    [props] = [each["props"] for each in visit.config["components"] if each["id"] == part]
    return [str(name) for name in props["server_fns"]]


@pytest.mark.parametrize(
    ("kind", "code"),
    [("application/json", 200), ("application/json; charset=utf-8", 200), ("text/plain", 415), ("", 415),
     ("multipart/form-data; boundary=x", 415), ("application/x-www-form-urlencoded", 415)],
)  # fmt: skip
def test_a_call_says_that_it_is_json(page: Served, kind: str, code: int) -> None:
    """A form on another site can send the others without asking."""
    url = f"{page.url}{API}/call/models"
    assert httpx.post(url, content=b'{"data": [1]}', headers={"content-type": kind}).status_code == code


def test_half_a_character_is_mended(page: Served) -> None:
    body = b'{"document": "A lamp \\ud83d was lit.", "question": "What\\udc00?", "max_new_tokens": 1}'
    url = f"{page.url}{API}/call"
    posted = httpx.post(f"{url}/v2/compare", content=body, headers={"content-type": "application/json"})
    answer = httpx.get(f"{url}/compare/{posted.json()['event_id']}", timeout=60).text
    assert "event: complete" in answer


def test_numbers_without_a_point_are_numbers(page: Served) -> None:
    asked = {"document": "A lamp.", "question": QUESTION, "max_new_tokens": 2, "temperature": 1, "top_p": 1, "gamma": 1}
    answers = []
    for changes in ({}, {"temperature": 1.0}, {"max_new_tokens": 2.0}):
        event = posted(page, "call/v2/compare", asked | changes | {"active": 1}).json()["event_id"]
        text = httpx.get(f"{page.url}{API}/call/compare/{event}", timeout=60).text
        assert "event: complete" in text
        answers.append(text.rpartition('"text": "')[2].partition('"')[0])
    assert len(set(answers)) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -1}, "The seed is -1"),
        ({"temperature": 1e-9}, "leaves one token only"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"temperature": True}, "temperature must be a number"),
        ({"max_new_tokens": 2.5}, "max_new_tokens must be a whole number"),
        ({"document": ["x"]}, "document must be text"),
        ({"active_preserve": 1}, "active_preserve must be true or false"),
        ({"prune": "1:1," * 1_000_000}, "give fewer"),
        ({"model": None}, "model must be text"),
    ],
)
def test_odd_arguments_are_refused_before_the_run(page: Served, changes: dict[str, Any], words: str) -> None:
    asked = {"document": "A lamp.", "question": QUESTION, "max_new_tokens": 2} | changes
    started = posted(page, "call/v2/compare", asked)
    answer = httpx.get(f"{page.url}{API}/call/compare/{started.json()['event_id']}", timeout=60).text
    assert "event: error" in answer
    assert words in answer
