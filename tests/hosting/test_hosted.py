"""A hosted page over HTTP: the profile's models and limits hold, /health tells, and closing is graceful."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from sliminfer.errors import ModelError
from sliminfer.hosting import Limits, Profile
from tests.page.serving import LAYERS, QUESTION, Served, free_port, long_text, write_examples, write_model
from viz.page.closing import close
from viz.page.health import health_report
from viz.page.serve import open_site, serve
from viz.page.session import Visitor

LIMITS = Limits(upload_mb=1, prompt_tokens=4000, new_tokens=16, gpu_seconds=60, queue_size=2)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, gr.Blocks]]:
    folder = tmp_path_factory.mktemp("hosted")
    (folder / "model").mkdir()
    model = str(write_model(folder / "model"))
    # The tiny model stands in for a known one, so the profile's own check of names is passed by.
    profile = Profile.model_construct(
        hardware=None, python="3.12", torch="2.13.0", device="cpu", attention="sdpa", models=[model], limits=LIMITS,
        preload=[], gpu_extras=False, sleep_minutes=None, environment={},
    )  # fmt: skip
    with pytest.raises(ModelError, match="not offered here"):
        open_site("/etc", "auto", "float32", "paper", write_examples(folder), profile)
    site = open_site(model, "auto", "float32", "paper", write_examples(folder), profile)
    page = serve(site, "127.0.0.1", free_port(), profile)
    try:
        yield Served(page.local_url, site), page
    finally:
        close(site, page, grace_s=0)


@pytest.fixture(scope="module")
def client(hosted: tuple[Served, gr.Blocks]) -> Client:
    return Client(hosted[0].url, verbose=False)


def test_health_tells_model_device_and_queue(hosted: tuple[Served, gr.Blocks]) -> None:
    answer = httpx.get(f"{hosted[0].url}health")
    told = answer.json()
    assert answer.status_code == 200
    assert told["status"] == "ok"
    assert (told["layers"], told["device"], told["devices"], told["waiting"]) == (LAYERS, "cpu", 1, 0)
    assert httpx.post(f"{hosted[0].url}health").status_code == 405


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"document": long_text(150)}, "takes up to 4,000"),
        ({"document": "x" * 64_001}, "64,001 characters, and this page takes up to 64,000"),
        ({"question": "x" * 4_001}, "4,001 characters, and this page takes up to 4,000"),
        ({"max_new_tokens": 17}, "up to 16 tokens on this page"),
        ({"model": "Qwen/Qwen2.5-0.5B-Instruct"}, "not offered here"),
        ({"model": "demo"}, "not offered here"),
        ({"model": "../../etc"}, "not offered here"),
    ],
)
def test_a_visitor_is_held_to_the_profile(client: Client, changes: dict[str, object], words: str) -> None:
    asked = {"document": "A lamp.", "question": "What?", "max_new_tokens": 2} | changes
    with pytest.raises(AppError, match=words):
        client.predict(**asked, api_name="/compare")


def test_a_text_over_the_profiles_length_is_neither_read_nor_kept(
    hosted: tuple[Served, gr.Blocks], client: Client, tmp_path: Path
) -> None:
    _, page = hosted
    [paste] = [fn for fn in page.fns.values() if getattr(fn.fn, "__name__", "") == "paste"][:1]
    visitor = Visitor()
    assert "64,001 characters, and this page takes up to 64,000" in str(paste.fn(visitor, "x" * 64_001))
    assert visitor.document is None
    long = tmp_path / "long.txt"
    long.write_text("x" * 64_001)
    with pytest.raises(AppError, match="holds 64,001 characters and the limit is 64,000"):
        client.predict(handle_file(long), api_name="/read_document")


def test_within_the_profile_a_run_works(client: Client) -> None:
    result = client.predict(long_text(5), QUESTION, max_new_tokens=4, api_name="/compare")
    assert result["full"]["new_tokens"] == 4


def test_an_upload_over_the_profiles_size_is_refused(hosted: tuple[Served, gr.Blocks]) -> None:
    url = f"{hosted[0].url}gradio_api/upload"
    assert httpx.post(url, files={"files": ("a.txt", b"a" * 2_000_000)}).status_code == 413
    assert httpx.post(url, files={"files": ("a.txt", b"a" * 900_000)}).status_code == 200


def test_the_page_offers_no_longer_answer_than_the_profile(hosted: tuple[Served, gr.Blocks]) -> None:
    site, page = hosted[0].site, hosted[1]
    assert site.start.max_new_tokens == LIMITS.new_tokens
    [slider] = [part for part in page.blocks.values() if getattr(part, "label", "") == "Longest answer, tokens"]
    assert (slider.maximum, slider.value) == (LIMITS.new_tokens, LIMITS.new_tokens)


def test_a_document_over_the_profiles_prompt_is_told_when_it_is_chosen(hosted: tuple[Served, gr.Blocks]) -> None:
    site, page = hosted[0].site, hosted[1]
    said = []
    for identity in ("tower", "archive"):
        [chosen] = [fn for fn in page.fns.values() if getattr(fn.fn, "__name__", "") == "example"][:1]
        said.append(str(chosen.fn(Visitor(), identity)))
    assert "takes up to 4,000" not in said[0]
    assert "takes up to 4,000" in said[1]
    assert [bool(offer.fault) for offer in (*site.offers(4000), *site.offers(4001))] == [False, True]


def test_only_the_profiles_models_are_listed(client: Client, hosted: tuple[Served, gr.Blocks]) -> None:
    assert [entry["name"] for entry in client.predict(4096, api_name="/models")] == list(hosted[0].site.models)
    assert len(hosted[0].site.models) == 1


def test_every_device_runs_one_request_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    site = open_site(str(write_model(tmp_path / "model")), "cpu,cpu", "float32", "paper", write_examples(tmp_path))
    page = serve(site, "127.0.0.1", free_port())
    asked = [Client(page.local_url, verbose=False) for _ in range(3)]
    try:
        texts = [long_text(60 + n) for n in range(3)]
        jobs = [
            client.submit(text, QUESTION, max_new_tokens=24, api_name="/compare") for client, text in zip(asked, texts)
        ]
        seen = []
        while not all(job.done() for job in jobs):
            seen.append(health_report(site, page)["running"])
            time.sleep(0.01)
        assert max(seen) == 2
        alone = [asked[0].predict(text, QUESTION, max_new_tokens=24, api_name="/compare") for text in texts]
        for job, expected in zip(jobs, alone):
            for side in ("full", "pruned"):
                assert job.result()[side]["text"] == expected[side]["text"]
        engines = [site.shelf.worker.submit(site.shelf.engine, site.start.model).result() for _ in range(8)]
        assert 1 <= len({id(engine.loaded.model) for engine in engines}) <= 2
    finally:
        close(site, page, grace_s=0)


def test_closing_lets_a_run_finish_and_then_frees_the_port(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    site = open_site(str(write_model(tmp_path / "model")), "cpu", "float32", "paper", write_examples(tmp_path))
    page = serve(site, "127.0.0.1", free_port())
    url = page.local_url
    job = Client(url, verbose=False).submit(long_text(30), QUESTION, max_new_tokens=12, api_name="/compare")
    while not health_report(site, page)["running"]:
        time.sleep(0.01)
    closing = threading.Thread(target=close, args=(site, page, 60))
    closing.start()
    result = job.result(timeout=60)
    assert result["pruned"]["new_tokens"] == 12
    closing.join(60)
    assert not closing.is_alive()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}health", timeout=5)
