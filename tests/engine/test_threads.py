"""Whose block it is: threads inside and outside one `slim`, copies of the model, and runs that wait on themselves."""

from __future__ import annotations

import contextvars
import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers.cache_utils import DynamicCache

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.probe import probe
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded, tiny_model, token_ids

PRUNED = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=10, query_window=4)


def last_logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(ids, logits_to_keep=1).logits[0, -1]
    return logits


def in_threads(*works: Callable[[], Any]) -> list[Any]:
    """What each of `works` returns, each run in a thread of its own."""
    found: list[Any] = [None] * len(works)

    def put(index: int) -> None:
        found[index] = works[index]()

    threads = [threading.Thread(target=put, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class InStep:
    """Holds threads at every layer until all of `parties` are there, so that their layers interleave for certain."""

    def __init__(self, model: Any, parties: int) -> None:
        self.barrier = threading.Barrier(parties)
        self.layers = model.get_decoder().layers

    def __enter__(self) -> None:
        self.handles = [layer.self_attn.q_proj.register_forward_hook(self._wait) for layer in self.layers]

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _wait(self, *_: object) -> None:
        self.barrier.wait(20)


def test_threads_inside_one_block_do_not_meet() -> None:
    model = tiny_model()
    prompts = [token_ids(300, seed=1), token_ids(340, seed=2)]
    with slim(model, PRUNED):
        alone = [last_logits(model, ids) for ids in prompts]
        with InStep(model, 2):
            copies = [contextvars.copy_context() for _ in prompts]
            works = [
                lambda own=own, ids=ids: own.run(last_logits, model, ids)
                for own, ids in zip(copies, prompts, strict=True)
            ]
            together = in_threads(*works)
    assert all(map(torch.equal, alone, together))


def test_threads_take_turns_at_a_rotary_module_that_keeps_its_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    model, ids = tiny_model("phi3", **LONG_ROPE), token_ids(100)
    rotary, together = model.get_decoder().rotary_emb, threading.Barrier(2)
    stock, met = rotary.forward, []

    def meet(*given: Any, **named: Any) -> Any:
        try:
            together.wait(0.3)
            met.append(True)
        except threading.BrokenBarrierError:
            together.reset()
        return stock(*given, **named)

    monkeypatch.setattr(rotary, "forward", meet)

    def own() -> torch.Tensor:
        with slim(model, PRUNED):
            return last_logits(model, ids)

    in_threads(own, own)
    assert met == []


def test_another_thread_sees_the_stock_model_and_may_enter_a_block_of_its_own() -> None:
    model, ids = tiny_model(), token_ids(200)
    stock = last_logits(model, ids)
    with slim(model, PRUNED):
        pruned = last_logits(model, ids)
    assert not torch.equal(stock, pruned)
    harder = PRUNED.with_changes(steps=(PruneStep(1, 0.2),))
    with slim(model, harder):
        hardest = last_logits(model, ids)

    def in_its_own() -> torch.Tensor:
        with slim(model, harder):
            return last_logits(model, ids)

    with slim(model, PRUNED):
        found = in_threads(lambda: last_logits(model, ids), in_its_own)
        assert torch.equal(found[0], stock)
        assert torch.equal(found[1], hardest)
        assert torch.equal(last_logits(model, ids), pruned)
    assert "forward" not in vars(model.get_decoder())


def test_a_plain_generate_of_another_thread_is_not_pruned() -> None:
    model, ids = tiny_model(), token_ids(200)

    def answer() -> list[int]:
        with torch.inference_mode():
            out: list[int] = model.generate(ids, max_new_tokens=8, do_sample=False, eos_token_id=None)[0].tolist()
        return out

    stock = answer()
    with slim(model, PRUNED):
        assert answer() != stock
        assert in_threads(answer) == [stock]


def test_blocks_of_two_threads_may_end_in_any_order() -> None:
    model, ids = tiny_model(), token_ids(100)
    stock = last_logits(model, ids)
    entered, leave = threading.Event(), threading.Event()

    def outlasting() -> torch.Tensor:
        with slim(model, PRUNED):
            entered.set()
            leave.wait(20)
            return last_logits(model, ids)

    found: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: found.append(outlasting()))
    with slim(model, PRUNED):
        thread.start()
        entered.wait(20)
        pruned = last_logits(model, ids)
    assert torch.equal(last_logits(model, ids), stock)
    leave.set()
    thread.join()
    assert torch.equal(found[0], pruned)
    assert "forward" not in vars(model.get_decoder())


def test_a_context_that_outlives_the_block_sees_the_stock_model() -> None:
    model, ids = tiny_model(), token_ids(100)
    stock = last_logits(model, ids)
    with slim(model, PRUNED):
        own = contextvars.copy_context()
    assert torch.equal(own.run(last_logits, model, ids), stock)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_made_inside_the_block_is_a_stock_model(copied: Callable[[Any], Any]) -> None:
    model, ids = tiny_model(), token_ids(100)
    stock = last_logits(model, ids)
    with slim(model, PRUNED):
        twin = copied(model)
        with torch.no_grad():
            twin.lm_head.weight.mul_(2)  # its own weights, not the original's
        assert torch.equal(last_logits(twin, ids), 2 * stock)
        pruned = last_logits(model, ids)
        with slim(twin, PRUNED):
            assert torch.equal(last_logits(twin, ids), 2 * pruned)
    assert torch.equal(last_logits(twin, ids), 2 * stock)


def test_what_somebody_put_in_place_of_the_door_stays() -> None:
    model = tiny_model()
    decoder = model.get_decoder()
    with slim(model, PRUNED):
        theirs = lambda *_, **__: None  # noqa: E731
        decoder.forward = theirs
    assert decoder.forward is theirs


LONG_ROPE = {
    "original_max_position_embeddings": 128,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "long_factor": [4.0] * 4,
        "short_factor": [1.0] * 4,
        "original_max_position_embeddings": 128,
    },
}
REQUEST = RunRequest("The lamp of the north tower was lit at nine. " * 12, "When?", PRUNED, max_new_tokens=4)


def test_a_second_run_of_the_same_thread_is_a_clear_error_and_not_a_wait_for_ever() -> None:
    engine = SlimEngine(tiny_loaded())
    first = engine.run(REQUEST)
    next(first)
    with pytest.raises(ConfigError, match="in the middle of a run"):
        next(engine.run(REQUEST))
    prompt = build_prompt(engine.loaded.tokenizer, "The lamp was lit at nine. " * 60, "When?")
    with pytest.raises(ConfigError, match="in the middle of a run"):
        list(probe(engine, prompt, (100, 120), DiffusionPlan.for_model(engine.loaded, len(prompt)), answer=(5, 6)))
    total = 1 + len(list(first))
    assert len(list(engine.run(REQUEST))) == total
    first = engine.run(REQUEST)
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert len(list(engine.run(REQUEST))) == total


def test_between_two_events_the_model_is_the_stock_model() -> None:
    engine, ids = SlimEngine(tiny_loaded()), token_ids(100)
    stock = last_logits(engine.loaded.model, ids)
    for _ in engine.run(REQUEST):
        assert torch.equal(last_logits(engine.loaded.model, ids), stock)
        assert not torch.is_inference_mode_enabled()


def test_a_run_may_go_on_in_whatever_thread_asks_for_its_next_event() -> None:
    engine = SlimEngine(tiny_loaded())
    expected = [type(event) for event in engine.run(REQUEST)]
    wandering, seen = engine.run(REQUEST), []
    for _ in expected:
        seen += in_threads(lambda: next(wandering))
    assert [type(event) for event in seen] == expected
    assert in_threads(lambda: next(wandering, None)) == [None]
    assert [type(event) for event in engine.run(REQUEST)] == expected


def test_runs_of_other_threads_wait_for_their_turn() -> None:
    engine = SlimEngine(tiny_loaded())
    total = len(list(engine.run(REQUEST)))
    assert in_threads(*[lambda: len(list(engine.run(REQUEST)))] * 3) == [total] * 3


def test_a_probe_of_diffusion_has_the_turn_while_it_runs() -> None:
    engine = SlimEngine(tiny_loaded())
    prompt = build_prompt(engine.loaded.tokenizer, "The lamp was lit at nine. " * 60, "When?")
    running = probe(engine, prompt, (100, 120), DiffusionPlan.for_model(engine.loaded, len(prompt)), answer=(5, 6))
    next(running)
    with pytest.raises(ConfigError, match="in the middle of a run"):
        next(engine.run(REQUEST))
    running.close()  # type: ignore[attr-defined]
    next(engine.run(REQUEST))


def test_a_copied_cache_goes_on_by_itself() -> None:
    model, ids, follow = tiny_model(), token_ids(120), token_ids(6, seed=1)
    with torch.inference_mode(), slim(model, PRUNED) as loop:
        prefix = DynamicCache()
        model(ids, past_key_values=prefix, logits_to_keep=1)
        straight = model(follow, past_key_values=copy.deepcopy(prefix), logits_to_keep=1).logits
        again = model(follow, past_key_values=copy.deepcopy(prefix), logits_to_keep=1).logits
        assert prefix.get_seq_length() == 120
        assert len(loop.kept_positions(prefix)[0]) == 120
        own = model(follow, past_key_values=prefix, logits_to_keep=1).logits
    assert torch.equal(straight, again)
    assert torch.equal(straight, own)
