"""Windows and chunks: what a query sees, whether that binds, and how many pairs there are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sliminfer.diffusion.probe import local_attention
from sliminfer.engine.loop import LayerLoop
from sliminfer.model.decoder import decoder_of
from sliminfer.model.windows import binds, within
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import visible_pairs
from sliminfer.schedule.sight import Chunk
from tests.tiny import tiny_model, token_ids

windows = st.integers(1, 20).flatmap(lambda size: st.sampled_from([size, Chunk(size)]))


@given(windows, st.integers(0, 40), st.integers(0, 40))
def test_a_key_is_seen_near_enough_or_in_the_same_chunk(window: int, first: int, more: int) -> None:
    last = first + more
    seen = bool(within(window, torch.tensor([last]), torch.tensor([first])))
    assert seen == (last // window == first // window if isinstance(window, Chunk) else more < window)
    assert binds(window, first, last) == (not seen)


@given(windows, st.integers(0, 60))
def test_pairs_are_as_many_as_are_seen(window: int, tokens: int) -> None:
    place = torch.arange(tokens)
    seen = within(window, place, place) & (place[None, :] <= place[:, None])
    assert visible_pairs(tokens, window) == int(seen.sum())


@pytest.mark.parametrize("layer", [1, 2])  # of a chunk, and of everything
def test_the_probe_shows_the_attention_of_a_layer_with_chunks(layer: int) -> None:
    model, ids, weights = tiny_model("llama4_text", "eager"), token_ids(40), []
    decoder_of(model).layers[layer].self_attn.register_forward_hook(lambda _, args, out: weights.append(out[1][0]))
    with torch.inference_mode():
        model(ids, use_cache=False)
        loop = LayerLoop(model, SlimConfig())
        rows = loop.enter(ids)
        for index in range(layer):
            rows = loop.through(index, rows)
        received = local_attention(loop, layer, rows, 4)
    torch.testing.assert_close(received, weights[0][:, -4:].mean((0, 1)), atol=1e-5, rtol=1e-4)
    assert (received[:24] == 0).all() == (layer == 1)
