"""Open routes: what the page and its programs use, and nothing else of what Gradio brings."""

from __future__ import annotations

import httpx
import pytest

from tests.page.serving import Served
from viz.door.routes import is_open

CLOSED = (
    "/gradio_api/proxy=http://127.0.0.1/", "/gradio_api/file=http://127.0.0.1/", "/gradio_api/file=HTTPS://x/",
    "/gradio_api/deep_link", "/gradio_api/vibe-code", "/gradio_api/process_recording", "/gradio_api/dev/reload",
    "/gradio_api/custom_component/1/client/component/x", "/gradio_api/stream/a/b/1/playlist.m3u8",
    "/gradio_api/run-history/records", "/gradio_api/profiling/traces", "/monitoring", "/monitoring/summary",
    "/openapi.json", "/docs", "/login", "/token", "/gradio_api/token", "/gradio_api/api/compare", "/nothing",
    "/assets/" + "a" * 300, "/health/../docs",
)  # fmt: skip


OPEN = ("/", "/config", "/health", "/theme.css", "/gradio_api/info", "/gradio_api/openapi.json")


@pytest.mark.parametrize("path", CLOSED)
def test_what_nobody_needs_is_closed(path: str, page: Served) -> None:
    assert not is_open("GET", path)
    assert not is_open("POST", path)
    assert httpx.get(f"{page.url.rstrip('/')}{path}").status_code == 404
    assert httpx.post(f"{page.url.rstrip('/')}{path}", json={}).status_code == 404


@pytest.mark.parametrize("path", OPEN)
def test_what_the_page_is_made_of_is_open(path: str, page: Served) -> None:
    assert httpx.get(f"{page.url.rstrip('/')}{path}").status_code == 200


def test_the_schema_that_is_open_names_the_documented_endpoints_only(page: Served) -> None:
    told = httpx.get(f"{page.url}gradio_api/openapi.json").json()
    assert {path.rpartition("/")[2] for path in told["paths"] if "{" not in path} <= {
        "compare", "ask", "diffusion", "read_document", "models", "upload", "upload_progress",
    }  # fmt: skip


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "POST"])
def test_another_method_is_refused_where_the_route_is_open(method: str, page: Served) -> None:
    assert httpx.request(method, f"{page.url}config").status_code == 405
