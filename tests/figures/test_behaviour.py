"""What the figures' scripts do, in a real Chromium, with the real Python functions behind their calls."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from sliminfer.schedule.config import SlimConfig
from tests.figures.synthetic import WORDS, prompt_of, run_of
from viz.figures.document import document_html
from viz.figures.kept import cell, kept_html, panel_html
from viz.figures.kept_map import KeptMap
from viz.figures.replay import replay_html
from viz.figures.theme import script, stylesheet

pytestmark = pytest.mark.browser

LAYERS = 12
CONFIG = SlimConfig.preset("paper", LAYERS)


def _document() -> str:
    draw = random.Random(4)
    words = [*WORDS.split(), "\U0001f41f", "naïve", "<b>", "&amp;"]
    lines = [" ".join(draw.choice(words) for _ in range(draw.randrange(3, 60))) for _ in range(90)]
    return "\r\n".join(lines)


PROMPT = prompt_of(_document())
RUN = run_of(PROMPT, CONFIG, LAYERS)
KEPT = KeptMap.from_side(RUN.pruned, CONFIG, [(300, 320)])


def _page() -> str:
    parts = {"map": ("kept", kept_html(KEPT, "key")), "doc": ("document", document_html(KEPT, PROMPT))}
    parts["race"] = ("replay", replay_html(RUN))
    server = "{kept_panel: window.kept_panel, kept_cell: window.kept_cell}"
    body = "".join(f'<div id="{name}">{html}</div>' for name, (_, html) in parts.items())
    code = "".join(
        f'((element, server, trigger, watch) => {{{script(file)}}})(document.getElementById("{name}"), {server}, told);'
        for name, (file, _) in parts.items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>figures</title><style>{stylesheet()}</style>'
        f"<body>{body}<script>const told = (name, data) => {{ window[name] = data }};{code}</script></body></html>"
    )


@pytest.fixture(scope="module")
def browser_page(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 1100, "height": 900})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: problems.append(request.url) if request.url.startswith("http") else None)
    page.expose_function("kept_panel", lambda call: panel_html(KEPT, call["start"], call["end"], call["width"]))
    page.expose_function("kept_cell", lambda call: cell(KEPT, PROMPT, call["layer"], call["position"]))
    page.set_content(_page())
    yield page
    page.close()
    assert problems == []


def plot(page: Page) -> tuple[float, float, float, float]:
    page.locator(".kept-plot").scroll_into_view_if_needed()
    box = page.locator(".kept-plot").bounding_box()
    assert box is not None
    return box["x"], box["y"], box["width"], box["height"]


def highlighted(page: Page) -> str:
    return str(page.evaluate("[...CSS.highlights.get('slim-token')].map(r => r.toString()).join('|')"))


def test_pointing_at_a_cell_tells_its_token(browser_page: Page) -> None:
    page = browser_page
    x, y, width, height = plot(page)
    position, layer = len(PROMPT) // 3, 5
    extent = int(page.locator(".kept-grid").get_attribute("data-extent") or 0)
    page.mouse.move(x + width * (position + 0.5) / extent, y + height * (layer + 0.5) / LAYERS)
    page.wait_for_selector(".kept-readout mark")
    shown = page.locator(".kept-readout mark").inner_text()
    line = page.locator(".kept-readout div").inner_text()
    found = cell(KEPT, PROMPT, layer, int(line.split("position ")[1].split(" ")[0].replace(",", "")))
    assert abs(found["position"] - position) <= 1
    assert shown.strip() == found["token"].strip()
    assert line == found["text"]


def test_dragging_zooms_and_the_button_goes_back(browser_page: Page) -> None:
    page = browser_page
    x, y, width, height = plot(page)
    page.mouse.move(x + width * 0.25, y + height / 2)
    page.mouse.down()
    page.mouse.move(x + width * 0.5, y + height / 2, steps=4)
    page.mouse.up()
    page.wait_for_function("+document.querySelector('.kept-grid').dataset.start > 0")
    data = json.loads(page.evaluate("JSON.stringify({...document.querySelector('.kept-grid').dataset})"))
    assert int(data["start"]) == pytest.approx(len(PROMPT) * 0.25, abs=8)
    assert int(data["end"]) == pytest.approx(len(PROMPT) * 0.5, abs=8)
    page.click("[data-zoom=all]")
    page.wait_for_function("+document.querySelector('.kept-grid').dataset.start === 0")


def test_the_keyboard_reaches_what_the_mouse_does(browser_page: Page) -> None:
    page = browser_page
    page.locator(".kept-plot").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.kept-readout div')?.innerText.startsWith('position')")
    page.keyboard.press("+")
    page.wait_for_function("+document.querySelector('.kept-grid').dataset.end < " + str(len(PROMPT)))
    assert page.evaluate("document.activeElement.className") == "kept-plot"
    page.keyboard.press("0")
    page.wait_for_function(f"+document.querySelector('.kept-grid').dataset.end === {len(PROMPT)}")


@pytest.mark.parametrize("share", [0.001, 0.2, 0.41, 0.67, 0.999])
def test_a_token_told_by_the_map_is_found_in_the_document_and_back(browser_page: Page, share: float) -> None:
    page = browser_page
    inside = [i for i, span in enumerate(PROMPT.document_spans()) if span is not None]
    token = next(i for i in inside[int(share * len(inside)) :] if PROMPT.text[slice(*PROMPT.spans[i])].strip())
    start, end = PROMPT.spans[token]
    page.evaluate(f"window.dispatchEvent(new CustomEvent('slim-token', {{detail: {{token: {token}}}}}))")
    assert highlighted(page) == PROMPT.text[start:end]
    spot = page.evaluate(
        "(() => { const r = [...CSS.highlights.get('slim-token')][0].getBoundingClientRect();"
        "const b = document.querySelector('.doc-text').getBoundingClientRect();"
        "return {x: r.right - 3, y: r.bottom - r.height / 4, inside: r.top >= b.top && r.bottom <= b.bottom} })()"
    )
    assert spot["inside"]
    page.evaluate("window.addEventListener('slim-token', e => { window.told = e.detail.token }, {once: true})")
    page.locator(".doc-text").scroll_into_view_if_needed()
    spot = page.evaluate(
        "(() => { const r = [...CSS.highlights.get('slim-token')][0].getClientRects();"
        "const l = r[r.length - 1]; return {x: l.right - 3, y: l.bottom - l.height / 4} })()"
    )
    page.mouse.click(spot["x"], spot["y"])
    assert page.evaluate("window.told") == token
    assert highlighted(page) == PROMPT.text[start:end]


@pytest.mark.parametrize(("first", "length"), [(2, 1), (150, 40), (700, 200)])
def test_selecting_text_picks_its_tokens(browser_page: Page, first: int, length: int) -> None:
    page = browser_page
    inside = [i for i, span in enumerate(PROMPT.document_spans()) if span is not None]
    start, end = inside[first], inside[first + length]
    for token in (start, end - 1):
        page.evaluate(f"window.dispatchEvent(new CustomEvent('slim-token', {{detail: {{token: {token}}}}}))")
        page.evaluate("window.kept_ends = (window.kept_ends || []).concat([...CSS.highlights.get('slim-token')])")
    page.evaluate(
        "(() => { const [a, b] = window.kept_ends.splice(0); const s = window.getSelection();"
        "s.setBaseAndExtent(a.startContainer, a.startOffset, b.endContainer, b.endOffset);"
        "b.startContainer.parentElement.dispatchEvent(new PointerEvent('pointerup', {bubbles: true})); })()"
    )
    assert page.evaluate("window.pick") == {"start": start, "end": end}
    page.evaluate("window.getSelection().removeAllRanges()")


def test_the_view_of_a_layer_marks_only_what_enters_it(browser_page: Page) -> None:
    page = browser_page
    colours = "[...document.querySelectorAll('.doc-text .s0, .doc-text .s1, .doc-text .s2')].map(s => [s.className[1], getComputedStyle(s).backgroundColor])"  # noqa: E501
    for view, kept_from in (("From layer 4", 1), ("From layer 8", 2)):
        page.get_by_text(view, exact=True).click()
        seen: dict[str, set[str]] = {}
        for shade, colour in page.evaluate(colours):
            seen.setdefault(shade, set()).add(colour)
        plain = seen["0"]
        assert all((seen[shade] == plain) == (int(shade) < kept_from) for shade in seen)
    page.get_by_text("All layers", exact=True).click()
    shades = dict(page.evaluate(colours))
    assert len(set(shades.values())) == 3


def test_the_replay_runs_to_the_recorded_end(browser_page: Page) -> None:
    page = browser_page
    lane = page.locator('.replay-lane[data-side="pruned"] .replay-text')
    page.click(".replay-play")
    page.wait_for_function("document.querySelector('.replay-play').textContent === 'Pause'")
    page.wait_for_function("document.querySelector('.replay-play').textContent === 'Play'")
    assert lane.inner_text() == RUN.pruned.text
    middle = (RUN.pruned.piece_at[3] + RUN.pruned.piece_at[4]) / 2
    page.locator(".replay-time").evaluate(
        f"(s) => {{ s.value = {middle}; s.dispatchEvent(new Event('input', {{bubbles: true}})) }}"
    )
    assert lane.inner_text() == "".join(RUN.pruned.pieces[:4])
    assert "reading" in page.locator('.replay-lane[data-side="full"] .replay-text').inner_text()


def test_nothing_moves_by_itself_where_motion_is_reduced(browser_page: Page) -> None:
    page = browser_page
    page.emulate_media(reduced_motion="reduce")
    page.wait_for_function("document.querySelector('.replay-play').hidden")
    page.emulate_media(reduced_motion="no-preference")
    page.wait_for_function("!document.querySelector('.replay-play').hidden")


@pytest.mark.parametrize("width", [390, 1100])
def test_no_figure_is_wider_than_the_page(browser_page: Page, width: int) -> None:
    page = browser_page
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_dark_replaces_foreground_and_background(browser_page: Page) -> None:
    page = browser_page
    colours = "(() => { const s = getComputedStyle(document.querySelector('.doc-text')); return [s.color, s.backgroundColor] })()"  # noqa: E501
    light = page.evaluate(colours)
    page.evaluate("document.body.classList.add('dark')")
    dark = page.evaluate(colours)
    page.evaluate("document.body.classList.remove('dark')")
    assert all(a != b for a, b in zip(light, dark, strict=True))
