"""The picker greys a model exactly where the engine would refuse its run."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sliminfer.errors import MemoryLimitError
from sliminfer.model.known import KNOWN
from sliminfer.schedule.memory import check_memory, memory_estimate
from viz.page import model_picker
from viz.page.shelf import Shelf


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(list(KNOWN)), st.integers(1, 32768), st.sampled_from(["auto", "eager"]),
    st.sampled_from(["bfloat16", "float32"]), st.floats(0.5, 1.5),
)  # fmt: skip
def test_the_picker_greys_exactly_what_the_engine_would_refuse(
    name: str, tokens: int, attention: str, dtype: str, share: float
) -> None:
    shape, width = KNOWN[name].shape, 2 if dtype == "bfloat16" else 4
    need = memory_estimate(shape, tokens, width, attention)
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
