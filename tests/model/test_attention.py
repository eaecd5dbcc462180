"""Which attention backend runs: cuDNN only where it saves more than it plans, and torch's switch left as found."""

from __future__ import annotations

import threading

import pytest
import torch

from sliminfer.model.attention import _cudnn, cudnn_pays, cudnn_where_it_pays

CUDA = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
)


@pytest.mark.parametrize(
    ("tokens", "heads", "head_dim", "layers", "pays"),
    [(8_192, 32, 128, 32, False), (32_768, 32, 128, 32, True), (16_384, 6, 64, 12, False)],
)
def test_cudnn_pays_where_a_prompt_is_long_enough(
    tokens: int, heads: int, head_dim: int, layers: int, pays: bool
) -> None:
    assert cudnn_pays(tokens, tokens, heads, head_dim, layers) is pays


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("allowed", [True, False])
def test_the_switch_is_left_as_it_was_found(device: str, allowed: bool) -> None:
    query = torch.zeros(1, 2, 16, 64, device=device)
    before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(allowed)
    try:
        with cudnn_where_it_pays(query, query, 12):
            assert torch.backends.cuda.cudnn_sdp_enabled() is (allowed and device == "cpu")
        assert torch.backends.cuda.cudnn_sdp_enabled() is allowed
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def test_threads_that_overlap_leave_the_switch_as_it_was_found() -> None:
    before = torch.backends.cuda.cudnn_sdp_enabled()
    seen: set[bool] = set()

    def often() -> None:
        for _ in range(500):
            _cudnn.leave_out()
            seen.add(torch.backends.cuda.cudnn_sdp_enabled())
            _cudnn.let_in()

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {False}
    assert torch.backends.cuda.cudnn_sdp_enabled() is before
