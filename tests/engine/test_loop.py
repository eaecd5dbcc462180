"""The layer loop: equal to the dense oracle when it prunes, to the stock model when it does not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from transformers.cache_utils import DynamicCache

from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.masks import attention_mask
from sliminfer.engine.prefill import Prefill
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError, ModelError
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense_logits
from tests.tiny import FAMILIES, tiny_model, token_ids

PRUNED = SlimConfig(
    steps=(PruneStep(2, 0.7), PruneStep(4, 0.5)), block_size=8, sink=1, local=10, query_window=4, aggregate="mean"
)
FULL = SlimConfig()


def prefill(model: Any, ids: torch.Tensor, config: SlimConfig, **known: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Last logits of a pruned prefill [vocabulary], and the kept positions of each layer."""
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, config, **known) as loop:
        logits = model(ids, past_key_values=cache, logits_to_keep=1).logits[0, -1]
    return logits, loop.kept_positions(cache)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tokens", [64, 101])
def test_pruned_prefill_equals_dense_oracle(family: str, attention: str, tokens: int) -> None:
    model = tiny_model(family, attention)
    ids = token_ids(tokens, seed=tokens)
    logits, kept = prefill(model, ids, PRUNED)
    assert len(kept[1]) == tokens > len(kept[2]) > len(kept[4])
    expected = dense_logits(model, ids, kept, tokens)[-1]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_is_as_close_to_the_oracle_as_bf16_allows(family: str) -> None:
    model = tiny_model(family, dtype=torch.bfloat16)
    ids = token_ids(101)
    logits, kept = prefill(model, ids, PRUNED)
    exact = tiny_model(family)
    exact.load_state_dict(model.state_dict())  # the same weights, in fp32
    truth = dense_logits(exact, ids, kept, 101)[-1]
    ours = (logits.float() - truth).norm() / truth.norm()
    theirs = (dense_logits(model, ids, kept, 101)[-1].float() - truth).norm() / truth.norm()
    assert ours <= 2 * theirs + 1e-3


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_on_the_ragged_cache_equals_the_oracle(family: str, attention: str) -> None:
    model = tiny_model(family, attention)
    ids = token_ids(90)
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, PRUNED) as loop:
        model(ids, past_key_values=cache, logits_to_keep=1)
        kept = loop.kept_positions(cache)
        follow = token_ids(5, seed=1)
        one_by_one = [model(follow[:, i : i + 1], past_key_values=cache).logits[0, -1] for i in range(3)]
        together = model(follow[:, 3:], past_key_values=cache).logits[0]  # several tokens appended at once
    expected = dense_logits(model, torch.cat([ids, follow], 1), kept, 90)[90:]
    torch.testing.assert_close(torch.stack(one_by_one), expected[:3], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together, expected[3:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [FULL, SlimConfig(steps=(PruneStep(2, 1.0),))])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", FAMILIES)
def test_keeping_everything_is_the_stock_model_bit_for_bit(family: str, attention: str, config: SlimConfig) -> None:
    model = tiny_model(family, attention)
    ids = token_ids(77)
    expected = generate(model, ids)
    with slim(model, config):
        assert generate(model, ids) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_forced_blocks_exceed_the_budget_they_alone_go_on(family: str) -> None:
    model, ids = tiny_model(family), token_ids(77)
    logits, kept = prefill(model, ids, SlimConfig(steps=(PruneStep(2, 8),), local=20))
    assert kept[2].tolist() == [*range(8), *range(56, 77)]
    torch.testing.assert_close(logits, dense_logits(model, ids, kept, 77)[-1], atol=1e-5, rtol=1e-5)


def generate(model: Any, ids: torch.Tensor) -> tuple[list[int], list[bytes]]:
    """Greedy tokens and the bytes of every step's logits."""
    with torch.inference_mode():
        out = model.generate(
            ids, max_new_tokens=8, do_sample=False, output_logits=True, return_dict_in_generate=True, eos_token_id=None
        )
    return out.sequences[0].tolist(), [step.numpy().tobytes() for step in out.logits]


@pytest.mark.parametrize("family", FAMILIES)
def test_generate_under_slim_runs_on_original_positions(family: str) -> None:
    model = tiny_model(family)
    ids = token_ids(120)
    with slim(model, PRUNED):
        tokens, logits = generate(model, ids)
    _, kept = prefill(model, ids, PRUNED)
    truth = dense_logits(model, torch.tensor([tokens]), kept, 120)
    for step, raw in enumerate(logits):
        ours = torch.frombuffer(bytearray(raw), dtype=torch.float32)
        torch.testing.assert_close(ours, truth[119 + step], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 9, 18])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_prompts_within_the_forced_blocks_are_untouched(tokens: int, attention: str) -> None:
    model = tiny_model(attention=attention)
    ids = token_ids(tokens)
    expected = generate(model, ids)
    with slim(model, PRUNED):
        assert generate(model, ids) == expected


def test_question_span_survives_every_layer() -> None:
    model = tiny_model()
    ids = token_ids(200)
    _, kept = prefill(model, ids, PRUNED, question=(60, 70))
    for positions in kept:
        assert set(range(60, 70)) <= set(positions.tolist())


@pytest.mark.parametrize("family", ["mistral", "qwen2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_sliding_windows_count_positions_not_kept_tokens(family: str, attention: str) -> None:
    extra: dict[str, Any] = {"sliding_window": 24}
    if family == "qwen2":  # some layers slide, some do not
        extra |= {"use_sliding_window": True, "max_window_layers": 3}
    model = tiny_model(family, attention, **extra)
    ids = token_ids(90)
    logits, kept = prefill(model, ids, PRUNED)
    assert len(kept[4]) < 90
    expected = dense_logits(model, ids, kept, 90)[-1]
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    plain = generate(model, ids)
    with slim(model, FULL):
        assert generate(model, ids)[0] == plain[0]


def test_flash_attention_refuses_a_pruned_sliding_window() -> None:
    positions = torch.tensor([0, 1, 50, 51])
    with pytest.raises(ModelError, match="sdpa"):
        attention_mask("flash_attention_2", positions, positions, 10, torch.float32)
    assert attention_mask("flash_attention_2", positions, positions, None, torch.float32) is None


@pytest.mark.parametrize("score_layer", ["previous", "own", "both"])
@pytest.mark.parametrize("aggregate", ["max", "mean"])
@pytest.mark.parametrize("unit_size", [1, 2, 8])
@pytest.mark.parametrize("family", ["llama", "phi3", "qwen3"])
def test_scoring_variants_all_keep_the_oracle(family: str, score_layer: Any, aggregate: Any, unit_size: int) -> None:
    model = tiny_model(family)
    ids = token_ids(83)
    config = PRUNED.with_changes(score_layer=score_layer, aggregate=aggregate, unit_size=unit_size)
    logits, kept = prefill(model, ids, config)
    torch.testing.assert_close(logits, dense_logits(model, ids, kept, 83)[-1], atol=1e-5, rtol=1e-5)


def test_projected_queries_and_keys_are_those_the_layer_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    # "previous" reads keys from the cache and "own" projects them anew: at one layer they must agree.
    seen: dict[str, torch.Tensor] = {}
    original = Prefill._view

    def spy(*args: Any) -> Any:
        view = original(*args)
        seen["keys"] = view.keys()
        return view

    monkeypatch.setattr(Prefill, "_view", spy)
    for family in FAMILIES:
        model = tiny_model(family)
        ids = token_ids(40)
        with torch.inference_mode():
            loop = LayerLoop(model, SlimConfig(steps=(PruneStep(3, 0.5),), score_layer="own", block_size=4, local=4))
            cache = DynamicCache()
            list(loop.run(loop.decoder.embed_tokens(ids), cache))
            kept = loop.kept_positions(cache)[3]
        torch.testing.assert_close(seen["keys"][:, kept], cache.layers[3].keys[0], atol=1e-6, rtol=1e-5)


def test_the_model_is_as_it_was_after_success_error_and_stop() -> None:
    model = tiny_model()
    decoder = model.get_decoder()
    with slim(model, PRUNED):
        assert "forward" in vars(decoder)
    assert "forward" not in vars(decoder)
    with pytest.raises(RuntimeError, match="boom"), slim(model, PRUNED):
        raise RuntimeError("boom")
    assert "forward" not in vars(decoder)
    ids = token_ids(50)
    expected = generate(model, ids)
    with torch.inference_mode():
        loop = LayerLoop(model, PRUNED)
        run = loop.run(decoder.embed_tokens(ids), DynamicCache())
        next(run)
        run.close()
    assert generate(model, ids) == expected


def test_nesting_is_refused_and_the_outer_block_goes_on() -> None:
    model = tiny_model()
    ids = token_ids(60)
    with slim(model, PRUNED):
        before = generate(model, ids)
        with pytest.raises(ConfigError, match="already inside"), slim(model, FULL):
            pass
        assert generate(model, ids) == before


def test_offloaded_weights_give_the_same_bits() -> None:
    ids = token_ids(70)
    expected, _ = prefill(tiny_model(), ids, PRUNED)
    offloaded = cpu_offload(tiny_model(), execution_device="cpu")
    hooked = offloaded.get_decoder().__dict__.get("forward")
    logits, _ = prefill(offloaded, ids, PRUNED)
    assert torch.equal(logits, expected)
    assert offloaded.get_decoder().__dict__.get("forward") is hooked


def test_what_cannot_be_pruned_is_refused_in_words() -> None:
    model = tiny_model()
    ids = token_ids(40)
    with torch.inference_mode(), slim(model, PRUNED):
        with pytest.raises(ConfigError, match="Several prompts at once need an attention_mask"):
            model(ids.repeat(2, 1))
        with pytest.raises(ConfigError, match="padding between its tokens"):
            model(ids, attention_mask=torch.tensor([[1, 0] + [1] * 38]))
        with pytest.raises(ConfigError, match="another length"):
            model(ids, output_hidden_states=True)
        foreign = DynamicCache()
        foreign.update(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8), 0)
        with pytest.raises(ConfigError, match="3 tokens from outside"):
            model(ids, past_key_values=foreign)
    with pytest.raises(ConfigError, match="layers 0 to 5"), slim(model, SlimConfig(steps=(PruneStep(6, 0.5),))):
        pass
    with pytest.raises(ModelError, match="not supported"), slim(torch.nn.Linear(2, 2), FULL):
        pass
