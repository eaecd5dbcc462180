"""Several questions of one document: each answered as alone, the document read once a side, the JSON in order."""

from __future__ import annotations

import threading

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.questions import Answering, DocumentRead, QuestionsResult, ask_all
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.errors import ConfigError
from sliminfer.model.loading import LoadedModel
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.selectors.cases import case_of
from tests.tiny import tiny_loaded

CONFIG = SlimConfig((PruneStep(2, 0.4), PruneStep(4, 0.2)), local=8)
DOCUMENT = "".join(f"On day {day} the lamp of tower {day * 7 % 11} was lit at {day % 12}. " for day in range(12))
QUESTIONS = ["When was the lamp lit?", "Who?", "Which tower is it?"]


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny_loaded()


def requests(config: SlimConfig = CONFIG, questions: list[str] = QUESTIONS) -> list[RunRequest]:
    return [RunRequest(DOCUMENT, question, config, 4, ignore_eos=True) for question in questions]


def result_of(engine: SlimEngine, asked: list[RunRequest]) -> QuestionsResult:
    result = QuestionsResult.of(len(asked))
    for item in ask_all(engine, asked):
        result = result.after(item)
    return result


def test_each_is_answered_as_alone_and_the_document_is_read_once(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    result = result_of(engine, requests())
    assert set(result.readings) == {"full", "pruned"}
    assert result.readings["pruned"].nbytes < result.readings["full"].nbytes
    for run, request in zip(result.runs, requests(), strict=True):
        alone = RunResult.of(engine.compare(request))
        assert (run.full.text, run.pruned.text) == (alone.full.text, alone.pruned.text)
        assert run.comparison is not None
        assert alone.comparison is not None
        assert run.comparison.agreement == alone.comparison.agreement
        assert run.pruned.metrics is not None
        assert run.pruned.metrics.read_tokens == result.readings["pruned"].tokens


def test_the_contract_names_them_in_order(loaded: LoadedModel) -> None:
    data = result_of(SlimEngine(loaded), requests()).to_dict("tiny", CONFIG, QUESTIONS)
    assert [entry["question"] for entry in data["questions"]] == QUESTIONS
    for entry in data["questions"]:
        assert {"full", "pruned", "speedup", "fidelity", "prompt_tokens"} <= set(entry)
        assert entry["pruned"]["kept"]
    assert {"model", "device", "dtype", "config", "reading"} <= set(data)
    assert data["reading"]["full"]["tokens"] > 0


def test_what_no_reading_can_answer_is_asked_afresh(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    result = result_of(engine, requests(case_of("gemfilter")))
    assert set(result.readings) == {"full"}
    assert not result.failed
    alone = result_of(engine, requests(questions=QUESTIONS[:1]))
    assert alone.readings == {}
    with pytest.raises(ConfigError, match="no question"):
        next(ask_all(engine, []))


def test_a_hybrid_is_asked_afresh() -> None:
    config = SlimConfig((PruneStep(3, 0.5),), local=8)
    result = result_of(SlimEngine(tiny_loaded("lfm2")), requests(config, QUESTIONS[:2]))
    assert (result.readings, result.failed) == ({}, [])
    assert all(run.comparison is not None for run in result.runs)


def test_it_stops_where_it_is_told(loaded: LoadedModel) -> None:
    stop = threading.Event()
    seen = []
    for item in ask_all(SlimEngine(loaded), requests(), stop):
        seen.append(item)
        if isinstance(item, Answering):
            stop.set()
    assert isinstance(seen[0], DocumentRead)
    assert {item.index for item in seen[1:] if isinstance(item, Answering)} == {0}
