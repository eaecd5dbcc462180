"""The borrowing engine: in a forked worker, over pickles, it gives what the engine itself gives."""

from __future__ import annotations

import ast
import itertools
import multiprocessing
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.probe import probe
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Compared, Event, Finished
from sliminfer.engine.limits import RunLimits
from sliminfer.engine.request import RunRequest
from sliminfer.errors import ConfigError, MemoryLimitError
from sliminfer.schedule.config import SlimConfig
from tests.tiny import tiny_loaded
from viz.page import zero

ROOT = Path(__file__).resolve().parents[2]
REQUEST = RunRequest("The keeper lit the lamp at nine. " * 30, "Who?", SlimConfig.preset("paper", 12), max_new_tokens=4)
SPAN = (100, 110)
PLAN = DiffusionPlan((0, 6, 12), draws=2)


@pytest.fixture(scope="module")
def engine() -> zero.BorrowingEngine:
    return zero.BorrowingEngine(replace(tiny_loaded(layers=12), name="tiny"), RunLimits(new_tokens=8, seconds=60))


def answers(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.side, event.text) for event in events if isinstance(event, Finished)]


def test_a_borrowed_run_is_the_run(engine: zero.BorrowingEngine) -> None:
    own = list(SlimEngine(engine.loaded).compare(REQUEST))
    borrowed = list(engine.compare(REQUEST))
    assert answers(borrowed) == answers(own)
    assert isinstance(borrowed[-1], Compared)
    assert [type(event) for event in borrowed] == [type(event) for event in own]


def test_every_event_survives_the_way_between_the_processes(engine: zero.BorrowingEngine) -> None:
    for item in zero._lent("tiny", "both", engine.prepare(REQUEST)):
        copy = pickle.loads(pickle.dumps(item))
        assert type(copy) is type(item)
        assert copy.side == item.side


def _in_fork(send: Any) -> None:
    for event in zero._ENGINES["tiny"].on_device("pruned", zero._ENGINES["tiny"].prepare(REQUEST)):
        send.send(event)
    send.close()


def forked_answers() -> list[tuple[str, str]]:
    """What a forked worker answers, brought back over a pipe."""
    zero.BorrowingEngine(replace(tiny_loaded(layers=12), name="tiny"), RunLimits(new_tokens=8, seconds=60))
    context = multiprocessing.get_context("fork")
    receive, send = context.Pipe(duplex=False)
    worker = context.Process(target=_in_fork, args=(send,))
    worker.start()
    send.close()
    events = []
    while receive.poll(60):
        try:
            events.append(receive.recv())
        except EOFError:
            worker.join(10)
            assert worker.exitcode == 0
            return answers(events)
    worker.kill()
    raise AssertionError("the forked worker hung")


def test_a_forked_worker_finds_the_engine() -> None:
    """As ZeroGPU does it: the worker is a fork, and only pickles come back.

    In a process of its own: a fork of one whose OpenMP threads have already computed would wait for them.
    """
    code = "from tests.hosting.test_zero import forked_answers; print(forked_answers()[0][0])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.stdout.strip().splitlines()[-1:] == ["pruned"], done.stderr


def test_a_refusal_keeps_its_words(engine: zero.BorrowingEngine) -> None:
    with pytest.raises(MemoryLimitError, match="up to 8 tokens"):
        engine.compare(replace(REQUEST, max_new_tokens=9))


def test_a_borrowed_measurement_is_the_measurement(engine: zero.BorrowingEngine) -> None:
    prompt = engine.prepare(REQUEST).prompt
    *_, own = probe(SlimEngine(engine.loaded), prompt, SPAN, PLAN)
    *_, borrowed = zero.probing(engine, prompt, SPAN, PLAN)
    assert borrowed.to_dict() == own.to_dict()
    assert pickle.loads(pickle.dumps(borrowed)).to_dict() == own.to_dict()


def test_a_measurement_that_is_refused_keeps_its_words(engine: zero.BorrowingEngine) -> None:
    prompt = engine.prepare(REQUEST).prompt
    with pytest.raises(ConfigError, match="always kept"):
        list(zero.probing(engine, prompt, (0, 1), PLAN))


@pytest.mark.parametrize("kind", [SlimEngine, zero.BorrowingEngine])
def test_a_measurement_ends_with_what_it_knows_when_its_time_is_up(
    kind: type[SlimEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = kind(replace(tiny_loaded(layers=12), name="hurried"), RunLimits(seconds=60))
    clock = itertools.count(step=20)  # every look at it takes 20 s
    monkeypatch.setattr(zero, "monotonic", lambda: next(clock))
    results = list(zero.probing(engine, engine.prepare(REQUEST).prompt, SPAN, PLAN))
    assert len(results) == 4
    assert 0 < results[-1].done < results[-1].total


def test_leaving_early_ends_the_call(engine: zero.BorrowingEngine) -> None:
    events = engine.run(REQUEST)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert any(isinstance(event, Finished) for event in engine.run(REQUEST))


def test_the_loan_grows_with_the_work_and_stays_within_the_limit(engine: zero.BorrowingEngine) -> None:
    lengths = [engine.loan_seconds(tokens, 4) for tokens in (0, 10_000, 10_000_000)]
    assert lengths == sorted(lengths)
    assert engine.loan_seconds(10**12, 4) == 60
    assert engine.loan_seconds(1000, 8) < engine.loan_seconds(1000, 16)
    ready = engine.prepare(REQUEST)
    assert 1 <= zero._seconds("tiny", "both", ready) <= 60
    assert 1 <= zero._probe_seconds("tiny", ready.prompt, SPAN, PLAN) <= 60


def test_app_imports_spaces_before_anything_that_could_touch_cuda() -> None:
    tree = ast.parse((ROOT / "app.py").read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    named = [
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in sorted(found, key=lambda node: node.lineno)
    ]
    assert named[:3] == ["__future__", "contextlib", "spaces"]
