"""A family is one file: the one that docs/adding.md prints, run as it stands, prunes exactly."""

from __future__ import annotations

import sys
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


def test_a_file_in_the_folder_is_a_family_and_a_second_one_of_its_type_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listing = printed("adding.md", "A model family")
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    (tmp_path / "made_up.py").write_text(listing.replace('"smollm3"', '"made_up"'), encoding="utf-8")
    found = families.described(families.modules())
    assert set(found) == {*families.FAMILIES, "made_up"}
    assert list(found) == list(families.described(families.modules()))
    (tmp_path / "made_up_again.py").write_text(listing.replace('"smollm3"', '"made_up"'), encoding="utf-8")
    with pytest.raises(ValueError, match="made_up_again describes 'made_up', which another file does"):
        families.described(families.modules())
    for name in ("made_up", "made_up_again"):
        monkeypatch.delitem(sys.modules, f"{families.__name__}.{name}")
