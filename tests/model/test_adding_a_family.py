"""A family is one file: the one that docs/adding.md prints, run as it stands, prunes exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.model import families
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.printed import printed
from tests.tiny import tiny_model, token_ids

CONFIG = SlimConfig(steps=(PruneStep(4, 0.5),), query_window=4, local=8)


def test_the_family_of_the_guide_is_the_file_and_prunes_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = printed("adding.md", "A model family")
    assert listing == (Path(families.__file__).parent / "smollm3.py").read_text(encoding="utf-8")
    made: dict[str, Any] = {}
    exec(listing, made)
    model, ids, cache = tiny_model("smollm3"), token_ids(80), DynamicCache()
    monkeypatch.setitem(families.FAMILIES, "smollm3", made["SMOLLM3"])
    with torch.inference_mode(), slim(model, CONFIG) as loop:
        found = model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]
        kept = loop.kept_positions(cache)
    assert len(kept[5]) < 80
    torch.testing.assert_close(found, dense_logits(model, ids, kept, 80)[-1], atol=1e-5, rtol=1e-5)
