"""The list of models that are known to work, with their published dimensions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from sliminfer.errors import ModelError
from sliminfer.model.families import shape_of
from sliminfer.model.gguf_config import gguf_config
from sliminfer.model.gguf_header import read_gguf_header
from sliminfer.model.loading import DEMO_FOLDER, DEMO_MODEL, read_config
from sliminfer.model.sources import SMOLLM2, installed_smollm2
from sliminfer.schedule.memory import MemoryEstimate, memory_estimate
from sliminfer.schedule.shapes import ModelShape


@dataclass(frozen=True)
class KnownModel:
    """A model that is known to work, with its published dimensions.

    Attributes:
        packed_bytes: of its weights where they are left packed.
    """

    name: str
    shape: ModelShape
    note: str
    packed_bytes: int | None = None

    def memory(self, tokens: int, bytes_per_value: int, attention: str = "sdpa") -> MemoryEstimate:
        """What the full model takes for `tokens` tokens, see `memory_estimate`."""
        estimate = memory_estimate(self.shape, tokens, bytes_per_value, attention)
        return estimate if self.packed_bytes is None else replace(estimate, weights=self.packed_bytes)


# Dimensions from the models' published config.json files: layers, hidden, intermediate, heads, kv heads,
# head dimension, vocabulary, context, tied embeddings.
KNOWN: dict[str, KnownModel] = {
    name: KnownModel(name, ModelShape(*shape), note)
    for name, shape, note in (
        ("Qwen/Qwen2.5-0.5B-Instruct", (24, 896, 4864, 14, 2, 64, 151936, 32768, True), "laptop"),
        ("Qwen/Qwen3-0.6B", (28, 1024, 3072, 16, 8, 128, 151936, 40960, True), "laptop"),
        ("meta-llama/Llama-3.2-1B-Instruct", (16, 2048, 8192, 32, 8, 64, 128256, 131072, True), "gated"),
        ("Qwen/Qwen2.5-1.5B-Instruct", (28, 1536, 8960, 12, 2, 128, 151936, 32768, True), "one GPU"),
        ("microsoft/Phi-3.5-mini-instruct", (32, 3072, 8192, 32, 32, 96, 32064, 131072, False), "one GPU"),
        ("Qwen/Qwen2.5-7B-Instruct", (28, 3584, 18944, 28, 4, 128, 152064, 32768, False), "one GPU"),
        ("mistralai/Mistral-7B-Instruct-v0.3", (32, 4096, 14336, 32, 8, 128, 32768, 32768, False), "gated"),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            (32, 4096, 14336, 32, 8, 128, 128256, 131072, False),
            "gated; the model of the paper",
        ),
    )
}


def known_models() -> dict[str, KnownModel]:
    """All known models by name, first those that are here: the shipped one, and SmolLM2 where it is installed."""
    here: dict[str, KnownModel] = {}
    if (DEMO_FOLDER / "config.json").is_file():
        here[DEMO_MODEL] = KnownModel(DEMO_MODEL, shape_of(read_config(DEMO_MODEL)), "ships with the project")
    if (file := installed_smollm2()) is not None:
        with suppress(ModelError):  # a file that cannot be read is no offer
            shape = shape_of(gguf_config(read_gguf_header(file)))
            here[SMOLLM2] = KnownModel(SMOLLM2, shape, "installed")
    return here | KNOWN
