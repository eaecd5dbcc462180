"""The files a visitor takes away hold what was measured on the document they are about."""

from __future__ import annotations

import json
import zipfile
from datetime import datetime
from pathlib import Path

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.probe import probe
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.schedule.config import PruneStep
from tests.page.serving import FACT, LAYERS, QUESTION, long_text
from tests.tiny import tiny_loaded
from viz.figures.export import json_bytes
from viz.figures.kept_map import KeptMap
from viz.figures.methods import MethodRun, methods_grid, methods_table
from viz.page.document_input import PASTED_NAME, read_paste
from viz.page.live import LiveRun
from viz.page.session import Rivals, Visitor
from viz.page.setup import Setup
from viz.page.share import write_files

DIFFUSION = {"diffusion_map.png", "diffusion_removal.csv", "diffusion_attention.png"}


def test_the_diffusion_of_the_same_document_goes_with_the_run(tmp_path: Path) -> None:
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
    assert names(write_files(visitor, tmp_path)[-1]) >= DIFFUSION
    visitor.document = read_paste("Another text.")
    assert not DIFFUSION & names(write_files(visitor, tmp_path)[-1])


def test_a_question_that_was_asked_since_on_another_document_marks_nothing_in_the_files(tmp_path: Path) -> None:
    setup, live = Setup(question=QUESTION, steps=(PruneStep(4, 0.25),)), LiveRun()
    for event in SlimEngine(tiny_loaded(layers=LAYERS)).compare(RunRequest(long_text(5), QUESTION, setup.config(), 2)):
        live = live.after(event)
    visitor = Visitor(document=read_paste(long_text(90)), ran=setup, run=live)
    before = names(write_files(visitor, tmp_path)[-1])
    visitor.evidence = ((4_000, 4_030),)  # as comparing methods on the longer document leaves it
    assert names(write_files(visitor, tmp_path)[-1]) == before


def test_methods_and_repeated_runs_go_with_the_run(tmp_path: Path) -> None:
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
    found = names(write_files(visitor, tmp_path)[-1])
    assert found >= {"methods_kept.png", "methods.csv", "time_repeated.png", "time_repeated.csv"}
    visitor.document = read_paste("Another text.")
    assert not {"methods_kept.png", "methods.csv"} & names(write_files(visitor, tmp_path)[-1])


def test_the_data_to_take_away_are_the_command_lines(tmp_path: Path) -> None:
    setup = Setup(question=QUESTION, steps=(PruneStep(4, 0.5),), active=0.5, refresh=1)
    text, live = long_text(20), LiveRun()
    request = RunRequest(text, QUESTION, setup.config(), max_new_tokens=6, ignore_eos=True)
    events = tuple(SlimEngine(tiny_loaded(layers=LAYERS)).compare(request))
    for event in events:
        live = live.after(event)
    *_, data, bundle = write_files(Visitor(document=read_paste(text), ran=setup, run=live), tmp_path)
    told = RunResult.of(events).to_dict(setup.model, setup.config())
    assert told["pruned"]["cache"]["events"]
    written = json.loads(data.read_bytes())
    about = written.pop("asked")
    assert json_bytes(written) == json_bytes(told)
    assert (about["question"], about["document"]) == (QUESTION, PASTED_NAME)
    assert datetime.fromisoformat(about["date"]).tzinfo is not None
    with zipfile.ZipFile(bundle) as files:
        assert files.read("run.json") == data.read_bytes()


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as bundle:
        return {Path(name).name for name in bundle.namelist()}
