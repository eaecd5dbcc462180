"""A reading that was made sparsely: asking through it is asking afresh, since no question bears on what it chose."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.cache_utils import DynamicCache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.reading import Reading
from sliminfer.engine.reading_file import load_reading, save_reading
from sliminfer.engine.request import RunRequest
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.model.loading import LoadedModel
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import read_flops
from tests.engine.test_reading import DOCUMENT, assert_as_afresh, last
from tests.sparse.test_in_the_loop import OPTIONS
from tests.tiny import FAMILIES, tiny_loaded, token_ids

PRUNED = SlimConfig((PruneStep(2, 0.4), PruneStep(4, 0.2)), local=8, reading="sparse", reading_options=OPTIONS)


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return tiny_loaded(initializer_range=0.15)


def under(config: SlimConfig = PRUNED, **options: Any) -> SlimConfig:
    return config.with_changes(reading_options={**OPTIONS, **options})


def asking(question: str, config: SlimConfig = PRUNED, document: str = DOCUMENT, **given: Any) -> RunRequest:
    return RunRequest(document, question, config, 3, ignore_eos=True, **given)


def assert_alike(engine: SlimEngine, reading: Reading, request: RunRequest) -> None:
    through = last(engine.ask(reading, request))
    assert_as_afresh(engine, request, through)
    assert through.blocks_read == last(engine.run(request)).blocks_read
    assert min(through.blocks_read) < 1.0


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("steps", [(), PRUNED.steps], ids=["alone", "pruned"])
def test_every_family_answers_as_afresh(family: str, steps: tuple[PruneStep, ...]) -> None:
    engine, config = SlimEngine(tiny_loaded(family, initializer_range=0.15)), PRUNED.with_changes(steps=steps)
    reading = engine.read(asking("?", config))
    assert reading.sparse is not None
    for question in ("Who?", "When was the lamp of tower 3 lit? " * 12):
        assert_alike(engine, reading, asking(question, config))


@settings(max_examples=25, deadline=None)
@given(
    end=st.integers(330, len(DOCUMENT)),
    other=st.integers(300, len(DOCUMENT)),
    question=st.integers(1, 90).map(lambda n: "Who" + "o" * n),
    chooser=st.sampled_from(["pooled", "antidiagonal"]),
    rule=st.sampled_from(["share", "max", "mass"]),
    share=st.sampled_from([0.2, 0.5, 1.0]),
    heads=st.sampled_from(["each", "group", "all"]),
    first=st.sampled_from([2, 3]),
)
def test_any_prompt_that_begins_alike_is_answered_as_afresh(
    loaded: LoadedModel,
    end: int,
    other: int,
    question: str,
    chooser: str,
    rule: str,
    share: float,
    heads: str,
    first: int,
) -> None:
    """Also where the document goes on behind the reading, ends before it, or the first step comes later."""
    engine = SlimEngine(loaded)
    config = under(chooser=chooser, rule=rule, share=share, threshold=min(share, 0.9), heads=heads)
    reading = engine.read(asking("?", config, DOCUMENT[:end]))
    later = config.with_changes(steps=(PruneStep(first, 0.4),))
    request = asking(question, later, DOCUMENT[:other])
    assert_as_afresh(engine, request, last(engine.ask(reading, request)))
    # And a reading on top of it is the one that is made at once.
    grown, whole = (engine.read(asking("?", config, DOCUMENT[:other]), earlier=each) for each in (reading, None))
    assert (grown.ids, grown.choosing) == (whole.ids, whole.choosing)
    torch.testing.assert_close(grown.hidden, whole.hidden, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(mine, whole.counts[layer]) for layer, mine in grown.counts.items())


def test_at_a_share_of_one_it_is_a_dense_reading(loaded: LoadedModel) -> None:
    engine, config = SlimEngine(loaded), under(share=1.0)
    sparse, dense = (engine.read(asking("?", each)) for each in (config, config.with_changes(reading="dense")))
    torch.testing.assert_close(sparse.hidden, dense.hidden, atol=1e-5, rtol=1e-5)
    afresh = asking("When was it lit?", config.with_changes(reading="dense"))
    assert_as_afresh(engine, afresh, last(engine.ask(sparse, asking("When was it lit?", config))))


def test_nothing_of_the_question_bears_on_what_was_chosen(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    one, other = engine.read(asking("?")), engine.read(asking("Whose lamp was lit? " * 9))
    assert one.ids == other.ids
    assert torch.equal(one.hidden, other.hidden)
    dense = engine.read(asking("?", PRUNED.with_changes(reading="dense")))
    assert (one.hidden - dense.hidden).abs().max() > 1e-3


def test_a_file_gives_it_back(loaded: LoadedModel, tmp_path: Path) -> None:
    engine = SlimEngine(loaded)
    reading = engine.read(asking("?"))
    save_reading(reading, tmp_path / "reading", loaded.model)
    back = load_reading(tmp_path / "reading", loaded.model)
    assert (back.sparse, back.choosing, len(back)) == (reading.sparse, reading.choosing, len(reading))
    assert_alike(engine, back, asking("Who?"))


def test_a_conversation_goes_on_from_it(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    history = [("When was the lamp of tower 3 lit?", "At nine, on day two, and on the day after."), ("Who?", "Nobody.")]
    reading = engine.read(asking("?"))
    turn = asking("And then?", history=history)
    assert_alike(engine, reading, turn)
    assert_alike(engine, engine.read(turn, earlier=reading), asking("Why?", history=history))


def test_the_flops_of_reading_and_of_asking_are_those_of_asking_afresh(loaded: LoadedModel) -> None:
    """But for the products to choose by, which a fresh run takes for the question's blocks as well."""
    engine, shape = SlimEngine(loaded), loaded.shape
    reading, request = engine.read(asking("?")), asking("Who?")
    through, afresh = last(engine.ask(reading, request)), last(engine.run(request))
    apart = afresh.prefill_flops - through.prefill_flops - reading.flops(shape)
    blocks = [-(-tokens // OPTIONS["block"]) for tokens in (afresh.prompt_tokens, len(reading))]
    products = 2.0 * shape.query_width * reading.layer * (blocks[0] ** 2 - blocks[1] ** 2)
    assert apart == pytest.approx(products, rel=1e-6)
    assert reading.flops(shape) < read_flops(shape, len(reading), reading.layer)


def test_slim_reads_once_and_asks_as_afresh(loaded: LoadedModel) -> None:
    model, document = loaded.model, token_ids(200)
    with slim(model, PRUNED) as loop:
        opened = loop.read_once(document)
    for count in (3, 40, 70):
        ids = torch.cat([document, token_ids(count, seed=count)], 1)
        for question in ((200, 200 + count), None):
            caches = [copy.deepcopy(opened), DynamicCache()]
            with torch.inference_mode(), slim(model, PRUNED, question=question) as loop:
                inputs = (ids[:, 200:], ids)
                found = [
                    model(each, past_key_values=cache, logits_to_keep=1).logits
                    for each, cache in zip(inputs, caches, strict=True)
                ]
                kept = [loop.kept_positions(cache) for cache in caches]
            torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(*kept, strict=True))


def test_logits_of_every_token_of_a_question_come_alone(loaded: LoadedModel) -> None:
    model, document, config = loaded.model, token_ids(200), PRUNED.with_changes(steps=())
    ids = torch.cat([document, token_ids(70, seed=3)], 1)
    with torch.inference_mode(), slim(model, config) as loop:
        cache = loop.read_once(document)
        found, afresh = model(ids[:, 200:], past_key_values=cache).logits, model(ids).logits
    torch.testing.assert_close(found, afresh[:, 200:], atol=1e-5, rtol=1e-5)


def test_what_was_read_says_how_the_rest_is_read(loaded: LoadedModel) -> None:
    """A document that is too short by itself to be read sparsely is read densely, with a question of any length."""
    engine = SlimEngine(loaded)
    length = len(engine.prepare(asking("?")).prompt)
    config = under(from_tokens=length)
    reading = engine.read(asking("?", config))
    assert reading.sparse is None
    metrics = last(engine.ask(reading, asking("Who?", config)))
    assert (metrics.blocks_read, metrics.dense_because) == ((), "The document was read before the question, densely.")
    assert_as_afresh(engine, asking("Who?", config.with_changes(reading="dense")), metrics)
    assert last(engine.run(asking("Who?", config))).blocks_read


def test_what_it_cannot_answer_is_told_in_a_sentence(loaded: LoadedModel) -> None:
    engine = SlimEngine(loaded)
    for options in ({"chooser": "vertical_slash"}, {"agree": 0.9}):
        with pytest.raises(ConfigError, match=r"chosen by the whole prompt.*ask afresh"):
            engine.read(asking("?", under(**options)))
    reading = engine.read(asking("?"))
    for config in (PRUNED.with_changes(reading="dense"), under(share=0.7)):
        *_, end = engine.ask(reading, asking("Who?", config))
        assert "read the document for this request" in str(getattr(end, "message", ""))
        with pytest.raises(ConfigError, match="one that was read alike, or none"):
            engine.read(asking("?", config), earlier=reading)
