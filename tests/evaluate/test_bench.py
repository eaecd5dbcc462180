"""bench: every variant is timed each round, ratios follow from the readings, stock and full agree."""

from __future__ import annotations

import json
import math

import pytest
import torch

from sliminfer.errors import ConfigError
from sliminfer.evaluate.bench import NoText, bench, matrix_peak, random_model, random_prompt
from sliminfer.model.loading import LoadedModel, wrap_model
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_model

CONFIG = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.25)), block_size=8, local=16)


def test_rows_follow_from_their_readings() -> None:
    loaded = wrap_model("tiny", tiny_model(), NoText(), torch.device("cpu"), "sdpa")
    rows = bench(loaded, "tiny", 256, {"half": CONFIG}, rounds=3, new_tokens=3, against_hf=True)
    hf, full, half = rows
    assert [r.variant for r in rows] == ["hf", "full", "half"]
    for row in rows:
        assert row.rounds == 3
        assert row.ttft_s.least <= row.ttft_s.median <= row.ttft_s.most <= row.end_to_end_s.most
        assert row.floor_s > 0
    assert full.speedup.median == full.flop_speedup == full.efficiency == 1
    assert 0.8 < hf.flop_speedup < 1  # stock runs the last layer whole
    assert math.isfinite(hf.decode_tokens_per_s)
    assert half.flop_speedup > 1.3
    assert half.efficiency == pytest.approx(half.speedup.median / half.flop_speedup)
    assert half.kv_bytes < full.kv_bytes
    assert half.select_s > 0 == full.select_s
    assert math.isfinite(half.decode_tokens_per_s)
    json.dumps([r.to_dict() for r in rows])


def test_prompts_are_seeded_and_free_of_special_tokens() -> None:
    loaded = wrap_model("tiny", tiny_model(), NoText(), torch.device("cpu"), "sdpa")
    prompt = random_prompt(loaded, 100)
    assert prompt == random_prompt(loaded, 100) != random_prompt(loaded, 100, seed=1)
    assert min(prompt.ids) >= 3
    assert prompt.question == (68, 100)


def test_matrix_peak_is_a_speed_this_machine_can_have() -> None:
    assert 1e9 < matrix_peak(torch.device("cpu"), torch.float32, seconds=0.2) < 1e14


def test_unknown_shapes_are_named() -> None:
    with pytest.raises(ConfigError, match=r"qwen2\.5-0\.5b"):
        random_model("gpt-5")


def test_new_lengths_are_new_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def spy(loaded: LoadedModel, tokens: int, seed: int = 0) -> Prompt:
        asked.append(tokens)
        return random_prompt(loaded, tokens, seed)

    monkeypatch.setattr("sliminfer.evaluate.bench.random_prompt", spy)
    loaded = wrap_model("tiny", tiny_model(), NoText(), torch.device("cpu"), "sdpa")
    rows = bench(loaded, "tiny", 300, {"half": CONFIG}, rounds=2, new_lengths=True)
    assert len(set(asked)) == 3
    assert [row.rounds for row in rows] == [2, 2]
