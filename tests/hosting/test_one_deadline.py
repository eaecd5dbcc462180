"""One deadline for a click, whatever it starts: repeats, methods, diffusion, a program's call."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from sliminfer.engine.limits import RunLimits
from tests.hosting.public_page import PublicPage, Stranger, public_page
from tests.page.serving import QUESTION, long_text
from tests.page.visit import Visit

pytestmark = pytest.mark.clock

SECONDS = 1.0
LONG = 60  # lines: one run of both sides alone is over in a few seconds
AT_A_LAYER_S = 10.0  # a busy machine may take long for the layer under way, but never for all that was asked


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicPage]:
    with public_page(tmp_path_factory.mktemp("deadline"), new_tokens=512) as page:
        engine = page.site.shelf.engine(page.site.start.model)
        engine.limits = page.site.shelf.limits = RunLimits(seconds=SECONDS)
        yield page


def held(page: PublicPage) -> float:
    """Seconds for which the device computes from now on."""
    started = time.monotonic()
    while page.site.shelf.busy:
        time.sleep(0.01)
    return time.monotonic() - started


def test_a_program_s_comparison_is_cut_off_once(page: PublicPage) -> None:
    stranger = Stranger(page, 1)
    event, data = stranger.answer(stranger.post(LONG, max_new_tokens=500))
    assert event == "error"
    assert f"longer than {SECONDS:g} s, which is this page's limit" in str(data)
    assert held(page) < AT_A_LAYER_S


@pytest.mark.parametrize("callback", ["run", "compare-methods", "measure-diffusion"])
def test_a_click_is_cut_off_once(page: PublicPage, callback: str) -> None:
    """Nine repeats, a full run before and after four methods, removals at every layer: no longer than one run."""
    visit = Visit(page.url)
    visit.choose(source="Paste", paste=long_text(LONG), question=QUESTION, phrase="The code of the gate is 48213")
    visit.values[visit.part("Runs of each side")] = 9
    visit.values[visit.part("Longest answer, tokens")] = 500
    visit.values[visit.part("every-layer")] = True
    event = visit.run_event() if callback == "run" else visit.event(callback)
    visit.join(event).raise_for_status()
    while not page.site.shelf.busy:
        time.sleep(0.01)
    assert held(page) < SECONDS + AT_A_LAYER_S
    said = list(visit.stream())  # what has not changed since is not said again at the end
    assert [message["success"] for message in said if message["msg"] == "process_completed"][-1]
    # Diffusion tells how far it came; of repeats the rounds that were over in time stand.
    assert callback != "compare-methods" or f"longer than {SECONDS:g} s, which is this page" in str(said)
