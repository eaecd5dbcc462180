"""Runs repeat by seed, go on where they ended, and export to a folder that loads as any model does."""

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sliminfer.demo_model import checkpoint
from sliminfer.demo_model.__main__ import app
from sliminfer.demo_model.export import export
from sliminfer.demo_model.network import Shape
from sliminfer.demo_model.tokenizer import BOS
from sliminfer.demo_model.train import TrainOptions, train
from sliminfer.errors import ModelError
from sliminfer.model.loading import load_model
from sliminfer.tasks import plain_prompt
from tests.tasks.text import written_text

STEPS, TOKENS = 3, 512
SHAPE = Shape(layers=4, width=24, heads=2, kv_heads=1, hidden=32, retrieval_layers=2)


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> TrainOptions:
    folder = tmp_path_factory.mktemp("training")
    (folder / "book.txt").write_text(written_text(6000))
    return TrainOptions(
        corpus=folder / "book.txt",
        out=folder / "first",
        minutes=None,
        steps=STEPS,
        resume=None,
        shape=SHAPE,
        device="cpu",
        tokens_per_step=TOKENS,
        longest=TOKENS,
        workers=0,
        compiled=False,
        evaluations=1,
        final_lengths=(TOKENS,),
        final_examples=2,
    )


@pytest.fixture(scope="module")
def run(options: TrainOptions) -> Path:
    train(options)
    return options.out


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "README.md").write_text("the model card")
    (folder / "model-00009-of-00009.safetensors").write_bytes(b"of a larger model")
    result = CliRunner().invoke(app, ["export", "--run", str(run), "--to", str(folder)])
    assert result.exit_code == 0, result.exception
    return folder


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(run)[0].state_dict()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(options: TrainOptions, run: Path) -> None:
    again, other = (replace(options, out=run.parent / name) for name in ("again", "other"))
    train(again)
    train(replace(other, seed=1))
    first, second, third = weights(run), weights(again.out), weights(other.out)
    assert all(tensor.equal(second[name]) for name, tensor in first.items())
    assert not all(tensor.equal(third[name]) for name, tensor in first.items())


def test_a_run_counts_its_steps_and_measures_every_suite(run: Path) -> None:
    _, _, progress = checkpoint.load(run)
    assert (progress.step, progress.tokens) == (STEPS, STEPS * TOKENS)
    assert progress.retrieval_layers == SHAPE.retrieval_layers
    figures = json.loads((run / checkpoint.EVALUATION_FILE).read_text())
    assert set(figures) == {"needle", "quote", "multikey", "tracking"}
    assert all(0.0 <= each[str(TOKENS)]["exact"] <= 1.0 for each in figures.values())


def test_training_goes_on_from_the_folder_of_an_exported_model(options: TrainOptions, exported: Path) -> None:
    # At a rate of zero the weights show where training went on from. The shape is the earlier run's.
    out = options.out.parent / "resumed"
    train(replace(options, resume=exported, out=out, steps=1, peak_rate=0.0, shape=Shape()))
    before, after = weights(exported), weights(out)
    assert all(tensor.equal(after[name]) for name, tensor in before.items())
    _, _, progress = checkpoint.load(out)
    assert (progress.step, progress.tokens) == (STEPS + 1, (STEPS + 1) * TOKENS)


def test_an_exported_model_loads_and_is_the_run(run: Path, exported: Path) -> None:
    loaded = load_model(str(exported), device="cpu", dtype="float32")
    assert loaded.layers == SHAPE.layers
    mine = weights(run)
    assert all(tensor.equal(mine[name]) for name, tensor in loaded.model.state_dict().items())
    chat = [{"role": "user", "content": "One sentence.\n\nQuestion: Which?"}]
    ids = loaded.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    prompt = plain_prompt("One sentence.", "Which?")
    assert ids == [BOS, *loaded.tokenizer(prompt, add_special_tokens=False)["input_ids"]]


def test_export_replaces_weights_and_keeps_the_model_card(run: Path, exported: Path) -> None:
    assert (exported / "README.md").read_text() == "the model card"
    written = {path.name for path in (run / checkpoint.MODEL_FOLDER).iterdir()}
    beside = {checkpoint.STATE_FILE, checkpoint.EVALUATION_FILE, "README.md"}
    assert {path.name for path in exported.iterdir()} == written | beside


def test_a_packed_run_exports_as_the_run_does(run: Path, exported: Path, tmp_path: Path) -> None:
    packed, to = tmp_path / "packed", tmp_path / "to"
    packed.mkdir()
    with tarfile.open(packed / checkpoint.PACKED_FILE, "w:gz") as archive:
        for path in sorted(run.rglob("*")):
            if path.is_file() and path.suffix != ".safetensors":
                archive.add(path, path.relative_to(run))
    for shard in (run / checkpoint.MODEL_FOLDER).glob("*.safetensors"):
        shutil.copy(shard, packed)
    export(packed, to)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == {
        path.name: path.read_bytes() for path in exported.iterdir() if path.name != "README.md"
    }


def test_a_folder_without_a_model_or_without_figures_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="give the folder of a run"):
        export(tmp_path, tmp_path / "to")
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / checkpoint.EVALUATION_FILE).unlink()
    with pytest.raises(ModelError, match="was not measured"):
        export(tmp_path / "run", tmp_path / "to")
    with pytest.raises(ModelError, match=r"state\.json"):
        checkpoint.load(tmp_path / "to")
    assert not (tmp_path / "to").exists()
