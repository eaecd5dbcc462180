"""The recording stands in the page's HTML as it is sent, and nothing is lost where there is none."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import httpx

from tests.page.serving import Served
from viz.page.first_light import FirstLightPage


def test_the_page_is_sent_with_the_recording_in_front(page: Served) -> None:
    answer = httpx.get(page.url)
    before, app, _ = answer.text.partition("<gradio-app")
    assert app
    recording = page.site.first_light.run
    assert recording is not None
    for said in ('<section class="recording fig"', recording.about.model, recording.about.day, "data:image/png"):
        assert said in before
    assert int(answer.headers.get("content-length", len(answer.content))) > 0
    script = re.findall(r"<script>(.*?)</script>", before, re.DOTALL)[-1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["content-security-policy"]


def test_a_folder_without_recordings_gives_a_page_without(tmp_path: Path) -> None:
    light = FirstLightPage.of(tmp_path)
    assert (light.run, light.body("Title", "Line")) == (None, "")
    assert ".recording" not in light.head
