"""Caches between calls: gone on with, cropped, copied, offloaded, outside the block, and after a call that failed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.cache import SlimCache
from sliminfer.cache.layers import SlotLayer
from sliminfer.decode_policies import make_cache
from sliminfer.decode_policies.searched import SearchedLayer
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished
from sliminfer.engine.request import RunRequest
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError, MemoryLimitError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.tiny import FAMILIES, tiny_loaded, tiny_model, token_ids

TOKENS = 160
IDS, FOLLOW = token_ids(TOKENS), token_ids(6, seed=1)
PRUNED = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=10, query_window=4)
GREEDY = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}


def caches(config: SlimConfig) -> dict[str, Any]:
    return {"plain": DynamicCache(), "slim": SlimCache(config, 6, BlockMap.of(TOKENS, config))}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("back", [3, 9, 12, 40])
@pytest.mark.parametrize("kind", ["plain", "slim"])
def test_a_cropped_cache_is_one_that_never_read_further(family: str, attention: str, back: int, kind: str) -> None:
    # 9 tokens come after the prompt of 160: the longer crops go into the prompt.
    # In fp64: in fp32 one logit of 1,920 was off by 2e-5 where a processor with AMX sums in another order.
    model, draft = tiny_model(family, attention).double(), token_ids(9, seed=7)
    cache = caches(PRUNED)[kind]
    with torch.inference_mode(), slim(model, PRUNED) as loop:
        model(IDS, past_key_values=cache, logits_to_keep=1)
        whole = loop.kept_positions(cache)
        model(draft[:, :8], past_key_values=cache)
        model(draft[:, 8:], past_key_values=cache)
        cache.crop(-back)
        left = TOKENS + 9 - back
        assert cache.get_seq_length() == left
        kept = [positions[positions < left] for positions in whole]
        assert [found.tolist() for found in loop.kept_positions(cache)] == [part.tolist() for part in kept]
        found = torch.cat([model(part, past_key_values=cache).logits[0] for part in FOLLOW.split([1, 5], 1)])
    read = torch.cat([torch.cat([IDS, draft], 1)[:, :left], FOLLOW], 1)
    expected = dense_logits(model, read, kept, min(left, TOKENS))[left:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [SlimConfig(), PRUNED], ids=["unpruned", "pruned"])
def test_a_cache_that_was_reset_or_cropped_to_nothing_takes_another_prompt(config: SlimConfig) -> None:
    model, other = tiny_model(), token_ids(90, seed=4)
    with torch.inference_mode(), slim(model, config):
        expected = model(other, logits_to_keep=1).logits
        for empty in (lambda cache: cache.reset(), lambda cache: cache.crop(-cache.get_seq_length())):
            cache = DynamicCache()
            model(IDS, past_key_values=cache, logits_to_keep=1)
            empty(cache)
            assert torch.equal(model(other, past_key_values=cache, logits_to_keep=1).logits, expected)


def test_a_batch_can_be_cropped_copied_reset_and_chosen_from() -> None:
    model, short = tiny_model(), token_ids(120, seed=5)
    batch = torch.cat([torch.cat([torch.zeros(1, 40, dtype=torch.long), short], 1), IDS])
    mask = (batch != 0).long()
    more = torch.cat([mask, torch.ones(2, 6, dtype=torch.long)], 1)

    def alone(ids: Tensor) -> Tensor:
        cache = DynamicCache()
        model(ids, past_key_values=cache, logits_to_keep=1)
        found: Tensor = model(FOLLOW, past_key_values=cache).logits[0]
        return found

    with torch.inference_mode(), slim(model, PRUNED):
        expected = torch.stack([alone(short), alone(IDS)])
        cache = DynamicCache()
        model(batch, attention_mask=mask, past_key_values=cache, logits_to_keep=1)
        assert cache.get_seq_length() == TOKENS
        twin = copy.deepcopy(cache)
        found = model(FOLLOW.repeat(2, 1), attention_mask=more, past_key_values=cache).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        cache.crop(-6)
        assert torch.equal(model(FOLLOW.repeat(2, 1), attention_mask=more, past_key_values=cache).logits, found)
        twin.reorder_cache(torch.tensor([1, 1]))
        with pytest.raises(ConfigError, match="begins elsewhere"):
            model(FOLLOW.repeat(2, 1), attention_mask=more, past_key_values=twin)
        both = model(FOLLOW.repeat(2, 1), attention_mask=more[1:].repeat(2, 1), past_key_values=twin).logits
        assert torch.equal(both, found[1:].repeat(2, 1, 1))
        twin.batch_repeat_interleave(2)
        twin.batch_select_indices(torch.tensor([False, False, False, True]))
        twin.crop(-6)
        # The head multiplies one row's states here and two rows' there: equal but for rounding.
        torch.testing.assert_close(model(FOLLOW, past_key_values=twin).logits, found[1:], atol=1e-6, rtol=1e-6)
        cache.reset()
        assert torch.equal(model(FOLLOW, past_key_values=cache).logits, model(FOLLOW).logits)


@pytest.mark.parametrize("policy", ["blocks", "retrieval"])
def test_a_cache_that_generate_makes_has_the_working_sets_that_are_asked_for(policy: str) -> None:
    config = PRUNED.with_changes(active=0.5, decode=policy, decode_block_size=8, decode_unit_size=4, refresh=1)
    model = tiny_model()
    with torch.inference_mode(), slim(model, config):
        own = make_cache(config, 6, BlockMap.of(TOKENS, config))
        expected = model.generate(IDS, past_key_values=own, **GREEDY)
        out = model.generate(IDS, return_dict_in_generate=True, **GREEDY)
    assert torch.equal(out.sequences, expected)
    managed = SlotLayer if policy == "blocks" else SearchedLayer
    assert any(isinstance(layer, managed) for layer in out.past_key_values.layers)


def test_what_waits_on_the_host_is_not_copied_or_cropped_into_and_says_so() -> None:
    config = PRUNED.with_changes(active=0.5, decode_block_size=8, decode_unit_size=4)
    model = tiny_model()
    with torch.inference_mode(), slim(model, config):
        cache = DynamicCache()
        model(IDS, past_key_values=cache, logits_to_keep=1)
        model(FOLLOW, past_key_values=cache)
        with pytest.raises(ConfigError, match="leave active out"):
            copy.deepcopy(cache)
        lengths = [layer.length for layer in cache.layers]
        with pytest.raises(ConfigError, match="leave active out"):
            cache.crop(-20)
        assert [layer.length for layer in cache.layers] == lengths
        cache.crop(-6)
        model(FOLLOW, past_key_values=cache)
        assert [layer.length for layer in cache.layers] == lengths


def test_a_slim_cache_without_working_sets_is_copied_with_all_it_holds() -> None:
    model = tiny_model()
    with torch.inference_mode(), slim(model, PRUNED):
        cache = SlimCache(PRUNED, 6, BlockMap.of(TOKENS, PRUNED))
        model(IDS, past_key_values=cache, logits_to_keep=1)
        twin = copy.deepcopy(cache)
        first = model(FOLLOW, past_key_values=cache).logits
        cache.close()
        assert torch.equal(model(FOLLOW, past_key_values=twin).logits, first)


def test_tokens_that_came_back_in_decode_cannot_be_taken_away_again_and_that_is_said() -> None:
    model, config = tiny_model(), PRUNED.with_changes(method="lazyllm", score_layer="previous")
    with torch.inference_mode(), slim(model, config):
        cache = DynamicCache()
        model(IDS, past_key_values=cache, logits_to_keep=1)
        model(FOLLOW, past_key_values=cache)
        cache.crop(0)
        with pytest.raises(ConfigError, match="brings dropped tokens back"):
            cache.crop(-2)


def test_a_chat_goes_on_after_gemfilter_from_the_tokens_that_it_chose() -> None:
    config = SlimConfig(steps=(PruneStep(3, 0.4),), method="gemfilter", block_size=8, local=10)
    model = tiny_model()
    with torch.inference_mode():
        with slim(model, config) as loop:
            cache = DynamicCache()
            first = model.generate(IDS, past_key_values=cache, **GREEDY)
            chosen = loop.kept_positions(cache)[0]
            turns = torch.cat([first, FOLLOW], 1)
            found = model.generate(turns, past_key_values=cache, **GREEDY)[0, TOKENS:]
        assert len(chosen) < TOKENS
        short = IDS[:, chosen]
        answer = model.generate(short, **GREEDY)[:, len(chosen) :]
        asked = torch.cat([short, answer, FOLLOW], 1)
        assert torch.equal(found, model.generate(asked, **GREEDY)[0, len(chosen) :])


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_stock_model_goes_on_with_a_whole_cache_and_refuses_a_pruned_one(attention: str) -> None:
    model = tiny_model(attention=attention)
    with torch.inference_mode():
        stock = DynamicCache()
        model(IDS, past_key_values=stock)
        expected = model(FOLLOW, past_key_values=stock).logits
        for config in (SlimConfig(), PRUNED):
            cache = DynamicCache()
            with slim(model, config):
                model(IDS, past_key_values=cache, logits_to_keep=1)
            if config.steps:
                with pytest.raises(ConfigError, match="pruned prompt of 160 tokens: go on with it inside slim"):
                    model(FOLLOW, past_key_values=cache)
            else:
                assert torch.equal(model(FOLLOW, past_key_values=cache).logits, expected)


def test_a_cache_goes_on_in_another_block_as_it_was_filled() -> None:
    model = tiny_model()
    with torch.inference_mode():
        cache = DynamicCache()
        with slim(model, PRUNED) as loop:
            model(IDS, past_key_values=cache, logits_to_keep=1)
            kept = loop.kept_positions(cache)
        with slim(model, SlimConfig()):
            found = model(FOLLOW, past_key_values=cache).logits[0]
    expected = dense_logits(model, torch.cat([IDS, FOLLOW], 1), kept, TOKENS)[TOKENS:]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_call_that_did_not_come_to_its_end_leaves_a_cache_that_says_so() -> None:
    model = tiny_model()

    def fail(*_: object) -> None:
        raise RuntimeError("unplugged")

    with torch.inference_mode(), slim(model, PRUNED):
        cache = DynamicCache()
        model(IDS, past_key_values=cache, logits_to_keep=1)
        handle = model.get_decoder().layers[3].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="unplugged"):
            model(FOLLOW, past_key_values=cache)
        handle.remove()
        with pytest.raises(ConfigError, match="did not come to its end"):
            model(FOLLOW, past_key_values=cache)


@pytest.mark.parametrize("span", [(70, 60), (-5, 3)])
@pytest.mark.parametrize("name", ["question", "evidence"])
def test_a_reversed_or_negative_span_is_refused_at_once(name: str, span: tuple[int, int]) -> None:
    given: Any = {"question": span} if name == "question" else {"evidence": (span,)}
    with pytest.raises(ConfigError, match=f"The {name} is"), slim(tiny_model(), PRUNED, **given):
        pass


@pytest.mark.parametrize("name", ["question", "evidence"])
def test_a_span_beyond_the_prompt_is_refused_with_the_numbers(name: str) -> None:
    model, given = tiny_model(), {"question": (150, 170)} if name == "question" else {"evidence": ((150, 170),)}
    with torch.inference_mode(), slim(model, PRUNED, **given), pytest.raises(ConfigError, match="150 to 170, is not"):
        model(IDS)


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_dropout_in_train_mode_is_the_stock_models(family: str) -> None:
    changes = {"resid_pdrop": 0.3} if family == "phi3" else {}
    model = tiny_model(family, attention_dropout=0.3, **changes).train()

    def loss() -> float:
        torch.manual_seed(5)
        with torch.no_grad():
            return float(model(IDS, labels=IDS).loss)

    stock = loss()
    with slim(model, SlimConfig()):
        assert loss() == pytest.approx(stock, abs=1e-6)
    with slim(model, PRUNED):
        pruned = loss()
        model.eval()
        assert loss() != pytest.approx(pruned, abs=1e-4)


SWITCH = 128
LONG = {
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": SWITCH,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "long_factor": [4.0] * 4,
        "short_factor": [1.0] * 4,
        "original_max_position_embeddings": SWITCH,
    },
}


@pytest.mark.parametrize("config", [SlimConfig(), PRUNED], ids=["unpruned", "pruned"])
@pytest.mark.parametrize("tokens", [SWITCH - 20, SWITCH - 3, SWITCH, SWITCH + 1, SWITCH + 20])
def test_generate_crosses_the_switch_of_a_long_rope_as_the_stock_model_does(tokens: int, config: SlimConfig) -> None:
    model, ids = tiny_model("phi3", **LONG), token_ids(tokens)
    with torch.inference_mode():
        with slim(model, config):
            found = model.generate(ids, **GREEDY)[0]
        if not config.steps:
            assert torch.equal(found, model.generate(ids, **GREEDY)[0])
            return
        with slim(model, config):  # the step that crosses reads prompt and answer anew, as the stock model does
            for count in range(tokens, tokens + 8):
                text = found[None, :count]
                if count == tokens or count == SWITCH + 1:
                    cache = DynamicCache()
                    logits = model(text, past_key_values=cache, logits_to_keep=1).logits
                else:
                    logits = model(text[:, -1:], past_key_values=cache, logits_to_keep=1).logits
                assert int(logits[0, -1].argmax()) == int(found[count])


def test_a_long_rope_is_refused_where_a_cache_cannot_follow_it() -> None:
    model = tiny_model("phi3", **LONG)
    with torch.inference_mode(), slim(model, PRUNED):
        cache = DynamicCache()
        model(token_ids(SWITCH - 3), past_key_values=cache, logits_to_keep=1)
        with pytest.raises(ConfigError, match="by other factors"):
            model(FOLLOW, past_key_values=cache)


def test_the_engine_refuses_an_answer_that_would_cross_and_runs_the_longest_that_does_not() -> None:
    loaded = tiny_loaded("phi3", **LONG)
    engine = SlimEngine(loaded)
    request = RunRequest("The lamp was lit at nine. " * 8, "When?", PRUNED, max_new_tokens=4, ignore_eos=True)
    tokens = len(engine.prepare(request).prompt)
    assert tokens < SWITCH
    most = SWITCH - tokens + 1
    with pytest.raises(MemoryLimitError, match=f"ask for at most {most} tokens"):
        engine.run(RunRequest(request.document, "When?", PRUNED, max_new_tokens=most + 1, ignore_eos=True), "full")
    longest = RunRequest(request.document, "When?", PRUNED, max_new_tokens=most, ignore_eos=True)
    events = list(engine.run(longest, "full"))
    metrics = next(event for event in events if isinstance(event, Finished)).metrics
    ids = torch.tensor([engine.prepare(request).prompt.ids])
    with torch.inference_mode():
        stock = loaded.model.generate(ids, **(GREEDY | {"max_new_tokens": most}))[0, tokens:]
    assert list(metrics.token_ids) == stock.tolist()
