"""What a request is made of: a document and a question become a prompt, and a ready prompt runs as well."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import pytest

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import PromptReady, Side
from sliminfer.engine.request import PromptRequest, Pruning, Request, RunRequest, Sampling, in_tokens
from sliminfer.engine.result import RunResult
from sliminfer.errors import ConfigError, SlimError
from sliminfer.model.prompts import Prompt, build_prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded

FACT = "The lamp was lit at nine. "
DOCUMENT = "The north tower stood in the fog. " * 8 + FACT + "The keeper slept. " * 12
SPAN = (DOCUMENT.index(FACT), DOCUMENT.index(FACT) + len(FACT))
CONFIG = SlimConfig(steps=(PruneStep(2, 0.5),), block_size=8, local=16)
OTHER = Sampling(max_new_tokens=3, temperature=2.0, top_p=0.9, seed=7, ignore_eos=True)
REQUEST = RunRequest(DOCUMENT, "When?", CONFIG, 3, 2.0, 0.9, 7, (SPAN,), "torch", ignore_eos=True)


@pytest.fixture(scope="module")
def engine() -> SlimEngine:
    return SlimEngine(tiny_loaded())


def tokens(engine: SlimEngine, request: Request, side: Side) -> tuple[int, ...]:
    return RunResult.of(engine.run(request, side)).finished[side].metrics.token_ids


def test_all_that_is_asked_reaches_the_engine(engine: SlimEngine) -> None:
    tokenizer = engine.loaded.tokenizer
    prompt = build_prompt(tokenizer, DOCUMENT, "When?")
    ready = REQUEST.tokenized(tokenizer)
    assert (ready.prompt, ready.sampling, ready.kernels) == (prompt, OTHER, "torch")
    assert ready.pruning == Pruning(CONFIG, (prompt.token_range(*SPAN),))
    assert ready.tokenize_s > 0


@pytest.mark.parametrize("name", [field.name for field in fields(Sampling)])
def test_every_word_of_sampling_is_one_of_a_request(name: str) -> None:
    default, changed = Sampling(), replace(Sampling(), **{name: getattr(OTHER, name)})
    assert default != changed
    assert RunRequest("a", "b").sampling == default
    assert RunRequest("a", "b", **{name: getattr(OTHER, name)}).sampling == changed


@pytest.mark.parametrize("side", ["full", "pruned"])
def test_a_ready_prompt_runs_as_the_document_it_was_made_of(engine: SlimEngine, side: Side) -> None:
    prompt = build_prompt(engine.loaded.tokenizer, DOCUMENT, "When?")
    ready = PromptRequest(prompt, OTHER, Pruning(CONFIG, in_tokens(prompt, [SPAN])))
    assert tokens(engine, ready, side) == tokens(engine, REQUEST, side)


@pytest.mark.parametrize("side", ["full", "pruned"])
def test_bare_token_ids_run(engine: SlimEngine, side: Side) -> None:
    prompt = Prompt.of_ids(range(3, 203), question_tokens=10)
    assert (len(prompt), prompt.question) == (200, (190, 200))
    assert len(tokens(engine, PromptRequest(prompt, OTHER, Pruning(CONFIG)), side)) == 3


def test_what_is_prepared_once_is_not_tokenised_again(engine: SlimEngine) -> None:
    ready = engine.prepare(REQUEST)
    assert engine.prepare(ready) is ready
    for event in engine.compare(ready):
        if isinstance(event, PromptReady):
            assert event.prompt is ready.prompt
            assert event.tokenize_s == ready.tokenize_s
    other = ready.under(SlimConfig())
    assert other.pruning == Pruning(SlimConfig(), ready.pruning.evidence)
    assert replace(other, pruning=ready.pruning) == ready
    assert pickle.loads(pickle.dumps(ready)) == ready


def test_what_cannot_be_asked_is_refused_with_a_sentence(engine: SlimEngine) -> None:
    prompt = build_prompt(engine.loaded.tokenizer, DOCUMENT, "When?")
    with pytest.raises(ConfigError, match="evidence is not in the document"):
        engine.prepare(replace(REQUEST, evidence=((10**6, 10**6 + 1),)))
    for span in ((5, 5), (-1, 3), (0, len(prompt) + 1)):
        with pytest.raises(ConfigError, match="not in the prompt"):
            PromptRequest(prompt, pruning=Pruning(evidence=(span,)))
    with pytest.raises(ConfigError, match="prompt is empty"):
        PromptRequest(Prompt.of_ids([], 0))
    with pytest.raises(SlimError, match="reads at most"):
        engine.run(PromptRequest(Prompt.of_ids(range(3, 203), 10), Sampling(5000)))
