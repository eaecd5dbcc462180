"""The list of models that are known to work, with their published dimensions."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from sliminfer.errors import ModelError
from sliminfer.model.gguf_config import gguf_config
from sliminfer.model.gguf_header import read_gguf_header
from sliminfer.model.loading import DEMO_FOLDER, DEMO_MODEL, read_config
from sliminfer.model.published import PUBLISHED, Source
from sliminfer.model.recognise import shape_of
from sliminfer.model.sources import SMOLLM2, installed_smollm2
from sliminfer.schedule.memory import MemoryEstimate, memory_estimate, quantised_bytes
from sliminfer.schedule.shapes import ModelShape


@dataclass(frozen=True)
class KnownModel:
    """A model that is known to work, with its published dimensions.

    Attributes:
        packed_bytes: of its weights where they are left packed.
        bits: of a weight of its layers, where it is published with fewer than the rest; None otherwise.
        source: where its dimensions were read, see `model.published`; "config" too for a model that is here.
    """

    name: str
    shape: ModelShape
    note: str
    packed_bytes: int | None = None
    bits: float | None = None
    source: Source = "config"

    def memory(self, tokens: int, bytes_per_value: int, attention: str = "sdpa") -> MemoryEstimate:
        """What the full model takes for `tokens` tokens, see `memory_estimate`."""
        estimate = memory_estimate(self.shape, tokens, bytes_per_value, attention)
        weights = self.packed_bytes
        if weights is None and self.bits is not None:
            weights = quantised_bytes(self.shape, self.bits, bytes_per_value)
        return estimate if weights is None else replace(estimate, weights=weights)


KNOWN: dict[str, KnownModel] = {
    model.name: KnownModel(model.name, model.shape, model.note, bits=model.bits, source=model.source)
    for model in PUBLISHED
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
