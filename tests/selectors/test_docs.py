"""The method in docs/adding-a-method.md is complete: it runs as it is printed, in one short file."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer import selectors
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.tiny import tiny_model, token_ids

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adding-a-method.md"


def test_the_printed_method_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "_METHODS", dict(selectors._METHODS))
    source = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert source.count("\n") <= 150
    module = types.ModuleType("keynorm")
    monkeypatch.setitem(sys.modules, "keynorm", module)
    exec(compile(source, "keynorm.py", "exec"), module.__dict__)

    model, ids, cache = tiny_model(), token_ids(101), DynamicCache()
    steps = (PruneStep(2, 0.7), PruneStep(4, 0.4))
    config = SlimConfig(steps, "keynorm", {"heads": 2}, block_size=8, local=10)
    with torch.inference_mode(), slim(model, config) as loop:
        logits = model(ids, past_key_values=cache).logits[0, -1]
        kept = loop.kept_positions(cache)
        norms = cache.layers[1].keys[0].norm(dim=-1).mean(0)
    assert len(kept[5]) < len(kept[2]) < 101
    torch.testing.assert_close(logits, dense_logits(model, ids, kept, 101)[-1], atol=1e-5, rtol=1e-5)
    lowest = torch.stack([block.min() for block in norms.split(8)])
    chosen = sorted(set((kept[2] // 8).tolist()) - {0, 11, 12})
    others = sorted(set(range(1, 11)) - set(chosen))
    assert lowest[chosen].max() < lowest[others].min()
    with pytest.raises(ConfigError, match="heads is 0"):
        selectors.check_method(config.with_changes(options={"heads": 0}))
