"""The method `sparse_full`, its budget, and the options of the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sliminfer.cli import app
from sliminfer.commands.options import make_config, reading_changes
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.reading import SparseReading, sparse_layers
from sliminfer.schedule.shapes import LayerShape, ModelShape
from sliminfer.selectors import available, baselines, check_method, published
from sliminfer.selectors.budget import at_flop_budget, flop_speedup
from tests.tiny import tiny_model, tiny_tokenizer

LLAMA = ModelShape(32, 4096, 14336, 32, 8, 128, 128256, 131072, False)


def test_the_baseline_is_offered_beside_the_pruning_methods() -> None:
    assert "sparse_full" in baselines()
    assert not {*baselines()} & {*available()}
    config = published("sparse_full", 32)
    check_method(config)
    assert config.steps == ()
    assert SparseReading.of(config).from_tokens == 0
    with pytest.raises(ConfigError, match="sparse_full"):
        check_method(config.with_changes(steps=(PruneStep(2, 0.5),)))
    with pytest.raises(ConfigError, match="dense reading"):
        check_method(config.with_changes(reading="dense"))


@pytest.mark.parametrize(("tokens", "speedup"), [(32_768, 1.2), (131_072, 1.5), (131_072, 2.0)])
def test_its_share_is_solved_for_a_flop_budget(tokens: int, speedup: float) -> None:
    config = at_flop_budget(published("sparse_full", 32), LLAMA, tokens, speedup, (tokens - 40, tokens))
    assert flop_speedup(config, LLAMA, tokens, (tokens - 40, tokens)) == pytest.approx(speedup, rel=0.005)
    assert 0.0 < SparseReading.of(config).share < 1.0


def test_a_budget_that_attention_alone_cannot_save_is_refused_with_the_range() -> None:
    with pytest.raises(ConfigError, match=r"choose between 1 and 1\.\d+"):
        at_flop_budget(published("sparse_full", 32), LLAMA, 8192, 2.0)
    whole = at_flop_budget(published("sparse_full", 32), LLAMA, 8192, 1.0)
    assert SparseReading.of(whole).share == 1.0


def test_reading_sparsely_before_the_first_step_saves_what_the_arithmetic_says() -> None:
    pruned = SlimConfig.preset("balanced", 32)
    both = pruned.with_changes(reading="sparse", reading_options={"share": 0.12})
    assert flop_speedup(both, LLAMA, 131_072) > 1.2 * flop_speedup(pruned, LLAMA, 131_072)
    assert flop_speedup(both, LLAMA, 2048) == flop_speedup(pruned, LLAMA, 2048)  # too short


def test_layers_with_a_window_and_layers_of_their_own_forward_read_densely() -> None:
    config = SlimConfig(steps=(PruneStep(4, 0.5),), reading="sparse", reading_options={"from_tokens": 0})
    plain, own = (ModelShape(6, 32, 48, 4, 2, 8, 320, 4096, False, fused=fused) for fused in (True, False))
    assert sparse_layers(config, 100, plain) == (0, 1, 2, 3)
    assert sparse_layers(config, 100, own) == ()
    layers = tuple(LayerShape(32, 16, 8000, 8064, window=None if i % 2 else 64) for i in range(6))
    mixed = ModelShape(6, 32, 48, 4, 2, 8, 320, 4096, False, varied=layers)
    assert sparse_layers(config, 100, mixed) == (1, 3)


def test_the_options_of_the_command_line_become_reading_options() -> None:
    assert reading_changes(None, None, None) == {}
    told = reading_changes(None, 0.3, "chooser=antidiagonal, rule=mass,threshold=0.8,block=64", {"from_tokens": 0})
    assert told["reading"] == "sparse"
    assert told["reading_options"] == {
        "from_tokens": 0, "share": 0.3, "chooser": "antidiagonal", "rule": "mass", "threshold": 0.8, "block": 64,
    }  # fmt: skip
    assert reading_changes("dense", None, None)["reading"] == "dense"
    with pytest.raises(ConfigError, match="dense"):
        reading_changes("dense", 0.3, None)
    with pytest.raises(ConfigError, match="NAME=VALUE"):
        reading_changes("sparse", None, "antidiagonal")
    assert make_config(12, method="sparse_full", reading=(None, 0.4, None)).reading_options["share"] == 0.4
    with pytest.raises(ConfigError, match="chooser"):
        make_config(12, reading=("sparse", None, "chooser=nobody"))


def test_a_config_with_sparse_reading_survives_json() -> None:
    config = SlimConfig(reading="sparse", reading_options={"share": 0.3, "block": 64})
    assert SlimConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ConfigError, match="dense or sparse"):
        SlimConfig(reading="thin")  # type: ignore[arg-type]


def test_run_reads_sparsely_and_says_how_much(tmp_path: Path) -> None:
    text, folder = tmp_path / "text.txt", tmp_path / "model"
    text.write_text("The lamp of the north tower was lit at nine, and the keeper wrote it down. " * 12)
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    given = {
        "--document": text, "--question": "When?", "--model": folder, "--prune": "3:0.4", "--device": "cpu",
        "--dtype": "float32", "--reading": "sparse", "--reading-share": 0.2,
        "--reading-options": "block=16,from_tokens=0", "--max-new-tokens": 2, "--json": "-",
    }  # fmt: skip
    asked = ["run", *(str(word) for pair in given.items() for word in pair)]
    done = CliRunner().invoke(app, asked, standalone_mode=False, catch_exceptions=False)
    told = json.loads(done.stdout)
    read = told["pruned"]["reading"]["blocks_read"]
    assert all(0 < share < 0.6 for share in read[:3])
    assert read[3:] == [1.0] * 3
    assert told["config"]["reading"] == "sparse"
