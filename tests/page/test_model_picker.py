"""The picker greys a model exactly where the engine would refuse its run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.errors import MemoryLimitError, ModelError
from sliminfer.model.known import KNOWN, KnownModel
from sliminfer.schedule.memory import check_memory, memory_estimate
from tests.gguf_files import write_gguf
from tests.tiny import tiny_model
from viz.page import model_picker
from viz.page.serve import open_site
from viz.page.shelf import Shelf
from viz.page.start import first_that_opens


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(KNOWN)), st.integers(1, 32768), st.sampled_from(["auto", "eager"]),
    st.sampled_from(["bfloat16", "float32"]), st.floats(0.5, 1.5),
)  # fmt: skip
def test_the_picker_greys_exactly_what_the_engine_would_refuse(
    name: str, tokens: int, attention: str, dtype: str, share: float
) -> None:
    shape, width = KNOWN[name].shape, 2 if dtype == "bfloat16" else 4
    need = KNOWN[name].memory(tokens, width, attention)
    free = int(share * need.total)
    shelf = Shelf(device="cpu", dtype=dtype, attention=attention)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_picker, "free_memory", lambda _: free)
        (offer,) = model_picker.offers({name: KNOWN[name]}, shelf, tokens)
    assert offer.need == need.total
    if offer.fault:
        with pytest.raises(MemoryLimitError):
            check_memory(shape, tokens, width, attention, free - need.weights, "here")
    else:
        check_memory(shape, tokens, width, attention, free - need.weights, "here")


def test_packed_weights_count_as_they_are() -> None:
    packed = KnownModel("packed", KNOWN["Qwen/Qwen2.5-7B-Instruct"].shape, "", 5 * 10**9)
    assert packed.memory(4096, 2).weights == 5 * 10**9
    assert packed.memory(4096, 2).above_weights == memory_estimate(packed.shape, 4096).above_weights


def test_a_page_of_packed_weights_offers_the_other_models_as_well(tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_model())
    name = str(tmp_path / "tiny.gguf")
    site = open_site(name, "cpu", "float32", "balanced", packed=True)
    loaded = site.shelf.loaded(name)
    assert loaded is not None
    assert loaded.packed
    assert site.models[name].packed_bytes == loaded.weights_bytes
    assert next(iter(site.models)) == name
    assert not site.shelf.open("demo").packed
    site.shelf.close()


def test_two_cores_are_not_offered_what_they_cannot_read_with() -> None:
    usable = {name for name, model in KNOWN.items() if model_picker.is_usable(model.shape, cores=2)}
    assert {"Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct"} <= usable
    assert not any("7B" in name or "8B" in name for name in usable)
    assert all(model_picker.is_usable(model.shape, cores=64) for model in KNOWN.values())


def test_the_first_model_that_can_be_had_opens_the_page() -> None:
    def opened(name: str) -> str:
        if name != "here":
            raise ModelError(f"{name} is not there.")
        return name

    assert first_that_opens(["gone", "here", "other"], opened) == "here"
    with pytest.raises(ModelError, match="last is not there"):
        first_that_opens(["gone", "last"], opened)
