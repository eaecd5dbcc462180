"""A page as a host serves it, within limits, with a tiny random model; and visitors with addresses of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import httpx

from sliminfer.hosting import Limits, Profile
from sliminfer.hosting.spacefile import ReadingLimits
from tests.page.serving import QUESTION, free_port, long_text, write_examples, write_model
from viz.page.closing import close
from viz.page.serve import open_site, serve
from viz.page.site import Site
from viz.page.waiting import VisitorQueue

LIMITS = {"upload_mb": 1, "prompt_tokens": 40_000, "new_tokens": 64, "gpu_seconds": 60, "queue_size": 8}


@dataclass(frozen=True)
class PublicPage:
    """A page that is up."""

    url: str
    site: Site
    page: gr.Blocks

    @property
    def queue(self) -> VisitorQueue:
        queue = self.page._queue
        assert isinstance(queue, VisitorQueue)
        return queue


READINGS = ReadingLimits(device_mb=64, host_mb=64, file_mb=64)


def tiny_profile(model: str, readings: ReadingLimits = READINGS, **limits: int) -> Profile:
    """A profile with the model in a folder, which stands in for a known one: the profile's own check is passed by."""
    return Profile.model_construct(
        hardware=None, python="3.12", torch="2.13.0", device="cpu", attention="sdpa", models=[model],
        limits=Limits(**LIMITS | limits), readings=readings, preload=[], gpu_extras=False, sleep_minutes=None,
        environment={},
    )  # fmt: skip


@contextmanager
def public_page(folder: Path, readings: ReadingLimits = READINGS, **limits: int) -> Iterator[PublicPage]:
    """Serve a page with `limits` from `folder` until the block ends."""
    (folder / "model").mkdir()
    model = str(write_model(folder / "model"))
    profile = tiny_profile(model, readings, **limits)
    site = open_site(model, "auto", "float32", "paper", write_examples(folder), profile)
    page = serve(site, "127.0.0.1", free_port(), profile)
    try:
        yield PublicPage(str(page.local_url), site, page)
    finally:
        close(site, page, grace_s=0)


class Stranger:
    """A program that speaks to the page over plain HTTP, from an address of its own behind a proxy on this machine."""

    def __init__(self, page: PublicPage, number: int) -> None:
        self.url = f"{page.url}gradio_api/call"
        address = {"x-forwarded-for": f"198.51.100.{number}"}
        self.http = httpx.Client(timeout=120, headers=address)

    def post(self, lines: int = 5, endpoint: str = "compare", **asked: Any) -> httpx.Response:
        """Ask for a run on a text of so many lines, without opening its stream."""
        body = {"document": long_text(lines), "question": QUESTION, "max_new_tokens": 2} | asked
        return self.http.post(f"{self.url}/v2/{endpoint}", json=body)

    def answer(self, posted: httpx.Response, endpoint: str = "compare") -> tuple[str, Any]:
        """How the run ends that was asked for: the last event of its stream, and its data."""
        event, data = "", None
        with self.http.stream("GET", f"{self.url}/{endpoint}/{posted.raise_for_status().json()['event_id']}") as stream:
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    event = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = json.loads(line.removeprefix("data: "))
        return event, data
