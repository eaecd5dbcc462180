"""The endpoints for programs, called over HTTP as a stranger's script would."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from sliminfer.engine.request import RunRequest
from sliminfer.errors import SlimError
from sliminfer.schedule.config import SlimConfig
from tests.page.serving import LAYERS, QUESTION, Served, long_text
from tests.page.visit import Visit
from viz.page.ask_api import answering


@pytest.fixture(scope="module")
def client(page: Served) -> Client:
    return Client(page.url, verbose=False)


def test_compare_gives_both_answers_and_their_figures(client: Client) -> None:
    result = client.predict(long_text(20), QUESTION, "4:25%", max_new_tokens=6, api_name="/compare")
    assert result["full"]["new_tokens"] == result["pruned"]["new_tokens"] == 6
    assert result["full"]["ttft_s"] > 0
    assert result["pruned"]["prompt_kv_bytes"] < result["full"]["prompt_kv_bytes"]
    assert [kept["layer"] for kept in result["pruned"]["kept"]] == [4]
    assert result["speedup"]["kv_bytes"] > 1


def test_compare_with_keep_one_agrees_with_the_full_model(client: Client) -> None:
    result = client.predict(long_text(5), QUESTION, "4:100%", max_new_tokens=8, api_name="/compare")
    assert result["pruned"]["text"] == result["full"]["text"]
    assert result["fidelity"] == {"first_token_kl": 0.0, "agreement": 1.0}


def test_compare_takes_the_decode_memory(client: Client) -> None:
    memory = {"active": 0.5, "refresh": 1, "gamma": 1.0, "active_preserve": True, "decode_unit_size": 4}
    result = client.predict(long_text(20), QUESTION, "4:50%", max_new_tokens=6, **memory, api_name="/compare")
    assert {name: result["config"][name] for name in memory} == memory
    placed, *looks = result["pruned"]["cache"]["events"]
    assert placed["block_bytes"] > 0
    assert looks


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ("dense", {})),
        ({"preset": "fast"}, ("sparse", {"share": 0.25})),
        ({"preset": "fast", "reading": "dense"}, ("dense", {})),
        ({"reading": "sparse", "reading_share": 0.5}, ("sparse", {"share": 0.5})),
    ],
)
def test_compare_reads_as_its_preset_does_unless_told(
    client: Client, asked: dict[str, object], expected: tuple[str, dict[str, float]]
) -> None:
    config = client.predict(long_text(20), QUESTION, max_new_tokens=2, **asked, api_name="/compare")["config"]
    assert (config["reading"], config["reading_options"]) == expected


def test_ask_reads_once_for_all_questions(client: Client) -> None:
    asked = [QUESTION, "Who came?"]
    result = client.predict(long_text(20), asked, "4:25%", max_new_tokens=3, api_name="/ask")
    assert [entry["question"] for entry in result["questions"]] == asked
    alone = client.predict(long_text(20), "Who came?", "4:25%", max_new_tokens=3, api_name="/compare")
    assert [result["questions"][1][side]["text"] for side in ("full", "pruned")] == [
        alone[side]["text"] for side in ("full", "pruned")
    ]
    assert 0 < result["reading"]["pruned"]["bytes"] < result["reading"]["full"]["bytes"]


def test_ask_counts_its_reading_and_stops_within_it(page: Served) -> None:
    """Before the document is read something comes, with which the call's time begins."""
    name, stop = page.site.start.model, threading.Event()
    requests = [RunRequest(long_text(20), question, SlimConfig.preset("paper", LAYERS)) for question in ("A?", "B?")]
    items = answering(page.site, name, requests, stop)
    assert next(items) is None
    stop.set()
    with pytest.raises(SlimError, match="reading was stopped"):
        next(items)


@pytest.mark.parametrize(
    ("questions", "words"),
    [([], "0 questions are"), ("When?", "give a list of texts"), (["What?"] * 17, "17 questions"), ([3], "a list")],
)
def test_ask_refuses_with_one_sentence(client: Client, questions: object, words: str) -> None:
    with pytest.raises(AppError, match=words) as caught:
        client.predict("A lamp was lit.", questions, api_name="/ask")
    assert "Traceback" not in str(caught.value)


def test_compare_keeps_and_drops_what_it_is_told(client: Client) -> None:
    document = long_text(20)
    dropped = document[len(document) // 2 : len(document) // 2 + 40].strip()
    wanted = {"keep": [document[300:340].strip()], "drop": [dropped]}
    asked = {"prune": "4:99%", "max_new_tokens": 2}
    plain = client.predict(document, QUESTION, **asked, api_name="/compare")
    result = client.predict(document, QUESTION, **asked, **wanted, api_name="/compare")
    assert result["pruned"]["kept"][0]["tokens"] < plain["pruned"]["kept"][0]["tokens"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keep": ["no such words"]}, "keep names 'no such words', which is not in the document"),
        ({"drop": "A lamp."}, "drop is 'A lamp.': give a list of texts"),
        ({"keep": [3]}, "keep has 3: give a text"),
        ({"keep": ["lamp"] * 65}, "keep has 65 passages: give up to 64"),
        ({"drop": ["lamp " * 1_000]}, "drop has a passage of more than 4,000 characters"),
        ({"gamma": 2.0}, "between 0 and 1"),
        ({"active": 0.0}, "not a fraction"),
        ({"prune": f"{LAYERS}:25%"}, "does not exist"),
        ({"prune": "four"}, "is not a prune step"),
        ({"preset": "brutal"}, "Unknown preset"),
        ({"model": "/etc"}, "not offered here"),
        ({"document": "  "}, "document is empty"),
        ({"question": ""}, "question is empty"),
        ({"temperature": 9.0}, "Temperature"),
        ({"document": "x " * 70_000}, "shorten the document"),
    ],
)
def test_compare_refuses_with_one_sentence(client: Client, changes: dict[str, object], words: str) -> None:
    with pytest.raises(AppError, match=words) as caught:
        client.predict(**({"document": "A lamp.", "question": "What?"} | changes), api_name="/compare")
    assert "Traceback" not in str(caught.value)


def test_diffusion_measures_a_passage_between_its_ends(client: Client) -> None:
    result = client.predict(
        long_text(20), QUESTION, "THE code of\n the gate is", every_layer=True, api_name="/diffusion"
    )
    assert result["removed_layers"] == list(range(LAYERS + 1))
    assert result["removed_logprob"][-1] == result["random_median"][-1] == result["full_logprob"]
    assert all(0 <= share <= 1 for share in result["attention_share"])
    assert result["done"] == result["total"]


@pytest.mark.parametrize(
    ("passage", "words"), [("no such words", "not in the document"), (" ", "No passage"), ("On day 0", "always kept")]
)
def test_diffusion_refuses_with_one_sentence(client: Client, passage: str, words: str) -> None:
    with pytest.raises(AppError, match=words):
        client.predict(long_text(20), QUESTION, passage, api_name="/diffusion")


LONG = 300  # lines: some seconds of work


def outcomes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """How the engine's runs ended, once the first has."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        ended = [record.__dict__["outcome"] for record in caplog.records if record.name == "sliminfer.engine.engine"]
        if ended:
            return ended
        time.sleep(0.02)
    return []


def test_a_client_that_cancels_stops_its_run(page: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sliminfer.engine.engine")
    job = Client(page.url, verbose=False).submit(long_text(LONG), QUESTION, max_new_tokens=64, api_name="/compare")
    while not job.outputs():
        time.sleep(0.01)
    assert job.outputs()[0]["progress"]["side"] == "full"
    job.cancel()
    assert outcomes(caplog) == ["stopped"]


def test_a_client_that_goes_away_stops_its_run(page: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sliminfer.engine.engine")
    asked = {"document": long_text(LONG), "question": QUESTION, "max_new_tokens": 64}
    event = httpx.post(f"{page.url}gradio_api/call/v2/compare", json=asked).json()["event_id"]
    with httpx.stream("GET", f"{page.url}gradio_api/call/compare/{event}", timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: generating"
        assert "progress" in json.loads(next(lines).removeprefix("data:"))[0]
    assert outcomes(caplog) == ["stopped"]


def test_calls_of_one_client_do_not_stop_each_other(page: Served) -> None:
    client = Client(page.url, verbose=False)
    jobs = [client.submit(long_text(20), QUESTION, max_new_tokens=n, api_name="/compare") for n in (2, 3)]
    assert [job.result(60)["full"]["new_tokens"] for job in jobs] == [2, 3]


def test_read_document_reads_an_upload(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "notes.html"
    path.write_text("<h1>Tower</h1><p>The lamp was lit.</p>", encoding="utf-8")
    document = client.predict(handle_file(path), api_name="/read_document")
    assert document["kind"] == "html"
    assert "The lamp was lit." in document["text"]
    assert document["characters"] == len(document["text"])


def test_read_document_refuses_what_is_not_text(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "picture.txt"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(AppError, match="image"):
        client.predict(handle_file(path), api_name="/read_document")


@pytest.mark.parametrize("meta", [{}, {"meta": {"_type": "gradio.FileData"}}])
def test_read_document_reads_nothing_but_uploads(page: Served, meta: dict[str, object]) -> None:
    """Over plain HTTP, since the client would upload the file it is told to name."""
    secret = {"path": "/etc/hostname", **meta}
    started = httpx.post(f"{page.url}gradio_api/call/read_document", json={"data": [secret]})
    answer = httpx.get(f"{page.url}gradio_api/call/read_document/{started.json()['event_id']}").text
    assert "event: error" in answer
    assert "event: complete" not in answer
    told = (str(Path.cwd()), tempfile.gettempdir(), "site-packages", "Traceback")
    assert [place for place in told if place in answer] == [], "the caller learns where the page runs"


def test_models_lists_the_served_model(client: Client, page: Served) -> None:
    listed = {entry["name"]: entry for entry in client.predict(4096, api_name="/models")}
    assert listed[page.site.start.model]["layers"] == LAYERS
    assert listed[page.site.start.model]["fault"] == ""


def test_a_prompt_beyond_the_context_is_a_fault(client: Client, page: Served) -> None:
    listed = {entry["name"]: entry for entry in client.predict(100_000, api_name="/models")}
    assert listed[page.site.start.model]["fault"] == "reads at most 65,536 tokens"


def test_only_the_documented_endpoints_are_public(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {"/compare", "/ask", "/diffusion", "/read_document", "/models"}
    for endpoint in endpoints.values():
        assert endpoint["description"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("photo.heic", bytes(range(256)) * 9, "is binary, not text: upload a text, PDF"),
        ("a.zip", b"PK\x05\x06" + bytes(18), "is an archive: unpack it"),
    ],
)
def test_a_file_of_no_known_type_is_refused_with_our_sentence(
    page: Served, name: str, content: bytes, words: str
) -> None:
    visit = Visit(page.url)
    [path] = visit.http.post(f"{page.url}gradio_api/upload", files={"files": (name, content)}).json()
    visit.values[visit.part("upload")] = {"path": path, "meta": {"_type": "gradio.FileData"}}
    visit.join(visit.called("upload")).raise_for_status()
    [told] = [message for message in visit.stream() if message["msg"] == "process_completed"]
    assert told["success"]
    assert words in str(told["output"])
    assert ".docx" not in str(told["output"])
