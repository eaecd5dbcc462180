"""Who looks on at a prefill sees what the method sees, and changes nothing."""

from __future__ import annotations

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import PruneView
from tests.tiny import tiny_model, token_ids

STEPS = (PruneStep(2, 0.5), PruneStep(4, 0.25))


@pytest.mark.parametrize(("method", "steps"), [("sliminfer", STEPS), ("lazyllm", STEPS), ("gemfilter", STEPS[:1])])
def test_a_look_is_at_every_step_of_a_prefill_and_leaves_no_trace(method: str, steps: tuple[PruneStep, ...]) -> None:
    model, ids, next_ids = tiny_model(), token_ids(200), token_ids(1, seed=1)
    loop = LayerLoop(model, SlimConfig(steps, method=method, block_size=8, local=16))
    seen: list[tuple[int, int]] = []

    def look(view: PruneView) -> None:
        assert view.keys().shape[1] == len(view.alive)
        seen.append((view.step.layer, len(view.alive)))

    with torch.inference_mode():
        results = []
        for shown in (None, look):
            cache = DynamicCache()
            states = exhaust(loop.run(loop.decoder.embed_tokens(ids), cache, look=shown))
            after = exhaust(loop.run(loop.decoder.embed_tokens(next_ids), cache, look=shown))
            results.append((states, after, len(loop.kept_positions(cache)[-1])))
    (plain, plain_after, kept), (looked, looked_after, kept_too) = results
    assert torch.equal(plain, looked)
    assert torch.equal(plain_after, looked_after)
    assert kept == kept_too
    assert [layer for layer, _ in seen] == [step.layer for step in steps]
    assert seen[0][1] == 200
    assert all(alive < 200 for _, alive in seen[1:])
