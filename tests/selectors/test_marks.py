"""What a caller marks: kept spans pass every step and dropped ones none, under every method and as the plan says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import prefill_flops
from sliminfer.schedule.marks import Marks
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors import selector_class
from sliminfer.selectors.budget import at_flop_budget, flop_speedup
from tests.selectors.cases import CASES, EVIDENCE, outside
from tests.tiny import tiny_model, token_ids

TOKENS, QUESTION = 131, (118, 126)
DEMO = ModelShape(12, 512, 1408, 8, 4, 64, 8192, 16384, True)

spans = st.lists(
    st.tuples(st.integers(0, TOKENS - 1), st.integers(1, 30)).map(lambda s: (s[0], min(TOKENS, s[0] + s[1]))),
    max_size=3,
)


def disjoint(keep: list[Span], drop: list[Span]) -> Marks:
    """Marks of both, less the dropped spans that may not be."""
    fixed = [*keep, QUESTION, (TOKENS - 1, TOKENS)]
    return Marks(tuple(keep), tuple(d for d in drop if all(d[1] <= a or d[0] >= b for a, b in fixed)))


def positions(some: tuple[Span, ...]) -> set[int]:
    return {i for span in some for i in range(*span)}


@pytest.mark.parametrize("config", CASES, ids=lambda config: config.method)
@settings(max_examples=12, deadline=None)
@given(keep=spans, drop=spans, share=st.floats(0.05, 1.0))
def test_marked_spans_fare_as_marked_and_as_planned(
    config: SlimConfig, keep: list[Span], drop: list[Span], share: float
) -> None:
    marks = disjoint(keep, drop)
    steps = tuple(PruneStep(step.layer, max(0.01, round(share * step.keep, 3))) for step in config.steps)
    config = config.with_changes(steps=steps)
    blocks = BlockMap.of(TOKENS, config, QUESTION, marks)
    model, cache = tiny_model(), DynamicCache()
    with torch.inference_mode(), slim(
        model, config, QUESTION, EVIDENCE, keep=marks.keep, drop=marks.drop, outside=outside(TOKENS)
    ) as loop:
        model(token_ids(TOKENS), past_key_values=cache, logits_to_keep=1)
        kept = [set(held.tolist()) for held in loop.kept_positions(cache)]
        model(token_ids(1), past_key_values=cache)  # what a method brings back is not what is to stay away
        later = [set(held.tolist()) for held in loop.kept_positions(cache)]
    stays, gone = (positions(tuple(map(blocks.span, ids))) for ids in (blocks.forced, blocks.dropped))
    assert positions(marks.keep) <= stays
    assert positions(marks.drop) - gone <= stays | positions((blocks.span(len(blocks) - 1),))
    first = 0 if selector_class(config.method).two_pass else config.steps[0].layer
    for held in (*kept, *later):
        assert stays <= held
    for held in (*kept[first:], *later[first:]):
        assert not gone & held
    planned = selector_class(config.method).plan(config, blocks, len(kept)).layer_runs[-len(kept) :]
    if selector_class(config.method).own_budget:
        assert all(len(held) <= count for held, count in zip(kept, planned, strict=True))
    else:
        assert [len(held) for held in kept] == list(planned)


@pytest.mark.parametrize("config", CASES, ids=lambda config: config.method)
def test_where_kept_spans_exceed_the_budget_they_alone_go_on(config: SlimConfig) -> None:
    tight = config.with_changes(steps=tuple(PruneStep(step.layer, 0.01) for step in config.steps))
    blocks = BlockMap.of(TOKENS, tight, QUESTION, Marks(keep=((20, 90),)))
    cache, model = DynamicCache(), tiny_model()
    with torch.inference_mode(), slim(
        model, tight, QUESTION, EVIDENCE, keep=((20, 90),), outside=outside(TOKENS)
    ) as loop:
        model(token_ids(TOKENS), past_key_values=cache, logits_to_keep=1)
        last = loop.kept_positions(cache)[-1].tolist()
    assert last == sorted(positions(tuple(map(blocks.span, blocks.forced))))


@given(keep=spans, drop=spans, speedup=st.floats(1.2, 2.0))
@settings(max_examples=20, deadline=None)
def test_a_flop_budget_counts_what_is_marked(keep: list[Span], drop: list[Span], speedup: float) -> None:
    tokens, scale = TOKENS * 32, lambda some: tuple((32 * a, 32 * b) for a, b in some)
    marks = disjoint(keep[:1], drop[:1])
    marks, question = Marks(scale(marks.keep), scale(marks.drop)), (32 * QUESTION[0], 32 * QUESTION[1])
    start = SlimConfig((PruneStep(4, 0.5), PruneStep(8, 0.25)))
    hardest = flop_speedup(start.with_changes(steps=(PruneStep(4, 0.999),)), DEMO, tokens, question, marks)
    if hardest > speedup:
        return  # what is to be dropped saves more by itself
    config = at_flop_budget(start, DEMO, tokens, speedup, question, marks)
    assert flop_speedup(config, DEMO, tokens, question, marks) == pytest.approx(speedup, rel=0.02)
    plan = selector_class("sliminfer").plan(config, BlockMap.of(tokens, config, question, marks), DEMO.layers)
    saved = prefill_flops(DEMO, (tokens,) * DEMO.layers) / prefill_flops(DEMO, plan.layer_runs, plan.scored)
    assert saved == pytest.approx(speedup, rel=0.02)


@pytest.mark.parametrize(
    ("keep", "drop", "words"),
    [
        (((4, 4),), (), "keep has the span 4 to 4, which holds no token"),
        ((), ((-1, 4),), "drop has the span -1 to 4"),
        (((0, TOKENS + 1),), (), "keep has the span 0 to 132, which is not in the prompt of 131"),
        ((), ((120, 122),), "Tokens 120 to 122 are of the question"),
        ((), ((128, TOKENS),), "the prompt's last token"),
        (((0, 9),), ((30, 40), (8, 20)), "Tokens 8 to 9 are to be kept and to be dropped"),
        (("system",), (), "keep is .*: give pairs"),
        ((5,), (), "keep is .*: give pairs"),
    ],
)
def test_wrong_spans_are_refused_in_a_sentence(keep: tuple[Span, ...], drop: tuple[Span, ...], words: str) -> None:
    model = tiny_model()
    with (
        pytest.raises(ConfigError, match=words) as refusal,
        torch.inference_mode(),
        slim(model, CASES[0], QUESTION, keep=keep, drop=drop),
    ):
        model(token_ids(TOKENS), past_key_values=DynamicCache(), logits_to_keep=1)
    assert "\n" not in str(refusal.value)
