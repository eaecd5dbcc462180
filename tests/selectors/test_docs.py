"""The method in docs/adding-a-method.md is complete: it runs as it is printed, in one short file."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer import selectors
from sliminfer.commands.eval import method_configs
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.selectors.cases import case_of, expected, run
from tests.selectors.plugin import install, keynorm
from tests.tiny import tiny_model, token_ids


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "_METHODS", dict(selectors._METHODS))
    monkeypatch.delitem(sys.modules, "keynorm", raising=False)


def test_the_printed_method_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    source = keynorm()
    assert source.count("\n") <= 150
    module = types.ModuleType("keynorm")
    monkeypatch.setitem(sys.modules, "keynorm", module)
    exec(compile(source, "keynorm.py", "exec"), module.__dict__)
    assert selectors.available()[-1] == "keynorm"

    model, ids, cache = tiny_model(), token_ids(101), DynamicCache()
    steps = (PruneStep(2, 0.7), PruneStep(4, 0.4))
    config = SlimConfig(steps, "keynorm", {"heads": 2}, block_size=8, local=10)
    with torch.inference_mode(), slim(model, config) as loop:
        logits = model(ids, past_key_values=cache).logits[0, -1]
        kept = loop.kept_positions(cache)
        norms = cache.layers[1].keys[0].norm(dim=-1).mean(0)
    assert len(kept[5]) < len(kept[2]) < 101
    torch.testing.assert_close(logits, dense_logits(model, ids, kept, 101)[-1], atol=1e-5, rtol=1e-5)
    plan = selectors.selector_class("keynorm").plan(config, BlockMap.of(101, config), 6)
    assert (plan.layer_runs, plan.scored) == (tuple(map(len, kept)), ())
    lowest = torch.stack([block.min() for block in norms.split(8)])
    chosen = sorted(set((kept[2] // 8).tolist()) - {0, 11, 12})
    others = sorted(set(range(1, 11)) - set(chosen))
    assert lowest[chosen].max() < lowest[others].min()
    with pytest.raises(ConfigError, match="heads is 0"):
        selectors.check_method(config.with_changes(options={"heads": 0}))


def test_an_installed_method_is_available_and_fit_for_the_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "keynorm" not in selectors.available()
    install(tmp_path, keynorm())
    monkeypatch.syspath_prepend(tmp_path)
    assert selectors.available()[-1] == "keynorm"
    with pytest.raises(ConfigError, match=r"Unknown method 'magic': choose one of full, .*, oracle, keynorm\.$"):
        selectors.selector_class("magic")
    assert "keynorm" not in sys.modules  # a name costs no import
    assert method_configs(["sliminfer", "keynorm"], None, 12)["keynorm"].method == "keynorm"  # as `eval` is asked
    model, ids, follow = tiny_model(), token_ids(101), token_ids(4, seed=9)
    found = run(model, ids, follow, case_of("keynorm"))
    assert len(found.kept[0][-1]) < 101
    truth = expected(model, ids, follow, case_of("keynorm"), found)
    torch.testing.assert_close(found.logits, truth, atol=3e-5, rtol=1e-5)
    assert selectors.available().count("keynorm") == 1


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("import nowhere_at_all", "keynorm:KeyNorm", "keynorm of package keynorm cannot be loaded (No module named"),
        ("", "keynorm:KeyNorm", "keynorm of package keynorm cannot be loaded (module 'keynorm' has no attribute"),
        ("KeyNorm = 3", "keynorm:KeyNorm", "keynorm:KeyNorm of package keynorm is no method of the name keynorm"),
        (None, "sliminfer.selectors.full:Full", "is no method of the name keynorm: correct its entry point"),
    ],
)
def test_an_installed_method_that_is_broken_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, target: str, words: str
) -> None:
    install(tmp_path, keynorm() if source is None else source, target)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as refusal:
        selectors.selector_class("keynorm")
    assert words in str(refusal.value)
    assert selectors.selector_class("sliminfer").name == "sliminfer"
