"""Real pretrained models that lie in a folder: pruned exactly, and answering with less of the document.

Each is put to two tests. Its pruned prefill must equal the dense oracle in fp32, or where it is a hybrid the stock
model on the compacted sequence. And of needles in some 1,000 tokens that the full model finds, the pruned one, under
the default preset, must find nearly all. Models that are not there are passed over.

    python -m tests.harden.real_answers --folder FOLDER [--needles 8]

FOLDER holds GGUF files, and folders with config.json and safetensors, by the names below; they are on the Hub under
their models' own.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from sliminfer import RunRequest, RunResult, SlimConfig, SlimEngine, load_model, slim
from sliminfer.model.loading import LoadedModel
from sliminfer.model.sources import installed_smollm2
from tests.dense_oracle import compacted_logits, dense_logits
from tests.needles import needle

SENTENCES = 85  # about 1,000 tokens
# What is looked for, by file name: Gemma 3 270M (base), Qwen2.5-Coder-0.5B-Instruct and 1.5B, and two hybrids,
# LFM2-350M and Qwen3.5-0.8B.
NAMES = ("gemma-270m", "coder-0.5b.gguf", "coder-1.5b.gguf", "lfm2-350m", "qwen3.5-0.8b")


@dataclass(frozen=True)
class Found:
    """What came of one model."""

    name: str
    difference: float
    full: int
    pruned: int
    both: int
    asked: int

    @property
    def passed(self) -> bool:
        """Whether pruning is exact, and loses at most one needle in eight that the full model finds."""
        return self.difference < 1e-3 and self.both >= self.full - max(1, self.asked // 8)


def main() -> None:
    """Every model that is there; exits with 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, default=Path("models"))
    parser.add_argument("--needles", type=int, default=8)
    asked = parser.parse_args()
    places = [str(asked.folder / name) for name in NAMES if (asked.folder / name).exists()]
    places += ["smollm2"] if installed_smollm2() is not None else []
    results = []
    for place in places:
        results.append(try_model(place, asked.needles))
        found = results[-1]
        print(
            f"{Path(place).name}: within {found.difference:.0e} of the oracle; of {found.asked} needles the full "
            f"model finds {found.full}, the pruned one {found.pruned}, {found.both} of them the same",
            flush=True,
        )
    missing = [name for name in NAMES if not (asked.folder / name).exists()]
    if missing:
        print(f"not in {asked.folder}: {', '.join(missing)}")
    sys.exit(0 if all(found.passed for found in results) else 1)


def try_model(name: str, needles: int) -> Found:
    """Both tests on the model called `name`."""
    loaded = load_model(name, device="cpu")
    engine = SlimEngine(loaded)
    full = pruned = both = 0
    config = SlimConfig.preset("balanced", loaded.layers, loaded.name, loaded.shape.seeing)
    for seed in range(needles):
        hidden = needle(seed, SENTENCES)
        request = RunRequest(hidden.document, hidden.question, config, max_new_tokens=14)
        sides = RunResult.of(engine.compare(request)).finished
        right = [hidden.answer in sides[side].text for side in ("full", "pruned")]
        full, pruned, both = full + right[0], pruned + right[1], both + all(right)
    return Found(name, difference(loaded), full, pruned, both, needles)


@torch.inference_mode()
def difference(loaded: LoadedModel) -> float:
    """Largest difference in the last logits between a pruned prefill and the oracle, as a share of the largest."""
    model: Any = loaded.model.float()
    hidden = needle(0, SENTENCES)
    ids = loaded.tokenizer(f"{hidden.document}\n{hidden.question}\n", return_tensors="pt").input_ids
    config = SlimConfig.preset("balanced", loaded.layers, loaded.name, loaded.shape.seeing)
    cache = DynamicCache()
    with slim(model, config.with_changes(query_window=16)) as loop:
        found = model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]
        kept = loop.kept_positions(cache)
    if all(loaded.shape.attending):
        wanted = dense_logits(model, ids, kept, ids.shape[1])[-1]
    else:
        wanted = compacted_logits(model, ids, kept)[-1]
    return float((found - wanted).abs().max() / wanted.abs().max())


if __name__ == "__main__":
    main()
