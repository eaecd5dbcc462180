"""A recorded run comes back as it was, the shipped one is whole and says what it is, and a broken one is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.record import recorded_run
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Compared
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.tape import from_tape
from sliminfer.errors import SlimError
from sliminfer.model.loading import load_model
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.page.serving import FACT, QUESTION, long_text, write_model
from viz.figures.kept_map import KeptMap
from viz.figures.playing import playing_html
from viz.figures.recording import FOLDER, read_diffusion, read_recording
from viz.figures.tour import evidence_rank, score_grid, tour_html
from viz.page.judging import is_right

ABOUT = {
    "model": "Tiny", "machine": "this machine", "recorded": "2026-11-26", "document": "Log", "licence": "ours",
    "source": "here", "question": QUESTION, "answer": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, dict[str, Any]]:
    engine = SlimEngine(load_model(str(write_model(tmp_path_factory.mktemp("model"))), "cpu", "float32"))
    text = long_text(20)
    at = text.index(FACT)
    config = SlimConfig(steps=(PruneStep(4, 0.5), PruneStep(8, 0.25)), block_size=8)
    request = RunRequest(text, QUESTION, config, 6, evidence=((at, at + len(FACT)),))
    events = list(engine.compare(request))
    return RunResult.of(events), recorded_run(ABOUT, request, events)


def saved(data: dict[str, Any], folder: Path) -> Path:
    path = folder / "run.json"
    path.write_text(json.dumps(data | {"about": data["about"] | {"answer": "a code"}}), encoding="utf-8")
    return path


def test_a_run_comes_back_as_it_was(made: tuple[RunResult, dict[str, Any]], tmp_path: Path) -> None:
    run, data = made
    back = read_recording(saved(json.loads(json.dumps(data)), tmp_path))
    for before, after in zip(run.sides, back.run.sides, strict=True):
        assert (after.text, after.pieces, after.alive) == (before.text, before.pieces, before.alive)
        assert after.metrics is not None
        assert before.metrics is not None
        assert after.metrics.prompt_kv == before.metrics.prompt_kv
        assert (after.metrics.kept, after.metrics.blocks_read) == (before.metrics.kept, before.metrics.blocks_read)
    assert back.run.comparison == run.comparison
    whole = KeptMap.from_side(run.pruned, back.config)
    assert (back.kept.alive == whole.alive).all()
    assert FACT.strip() in "".join(piece.text for piece in back.passage)


def test_a_race_that_the_pruned_side_wins_comes_back(made: tuple[RunResult, dict[str, Any]]) -> None:
    events = json.loads(json.dumps(made[1]["events"]))
    ends = [place for place, event in enumerate(events) if event["kind"] == "Finished"]
    full, pruned = ends
    events[pruned]["at"], events[-1]["raced"] = events[full]["at"] - 1e-3, True
    events[full], events[pruned] = events[pruned], events[full]
    back = from_tape(events, made[1]["prompt"]["tokens"], tuple(made[1]["prompt"]["question"]))
    assert isinstance(back[-1], Compared)
    assert back[-1].raced


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_broken_recording_is_one_sentence(made: tuple[RunResult, dict[str, Any]], data: st.DataObject) -> None:
    """Whatever part is missing or of another kind: refused by a SlimError, or harmless."""
    broken = json.loads(json.dumps(made[1]))
    broken["about"]["answer"] = "a code"
    place: Any = broken
    while True:
        names = list(place) if isinstance(place, dict) else list(range(len(place)))
        name = data.draw(st.sampled_from(names))
        inner = place[name]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        place = inner
    place[name] = data.draw(st.sampled_from([None, "words", -1, [], {}]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_text", lambda self, encoding: json.dumps(broken))
        with contextlib.suppress(SlimError):
            playing_html(read_recording(Path("run.json")))


@pytest.mark.parametrize("result", [None, {}, [], {"tokens": 3}])
def test_a_broken_measurement_is_one_sentence(result: object, tmp_path: Path) -> None:
    whole = json.loads((FOLDER / "diffusion.json").read_text(encoding="utf-8"))
    (tmp_path / "diffusion.json").write_text(json.dumps(whole | {"result": result}), encoding="utf-8")
    with pytest.raises(SlimError, match="measure it again"):
        read_diffusion(tmp_path / "diffusion.json")


def test_the_shipped_recording_is_of_a_real_run() -> None:
    recording = read_recording(FOLDER / "run.json")
    run, kept = recording.run, recording.kept
    assert len(run.pruned.prompt or ()) >= 8_000
    assert all(is_right(side.text, recording.about.answer) for side in run.sides)
    start, end = recording.evidence[0]
    assert kept.alive[-1, start:end].all(), "the evidence survives to the last layer"
    assert kept.stages[-1].tokens < 0.25 * kept.tokens
    html = playing_html(recording, tour_html(recording, read_diffusion(FOLDER / "diffusion.json")))
    for said in (recording.about.model, recording.about.machine, recording.about.day, "Recording", "<table"):
        assert said in html
    assert html.count('class="tour-step"') == 4
    assert len(html) < 150_000, "it is sent with every page"


def test_scores_are_drawn_for_every_prune_step(made: tuple[RunResult, dict[str, Any]], tmp_path: Path) -> None:
    recording = read_recording(saved(made[1], tmp_path))
    assert len(score_grid(recording).cells) == 2
    for step in recording.run.pruned.pruned:
        rank, of, score = evidence_rank(recording, step)
        assert 1 <= rank <= of
        assert step.scores is not None
        assert (step.scores > score).sum() == rank - 1
