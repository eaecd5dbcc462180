"""The files a visitor takes away hold what was measured on the document they are about."""

from __future__ import annotations

import zipfile
from pathlib import Path

from sliminfer.config import PruneStep
from sliminfer.diffusion import DiffusionPlan, probe
from sliminfer.engine import RunRequest, SlimEngine
from tests.page.serving import FACT, LAYERS, QUESTION, long_text
from tests.tiny import tiny_loaded
from viz.page.document_input import read_paste
from viz.page.live import LiveRun
from viz.page.session import Visitor
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
    assert names(write_files(visitor, tmp_path)[2]) >= DIFFUSION
    visitor.document = read_paste("Another text.")
    assert not DIFFUSION & names(write_files(visitor, tmp_path)[2])


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as bundle:
        return {Path(name).name for name in bundle.namelist()}
