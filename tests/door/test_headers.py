"""What goes out with every answer, and by which names a page on one's own machine is reached."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.coroutines import complete
from tests.hosting.public_page import PublicPage, public_page
from tests.page.serving import Served
from viz.door.headers import SPACE_FRAMES, Headers, Whereabouts
from viz.door.policy import policy

ELSEWHERE = "https://evil.example"
PATHS = ("/", "/config", "/health", "/theme.css", "/nothing", "/gradio_api/info", "/gradio_api/file=/etc/passwd")


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicPage]:
    with public_page(tmp_path_factory.mktemp("headers")) as up:
        yield up


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_says_what_a_browser_may_do_with_it(page: Served, public: PublicPage, path: str) -> None:
    for url in (page.url, public.url):
        answer = httpx.get(f"{url.rstrip('/')}{path}")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        told = answer.headers["content-security-policy"]
        assert "frame-ancestors 'self'" in told
        assert "default-src 'none'" in told
        assert "unsafe-inline" not in told.partition("script-src")[2].partition(";")[0]


@pytest.mark.parametrize("path", PATHS)
def test_no_origin_is_given_credentials(page: Served, public: PublicPage, path: str) -> None:
    from_here = {"origin": page.url.rstrip("/")}
    own = httpx.get(f"{page.url.rstrip('/')}{path}", headers=from_here)
    assert not [name for name in own.headers if name.startswith("access-control-")]
    anyone = httpx.get(f"{public.url.rstrip('/')}{path}", headers={"origin": ELSEWHERE})
    assert anyone.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in anyone.headers


def test_programs_of_other_sites_may_call_a_public_page_and_no_other(page: Served, public: PublicPage) -> None:
    asked = {"origin": ELSEWHERE, "access-control-request-method": "POST"}
    allowed = httpx.options(f"{public.url}gradio_api/call/models", headers=asked)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "*"
    assert httpx.options(f"{page.url}gradio_api/call/models", headers=asked).status_code == 403


@pytest.mark.parametrize("origin", [ELSEWHERE, "null", "http://127.0.0.1.evil.example", "file://"])
def test_other_sites_get_nothing_from_a_page_on_ones_own_machine(page: Served, origin: str) -> None:
    """A form needs nobody's leave to be sent, so the answer alone is not enough to withhold."""
    files = {"files": ("a.txt", b"x")}
    for headers in ({"origin": origin}, {"origin": origin, "host": "localhost"}):
        assert httpx.post(f"{page.url}gradio_api/upload", files=files, headers=headers).status_code == 403


FOREIGN = ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", "")
OWN = ("localhost", "localhost:7860", "studio.localhost", "[::1]:7860", "192.168.1.5", socket.gethostname())


@pytest.mark.parametrize("host", FOREIGN)
def test_a_name_that_was_pointed_at_this_machine_is_refused(page: Served, host: str) -> None:
    answer = httpx.get(f"{page.url}config", headers={"host": host})
    assert answer.status_code == 421
    assert "SLIMINFER_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize("host", OWN)
def test_this_machine_s_own_names_are_answered(page: Served, host: str) -> None:
    assert httpx.get(f"{page.url}config", headers={"host": host}).status_code == 200


def test_a_public_page_answers_to_any_name(public: PublicPage) -> None:
    assert httpx.get(f"{public.url}config", headers={"host": "owner-name.hf.space"}).status_code == 200


def test_the_environment_names_further_hosts_and_the_hub_s_frames() -> None:
    where = Whereabouts.of(False, {"SLIMINFER_HOSTS": "Studio.example.org, other"})
    assert where.is_own("studio.example.org:443")
    assert where.is_own("other")
    assert not where.is_own("example.org")
    assert where.ancestors == "'self'"
    assert Whereabouts.of(True, {"SPACE_ID": "a/b"}).ancestors == " ".join(("'self'", *SPACE_FRAMES))


def test_what_the_app_says_of_sharing_is_taken_back() -> None:
    async def reflecting(request: Request) -> Response:
        sharing = {"access-control-allow-origin": request.headers["origin"], "access-control-allow-credentials": "true"}
        return PlainTextResponse("x", headers=sharing)

    async def ask(where: Whereabouts) -> httpx.Headers:
        app = Headers(Starlette(routes=[Route("/", reflecting)]), where)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return (await client.get("/", headers={"origin": "http://localhost"})).headers

    own, public = (complete(ask(Whereabouts(public))) for public in (False, True))
    assert "access-control-allow-origin" not in own
    assert public["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in own.keys() | public.keys()


def test_scripts_of_a_page_run_by_their_hash() -> None:
    """The hash of `1` is the well-known one of that byte; a script from a file needs none."""
    told = policy(b"<script>1</script><script async>1</script><script type=module src=./a.js></script>", "'self'")
    assert "'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='" in told
    assert told.count("sha256") == 1
