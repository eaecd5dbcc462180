"""Asking through a reading is asking afresh: tokens, logits, what is kept, and what the arithmetic says."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished, Side
from sliminfer.engine.metrics import RunMetrics
from sliminfer.engine.request import RunRequest
from sliminfer.errors import ConfigError, MemoryLimitError
from sliminfer.model.known import KNOWN
from sliminfer.model.loading import LoadedModel
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import prefill_flops, read_flops
from sliminfer.selectors import selector_class
from tests.selectors.cases import CASES
from tests.tiny import FAMILIES, PLAIN, tiny_loaded

STEPS = (PruneStep(2, 0.4), PruneStep(4, 0.2))
CONFIG = SlimConfig(STEPS, local=8)
DOCUMENT = "".join(f"On day {day} the lamp of tower {day * 7 % 11} was lit at {day % 12}. " for day in range(12))
# The others read a prompt twice, by scores from outside the model or by several layers: `reading_layer` refuses them.
BEYOND = ("gemfilter", "self-draft", "specprefill", "bm25", "sliminfer-draft", "claa", "embedding")
ANSWERABLE = [config for config in CASES if config.method not in (*BEYOND, "oracle")]


@pytest.fixture(scope="module", autouse=True)
def few_to_collect() -> Iterator[None]:
    """Before each run the garbage is collected: what is there for good need not be looked through every time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny_loaded()


def asking(question: str, config: SlimConfig = CONFIG, document: str = DOCUMENT, **given: Any) -> RunRequest:
    return RunRequest(document, question, config, 4, ignore_eos=True, **given)


def last(events: Any) -> RunMetrics:
    *_, end = events
    assert isinstance(end, Finished), end
    return end.metrics


def assert_as_afresh(engine: SlimEngine, request: RunRequest, through: RunMetrics, side: Side = "pruned") -> None:
    afresh = last(engine.run(request, side))
    assert through.token_ids == afresh.token_ids
    assert through.kept == afresh.kept
    assert through.tokens_per_layer == afresh.tokens_per_layer
    assert through.prompt_kv.device == afresh.prompt_kv.device
    assert through.first_logits is not None
    assert afresh.first_logits is not None
    # The sums of attention run in another order, at logits of size 10.
    torch.testing.assert_close(
        torch.from_numpy(through.first_logits), torch.from_numpy(afresh.first_logits), atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("family", ["gemma3_text", "gpt_oss", "ministral3", "llama4_text"])
def test_models_with_windows_or_heated_queries_answer_from_a_reading(family: str) -> None:
    engine = SlimEngine(tiny_loaded(family))
    config = CONFIG.with_changes(steps=(PruneStep(3, 0.7), PruneStep(5, 0.5)))
    reading = engine.read(asking("What?", config))
    request = asking("When was the lamp of tower 3 lit?", config)
    assert_as_afresh(engine, request, last(engine.ask(reading, request)))


def test_a_hybrid_has_no_reading() -> None:
    with pytest.raises(ConfigError, match="which no reading keeps: ask afresh"):
        SlimEngine(tiny_loaded("lfm2")).read(asking("What?", CONFIG.with_changes(steps=(PruneStep(3, 0.5),))))


@pytest.mark.parametrize("config", [*ANSWERABLE, SlimConfig()], ids=str)
def test_every_method_answers_from_a_reading(config: SlimConfig) -> None:
    engine = SlimEngine(tiny_loaded())
    own = config.with_changes(query_window=None)
    reading = engine.read(asking("What?", own))
    for question, wanted in (("When was the lamp of tower 3 lit?", config), ("Who?", own)):
        assert_as_afresh(engine, asking(question, wanted), last(engine.ask(reading, asking(question, wanted))))


@pytest.mark.parametrize("family", [*FAMILIES, *PLAIN])
def test_every_family_answers_from_a_reading(family: str) -> None:
    engine = SlimEngine(tiny_loaded(family))
    reading = engine.read(asking("What?"))
    assert_as_afresh(engine, asking("When was it lit?"), last(engine.ask(reading, "When was it lit?")))


@pytest.mark.parametrize("changes", [{"attention": "eager"}, {"family": "mistral", "sliding_window": 40}])
def test_every_backend_and_window_answers_from_a_reading(changes: dict[str, Any]) -> None:
    engine = SlimEngine(tiny_loaded(**changes))
    reading = engine.read(asking("What?"))
    assert_as_afresh(engine, asking("When was it lit?"), last(engine.ask(reading, "When was it lit?")))


words = st.lists(st.sampled_from(["lamp", "tower", "3", "\n\n", ".", " was lit", "塔", "Question:"]), max_size=8)


@settings(max_examples=10, deadline=None)
@given(
    document=words.map(lambda w: DOCUMENT[:300] + " ".join(w)),
    questions=st.lists(words.map(lambda w: "Who" + "".join(w)), min_size=1, max_size=2),
    score=st.sampled_from(["previous", "own", "both"]),
    active=st.sampled_from([None, 0.7]),
    side=st.sampled_from(["full", "pruned"]),
)
def test_any_conversation_about_a_document_that_was_read_once(
    loaded: LoadedModel, document: str, questions: list[str], score: Any, active: float | None, side: Side
) -> None:
    engine, config = SlimEngine(loaded), CONFIG.with_changes(score_layer=score, active=active, decode_block_size=8)
    reading = engine.read(asking("What?", config, document), side)
    for question in questions:
        metrics = last(engine.ask(reading, question, side))
        assert 0 < metrics.read_tokens <= len(reading)
        assert_as_afresh(engine, asking(question, config, document), metrics, side)


def test_the_reading_is_left_as_it_was(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    reading = engine.read(asking("What?"))
    before = [each.clone() for each in (*reading.keys, *reading.values, reading.hidden, reading.tail)]
    last(engine.ask(reading, "When was it lit?"))
    after = (*reading.keys, *reading.values, reading.hidden, reading.tail)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_what_documents_share_is_read_once(loaded: LoadedModel) -> None:
    engine, other = SlimEngine(loaded), DOCUMENT[:200] + "Nobody came to the tower, and no lamp was lit. " * 3
    first = engine.read(asking("What?"))
    reading = engine.read(asking("What?", document=other), earlier=first)
    afresh = engine.read(asking("What?", document=other))
    assert reading.ids == afresh.ids
    torch.testing.assert_close(reading.hidden, afresh.hidden, atol=1e-5, rtol=1e-5)
    metrics = last(engine.ask(reading, "Who came?"))
    assert_as_afresh(engine, asking("Who came?", document=other), metrics)


def test_a_later_first_step_may_use_the_reading_of_an_earlier_one(loaded: LoadedModel) -> None:
    engine, later = SlimEngine(loaded), CONFIG.with_changes(steps=(PruneStep(3, 0.3),))
    reading = engine.read(asking("What?"))
    assert_as_afresh(engine, asking("Who?", later), last(engine.ask(reading, asking("Who?", later))))
    assert_as_afresh(engine, asking("Who?"), last(engine.ask(reading, "Who?")))


def test_flops_are_those_of_what_is_left_to_do(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    for side in ("full", "pruned"):
        metrics = last(engine.ask(engine.read(asking("What?"), side), "Who?", side))
        fresh = last(engine.run(asking("Who?"), side))
        assert 0 < metrics.prefill_flops < fresh.prefill_flops
        assert metrics.reading_bytes > 0 == fresh.reading_bytes


@pytest.mark.parametrize(("tokens", "most"), [(32_768, 0.25), (131_072, 0.2)])
def test_the_arithmetic_of_a_follow_up_at_8b(tokens: int, most: float) -> None:
    shape = KNOWN["meta-llama/Llama-3.1-8B-Instruct"].shape
    config = SlimConfig.preset("paper", shape.layers)
    plan = selector_class("sliminfer").plan(config, BlockMap.of(tokens, config, (tokens - 32, tokens)), shape.layers)
    afresh, layer = prefill_flops(shape, plan.layer_runs, plan.scored), config.steps[0].layer
    assert afresh - read_flops(shape, tokens - 32, layer) <= most * afresh
    assert layer * 2 * shape.kv_width + shape.hidden <= 0.5 * shape.layers * 2 * shape.kv_width


def test_a_reading_holds_the_first_layers_and_what_enters_the_step(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    reading, whole = engine.read(asking("What?")), engine.read(asking("What?"), "full")
    kv = sum(each.nbytes for each in (*whole.keys, *whole.values))
    assert sum(each.nbytes for each in (*reading.keys, *reading.values)) * 3 == kv
    assert reading.hidden.shape == (1, len(reading), 32)
    assert whole.hidden.shape[1] == 0


def test_what_cannot_be_answered_from_a_reading_is_told_in_a_sentence(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    reading = engine.read(asking("What?"))
    two_pass = next(config for config in CASES if config.method == "gemfilter")
    with pytest.raises(ConfigError, match=r"gemfilter .* ask afresh"):
        engine.read(asking("What?", two_pass))
    for others in (CONFIG.with_changes(steps=(PruneStep(1, 0.5),)), CONFIG.with_changes(steps=(PruneStep(3, 0.5),))):
        with pytest.raises(ConfigError, match="earlier reading ends at layer 2"):
            engine.read(asking("What?", others), earlier=reading)
    several = next(config for config in CASES if config.method == "claa")
    with pytest.raises(ConfigError, match=r"claa .* ask afresh"):
        engine.read(asking("What?", several))
    with pytest.raises(ConfigError, match="read its own document"):
        engine.ask(reading, asking("Who?", document="Another text altogether. " * 20))
    earlier = asking("Who?", CONFIG.with_changes(steps=(PruneStep(1, 0.5),)))
    *_, end = engine.ask(reading, earlier)
    assert "read the document for this schedule" in str(getattr(end, "message", ""))


def test_no_memory_for_a_reading_is_told_in_a_sentence() -> None:
    def out(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    engine = SlimEngine(tiny_loaded(seed=8))
    handle = engine.loaded.model.model.layers[1].register_forward_pre_hook(out)
    with pytest.raises(MemoryLimitError, match="does not fit in memory"):
        engine.read(asking("What?"))
    handle.remove()
    assert len(engine.read(asking("What?"))) > 0


def test_a_prompt_that_is_rotated_otherwise_than_the_reading_is_refused() -> None:
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}
    changes = {"rope_parameters": rope | {"original_max_position_embeddings": 300}}
    engine = SlimEngine(tiny_loaded("phi3", original_max_position_embeddings=300, **changes))
    reading = engine.read(asking("What?", document=DOCUMENT[:560]))
    assert len(reading) < 290
    assert_as_afresh(engine, asking("Who?", document=DOCUMENT[:560]), last(engine.ask(reading, "Who?")))
    *_, end = engine.ask(reading, "Who was it that lit the lamp, " * 12)
    assert "ask afresh" in str(getattr(end, "message", ""))
    with pytest.raises(ConfigError, match="other factors"):
        engine.read(asking("What?", document=DOCUMENT * 2), earlier=reading)
