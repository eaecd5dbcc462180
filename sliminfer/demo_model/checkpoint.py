"""A run's folder: the model in Transformers format with its tokenizer, and how far training has come.

The weights are bf16 in shards of at most 16 MB. The optimizer's moments are not kept: a resumed run warms up
afresh, which costs about a hundred steps and saves four times the size of the weights.
"""

import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM
from transformers.utils import logging

from sliminfer.demo_model.tokenizer import as_transformers, load_tokenizer
from sliminfer.errors import ModelError

MODEL_FOLDER = "model"
STATE_FILE = "state.json"
LOG_FILE = "log.jsonl"
EVALUATION_FILE = "evaluation.json"
PACKED_FILE = "rest.tar.gz"
_SHARD_SIZE = "15MB"


@dataclass(frozen=True)
class Progress:
    """How far training has come over all calls, and how many layers retrieval is supervised at."""

    step: int
    tokens: int
    minutes: float
    retrieval_layers: int


def save(run: Path, model: LlamaForCausalLM, tokenizer: Tokenizer, progress: Progress) -> None:
    """Write the model in bf16, its tokenizer and the progress to the run's folder."""
    logging.disable_progress_bar()
    folder = run / MODEL_FOLDER
    weights = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous() for name, tensor in model.state_dict().items()
    }
    weights.pop("lm_head.weight")
    model.save_pretrained(folder, state_dict=weights, max_shard_size=_SHARD_SIZE)
    # save_pretrained notes the type of the weights in training, not of those written.
    config = json.loads((folder / "config.json").read_text())
    config["dtype"] = "bfloat16"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    as_transformers(tokenizer).save_pretrained(folder)
    (run / STATE_FILE).write_text(json.dumps(asdict(progress)) + "\n")


@contextmanager
def unpacked(run: Path) -> Iterator[Path]:
    """The run's folder itself, or for a run packed by benchmarks/train_demo.sh a temporary one with its files."""
    if not (run / PACKED_FILE).is_file():
        yield run
        return
    with TemporaryDirectory() as folder:
        with tarfile.open(run / PACKED_FILE) as archive:
            archive.extractall(folder, filter="data")
        for shard in run.glob("*.safetensors"):
            shutil.copy(shard, Path(folder) / MODEL_FOLDER)
        yield Path(folder)


def load(run: Path) -> tuple[LlamaForCausalLM, Tokenizer, Progress]:
    """The fp32 model, the tokenizer and the progress of a run's folder, or of an exported model's."""
    with unpacked(run) as source:
        if not (source / STATE_FILE).is_file():
            raise ModelError(f"No checkpoint in {run}: give the folder of an earlier run, which holds {STATE_FILE}.")
        folder = source / MODEL_FOLDER if (source / MODEL_FOLDER).is_dir() else source
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        progress = Progress(**json.loads((source / STATE_FILE).read_text()))
        return model, load_tokenizer(folder), progress
