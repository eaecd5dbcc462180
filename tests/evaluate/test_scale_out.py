"""Two processes share a job; one is lost; a restart finishes it, and nothing is counted twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from accelerate import dispatch_model

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.evaluate.shards import Shard
from sliminfer.model.loading import wrap_model
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.evaluate.worker import measure
from tests.tasks.text import written_text
from tests.tiny import tiny_loaded, tiny_model, tiny_tokenizer

ROOT = Path(__file__).resolve().parents[2]


def launch(*arguments: object) -> int:
    """Exit code of the worker under `accelerate launch` with two processes on this machine's CPU."""
    options = ["--multi_gpu", "--num_processes", 2, "--num_machines", 1, "--mixed_precision", "no"]
    options += ["--dynamo_backend", "no", "--main_process_port", 0]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, "-m", "tests.evaluate.worker", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
    return done.returncode


@pytest.mark.timeout(400)
def test_a_lost_worker_costs_a_restart_and_nothing_else(filler: Path, tmp_path: Path) -> None:
    assert launch(tmp_path, filler, 1) != 0
    lost = sum(path.read_text().count("\n") - 1 for path in tmp_path.glob("r.examples-*.jsonl"))
    assert 0 < lost < 8
    assert launch(tmp_path, filler) == 0

    alone = [f"{r.key} {r.text!r}" for r in measure(tmp_path / "alone", filler)]
    assert len(alone) == 8
    for rank in (0, 1):
        assert (tmp_path / f"seen-{rank}.txt").read_text().split("\n") == alone
    lines = [line for path in tmp_path.glob("r.examples-*.jsonl") for line in path.read_text().splitlines()[1:]]
    keys = Counter((data["index"], data["variant"]) for data in map(json.loads, lines))
    assert set(keys.values()) == {1}
    assert len(keys) == 8


@pytest.mark.parametrize(("count", "world"), [(0, 1), (7, 2), (16, 5), (3, 8)])
def test_shards_cover_everything_once(count: int, world: int) -> None:
    shares = [Shard(rank, world).mine(range(count)) for rank in range(world)]
    assert sorted(item for share in shares for item in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_model_split_over_two_places_answers_as_a_whole_one(tmp_path: Path) -> None:
    """Half of the layers are fetched from disk by accelerate's hooks, as a second device's would be."""
    config = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=16, local=16)
    request = RunRequest(written_text(150), "What was lit?", config, max_new_tokens=6, ignore_eos=True)
    whole = RunResult.of(SlimEngine(tiny_loaded()).compare(request))
    places: dict[str, str] = {f"model.layers.{i}": "disk" if i >= 3 else "cpu" for i in range(6)}
    places |= {"model.embed_tokens": "cpu", "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}
    model = dispatch_model(tiny_model(), places, main_device="cpu", offload_dir=str(tmp_path))
    assert next(model.model.layers[5].parameters()).device.type == "meta"
    split = SlimEngine(wrap_model("split", model, tiny_tokenizer(), torch.device("cpu"), "sdpa"))
    parts = RunResult.of(split.compare(request))
    assert not parts.failed
    for side in ("full", "pruned"):
        assert parts.finished[side].metrics.token_ids == whole.finished[side].metrics.token_ids
        assert parts.finished[side].metrics.tokens_per_layer == whole.finished[side].metrics.tokens_per_layer
