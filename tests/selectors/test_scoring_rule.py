"""The rules of the ablation: the default is the shipped one, the others differ where they should; none is offered."""

from __future__ import annotations

import math

import pytest
import torch

from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import available, check_method, selector_class
from sliminfer.selectors.scoring_rule import Rule, ScoringRule, score_units
from tests.tiny import tiny_model, token_ids

BASE = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.25)), block_size=16, local=16, query_window=8)


@pytest.mark.parametrize("unit_size", [1, 4])
def test_the_default_rule_is_the_shipped_one(unit_size: int) -> None:
    model, ids = tiny_model(), token_ids(301)
    shipped = BASE.with_changes(unit_size=unit_size)
    with torch.inference_mode():
        with slim(model, shipped):
            expected = model(ids).logits[0, -1]
        with slim(model, shipped.with_changes(method="scoring-rule")):
            found = model(ids).logits[0, -1]
        with slim(model, shipped.with_changes(method="scoring-rule", options={"attention": False})):
            other = model(ids).logits[0, -1]
    assert torch.equal(found, expected)
    assert not torch.equal(other, expected)


def test_scores_by_hand() -> None:
    # One KV head of width 1 with two query heads and one query each; three units, the last not yet visible.
    queries = torch.tensor([[[1.0]], [[2.0]]])
    units = torch.tensor([[[0.0], [math.log(3.0)], [9.0]]])
    visible = torch.tensor([[True, True, False]])
    attention = torch.tensor([[1 / 4, 3 / 4, 0.0], [1 / 10, 9 / 10, 0.0]])
    torch.testing.assert_close(score_units(queries, units, visible, Rule(heads="mean")), attention.mean(0))
    torch.testing.assert_close(score_units(queries, units, visible, Rule(heads="max")), attention.amax(0))
    raw = score_units(queries, units, visible, Rule(attention=False, heads="mean"))
    torch.testing.assert_close(raw[:2], torch.tensor([0.0, 1.5 * math.log(3.0)]))
    assert raw[2] <= raw[0]


def test_a_study_is_known_by_name_and_offered_nowhere() -> None:
    assert selector_class("scoring-rule") is ScoringRule
    assert "scoring-rule" not in available()
    with pytest.raises(ConfigError, match="choose max or mean"):
        check_method(BASE.with_changes(method="scoring-rule", options={"heads": "median"}))
