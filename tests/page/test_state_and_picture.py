"""Whatever a visitor does with the controls, and in whatever order, what is shown is what would be run."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sliminfer.errors import SlimError
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep
from sliminfer.selectors import selector_class
from tests.page.driver import Driver
from tests.page.serving import LAYERS, Served, long_text
from viz.page.setup import Setup

SETTINGS = {"local": "Last tokens always kept", "least_tokens": "Fewest tokens kept"}
PASTES = ("", "  ", long_text(9), "A short text on a lamp.")
ACTIONS = st.one_of(
    st.tuples(st.just("source"), st.sampled_from(["Example", "Upload", "Paste"])),
    st.tuples(st.just("example"), st.just("tower")),
    st.tuples(st.just("upload"), st.sampled_from([("a.md", long_text(5).encode()), ("b.pdf", b"no document")])),
    st.tuples(st.just("remove"), st.none()),
    st.tuples(st.just("paste"), st.sampled_from(PASTES)),
    st.tuples(st.just("question"), st.sampled_from(["", "Who?", "Who lit the lamp of the north tower, and when?"])),
    st.tuples(st.just("preset"), st.sampled_from(["gentle", "paper", "balanced", "aggressive", "custom"])),
    st.tuples(st.just("count"), st.integers(1, 3)),
    st.tuples(st.just("layer"), st.tuples(st.integers(0, 2), st.sampled_from([None, 0, 1, 5, LAYERS - 1, 99]))),
    st.tuples(st.just("keep"), st.tuples(st.integers(0, 2), st.sampled_from([None, 0, 0.25, 12.5, 50, 100, 250]))),
    st.tuples(st.sampled_from(sorted(SETTINGS)), st.sampled_from([0, 64, 512, 99999])),
    st.tuples(st.just("run"), st.none()),
)


class Model:
    """What the page should know after some actions, told in the plainest way."""

    def __init__(self, page: Served) -> None:
        self.page, self.driver = page, Driver(page.url)
        self.source, self.uploaded, self.pasted = "Example", None, ""  # type: ignore[var-annotated]
        self.ran: Any = None
        config = self.driver.config["components"]
        rows = [part["id"] for part in config if part["props"].get("label") in ("From layer", "keep %")]
        self.layers, self.keeps = rows[0::2], rows[1::2]

    def act(self, name: str, value: Any) -> None:
        drive = self.driver
        if name == "source":
            self.source = value
            drive.give("source", value, "input")
        elif name == "example" and self.source == "Example":
            drive.give("example", value, "input")
        elif name == "upload" and self.source == "Upload":
            drive.upload(*value)
            self.uploaded = value if value[0] == "a.md" else None
        elif name == "remove" and self.source == "Upload" and self.uploaded:
            drive.give("upload", None, "clear")
            self.uploaded = None
        elif name == "paste" and self.source == "Paste":
            drive.give("paste", value, "input", "blur")
            self.pasted = value
        elif name in ("question", "preset"):
            drive.give(name, value, "input")
        elif name == "count":
            drive.give("step-count", value, "input")
        elif name in ("layer", "keep"):
            row, number = value
            drive._set((self.layers if name == "layer" else self.keeps)[row], number, ("input",))
        elif name in SETTINGS:
            drive.give(SETTINGS[name], value, "input")
        elif name == "run":
            drive.press("run")
            if "error" not in drive.shown("status"):
                self.ran = self.chosen()

    @property
    def document(self) -> tuple[str, str]:
        """Name and text of what would be run."""
        if self.source == "Example":
            chosen = self.page.site.example(self.driver.shown("example"))
            assert chosen is not None
            return chosen.title, chosen.document().text
        if self.source == "Upload":
            return (self.uploaded[0], self.uploaded[1].decode()) if self.uploaded else ("", "")
        return ("pasted text.txt", self.pasted) if self.pasted.strip() else ("", "")

    def chosen(self) -> Any:
        """All that a run depends on."""
        drive = self.driver
        count = drive.shown("step-count")
        rows = [(drive.values[a], drive.values[b]) for a, b in zip(self.layers, self.keeps, strict=True)]
        finer = {name: drive.shown(label) for name, label in SETTINGS.items()}
        return self.document, drive.shown("question"), rows[:count], finer

    def check(self) -> None:
        (name, text), question, rows, finer = self.chosen()
        drive = self.driver
        assert (f"<b>{name}</b>" if name else "No document yet") in drive.shown("about-document")
        drawing = drive.shown("schedule")
        config = self.config(rows, finer)
        assert ("fault" in drawing) == (config is None), (drawing, rows, finer)
        if config is not None and text:
            loaded = self.page.site.shelf.any_loaded()
            assert loaded is not None
            prompt = build_prompt(loaded.tokenizer, text, question or "?")
            blocks = BlockMap.of(len(prompt), config, prompt.question)
            runs = selector_class(config.method).plan(config, blocks, LAYERS).layer_runs
            heights = [float(height) for height in re.findall(r"--h:([0-9.]+)%", drawing)]
            assert heights == pytest.approx([100 * n / len(prompt) for n in runs], abs=0.051)
        stale = [line for line in drive.noted().values() if line]
        if self.ran is None or self.ran == self.chosen():
            assert stale == []
        else:
            assert stale
            (was, _), asked, *_ = self.ran
            assert all(f"“{asked}”" in line and f"<b>{was}</b>" in line for line in stale)

    def config(self, rows: list[tuple[Any, Any]], finer: dict[str, int]) -> Any:
        if any(None in row for row in rows) or not (8 <= finer["local"] <= 512 and finer["least_tokens"] <= 1024):
            return None
        try:
            steps = tuple(PruneStep(int(layer), float(keep) / 100) for layer, keep in rows)
            config = Setup(model=self.page.site.start.model, steps=steps, **finer).config()
            config.check_model(LAYERS)
        except SlimError:
            return None
        return config


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(actions=st.lists(ACTIONS, min_size=4, max_size=8))
def test_the_picture_holds_what_the_controls_say(page: Served, actions: list[tuple[str, Any]]) -> None:
    model = Model(page)
    for name, value in actions:
        model.act(name, value)
        model.check()


def test_three_steps_after_any_preset_can_be_run(page: Served) -> None:
    for preset in ("gentle", "paper", "balanced", "aggressive"):
        model = Model(page)
        model.act("preset", preset)
        model.act("count", 1)
        model.act("count", 3)
        model.check()
        assert "fault" not in model.driver.shown("schedule")


def test_a_link_to_an_own_text_says_that_the_text_is_not_in_it(page: Served) -> None:
    model = Model(page)
    model.act("source", "Paste")
    model.act("paste", long_text(4))
    model.driver.press("make-link")
    link = model.driver.shown("link")
    assert "example=" in link
    assert "lamp" not in link


@pytest.mark.parametrize(("part", "value", "words"), [
    ("layer", (0, 99), "Prune layer 99 does not exist"),
    ("keep", (0, 0), "keeps 0 %"),
    ("keep", (0, None), "lacks a number"),
    ("local", 99999, "choose from 8 to 512"),
])  # fmt: skip
def test_what_cannot_be_run_is_one_sentence(page: Served, part: str, value: Any, words: str) -> None:
    model = Model(page)
    model.act("count", 1)
    model.act(part, value)
    assert words in model.driver.shown("schedule")
    model.driver.press("run")
    assert words in model.driver.shown("status")
