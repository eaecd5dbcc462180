"""The files a visitor takes away hold what was measured on the document they are about."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path

import pytest

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.probe import probe
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep
from tests.page.driver import Driver
from tests.page.serving import FACT, LAYERS, QUESTION, Served, long_text
from tests.tiny import tiny_loaded
from viz.figures.export import json_bytes
from viz.figures.kept_map import KeptMap
from viz.figures.methods import MethodRun, methods_grid, methods_table
from viz.page.compat import upload_folder
from viz.page.document_input import PASTED_NAME, read_paste
from viz.page.live import LiveRun
from viz.page.session import Rivals, Visitor
from viz.page.setup import Setup
from viz.page.takeaway import KINDS, NO_RUN, Takeaway

MOMENT = "2026-11-26T12:00:00+00:00"
DIFFUSION = {"diffusion_map.png", "diffusion_removal.csv", "diffusion_attention.png"}


def test_the_diffusion_of_the_same_document_goes_with_the_run() -> None:
    engine = SlimEngine(tiny_loaded(layers=LAYERS))
    setup = Setup(question=QUESTION, steps=(PruneStep(4, 0.25),))
    text, live = long_text(20), LiveRun()
    for event in engine.compare(RunRequest(text, QUESTION, setup.config(), max_new_tokens=3)):
        live = live.after(event)
    prompt = live.view.pruned.prompt
    assert prompt is not None
    start = text.index(FACT)
    span = prompt.token_range(start, start + len(FACT))
    *_, result = probe(engine, prompt, span, DiffusionPlan((0, LAYERS), draws=2), (40, 41))
    document = read_paste(text)
    visitor = Visitor(document=document, ran=setup, run=live, spread=(document, result))
    assert names(visitor) >= DIFFUSION
    visitor.document = read_paste("Another text.")
    assert not DIFFUSION & names(visitor)


def test_a_question_that_was_asked_since_on_another_document_marks_nothing_in_the_files() -> None:
    setup, live = Setup(question=QUESTION, steps=(PruneStep(4, 0.25),)), LiveRun()
    for event in SlimEngine(tiny_loaded(layers=LAYERS)).compare(RunRequest(long_text(5), QUESTION, setup.config(), 2)):
        live = live.after(event)
    visitor = Visitor(document=read_paste(long_text(90)), ran=setup, run=live)
    before = names(visitor)
    visitor.evidence = ((4_000, 4_030),)  # as comparing methods on the longer document leaves it
    assert names(visitor) == before


def test_methods_and_repeated_runs_go_with_the_run() -> None:
    engine = SlimEngine(tiny_loaded(layers=LAYERS))
    setup = Setup(question=QUESTION, steps=(PruneStep(4, 0.25),), repeats=2)
    live, document = LiveRun(of=2), read_paste(long_text(20))
    for _ in range(2):
        for event in engine.compare(RunRequest(document.text, QUESTION, setup.config(), max_new_tokens=3)):
            live = live.after(event)
    full, pruned = live.view.sides
    strips = methods_grid({"sliminfer": KeptMap.from_side(pruned, setup.config())})
    table = methods_table([MethodRun("full", full.metrics, full.text)])
    visitor = Visitor(document=document, ran=setup, run=live, rivals=Rivals(document, table, strips))
    found = names(visitor)
    assert found >= {"methods_kept.png", "methods.csv", "time_repeated.png", "time_repeated.csv"}
    visitor.document = read_paste("Another text.")
    assert not {"methods_kept.png", "methods.csv"} & names(visitor)


def test_the_data_to_take_away_are_the_command_lines() -> None:
    setup = Setup(question=QUESTION, steps=(PruneStep(4, 0.5),), active=0.5, refresh=1)
    text, live = long_text(20), LiveRun()
    request = RunRequest(text, QUESTION, setup.config(), max_new_tokens=6, ignore_eos=True)
    events = tuple(SlimEngine(tiny_loaded(layers=LAYERS)).compare(request))
    for event in events:
        live = live.after(event)
    away = Takeaway.of(Visitor(document=read_paste(text), ran=setup, ran_at=MOMENT, run=live))
    told = RunResult.of(events).to_dict(setup.model, setup.config())
    assert told["pruned"]["cache"]["events"]
    written = json.loads(away.data())
    about = written.pop("asked")
    assert json_bytes(written) == json_bytes(told)
    assert (about["question"], about["document"]) == (QUESTION, PASTED_NAME)
    assert about["date"] == MOMENT
    with zipfile.ZipFile(io.BytesIO(away.bundle())) as files:
        assert files.read("run.json") == away.data()


def test_there_is_nothing_to_take_away_before_a_run_has_ended() -> None:
    setup, live = Setup(question=QUESTION, steps=(PruneStep(4, 0.25),)), LiveRun()
    *begun, _ = SlimEngine(tiny_loaded(layers=LAYERS)).compare(RunRequest(long_text(5), QUESTION, setup.config(), 2))
    for event in begun:
        live = live.after(event)
    for visitor in (Visitor(), Visitor(document=read_paste(long_text(5)), ran=setup, run=live)):
        with pytest.raises(ConfigError, match=NO_RUN):
            Takeaway.of(visitor)


def test_a_click_brings_a_visitors_own_file_and_leaves_none_on_the_server(page: Served) -> None:
    asked = ("Who lit the lamp?", "What is the weather?")
    visits = [Driver(page.url) for _ in asked]
    for visit, question in zip(visits, asked, strict=True):
        visit.press("take-json")
        assert (visit.shown("taken"), NO_RUN in visit.shown("status")) == (None, True)
        visit.give("question", question, "input")
        visit.press("run")
    for kind in KINDS:
        for visit, question in zip(visits, asked, strict=True):
            visit.press(f"take-{kind.ending}")
            file = visit.shown("taken")
            assert (file["name"], file["type"]) == (kind.name, kind.type)
            content = base64.b64decode(file["bytes"])
            if kind.ending == "json":
                assert json.loads(content)["asked"]["question"] == question
            assert content not in [path.read_bytes() for path in upload_folder().rglob(kind.name)]


def names(visitor: Visitor) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(Takeaway.of(visitor).bundle())) as bundle:
        return {Path(name).name for name in bundle.namelist()}
