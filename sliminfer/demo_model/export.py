"""Turning a run into a model folder that anything can load: the shipped model is made by this."""

import shutil
from pathlib import Path

from sliminfer.demo_model.checkpoint import EVALUATION_FILE, MODEL_FOLDER, STATE_FILE, unpacked
from sliminfer.errors import ModelError


def export(run: Path, to: Path) -> None:
    """Copy a run's model, tokenizer, progress and measured accuracy into the folder `to`.

    Weights already in `to` are replaced; other files, such as the model card, are left alone. With its progress
    beside it the model can be trained further: the folder serves as `train --resume`.

    Raises:
        ModelError: `run` holds no model, or one that was not measured.
    """
    with unpacked(run) as source:
        if not (source / STATE_FILE).is_file() or not any((source / MODEL_FOLDER).glob("*.safetensors")):
            raise ModelError(f"No trained model in {run}: give the folder of a run of `train`.")
        if not (source / EVALUATION_FILE).is_file():
            raise ModelError(
                f"The model in {run} was not measured: "
                f"write the output of `evaluate {run} --corpus ...` to {run / EVALUATION_FILE} first."
            )
        to.mkdir(parents=True, exist_ok=True)
        # Shards of a larger model would stay behind unused.
        for old in to.glob("model*.safetensors*"):
            old.unlink()
        for each in sorted((source / MODEL_FOLDER).iterdir()):
            shutil.copyfile(each, to / each.name)
        for name in (STATE_FILE, EVALUATION_FILE):
            shutil.copyfile(source / name, to / name)
