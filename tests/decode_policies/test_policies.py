"""Decode policies: exact at full budget, equal to the stock model that sees the same, and right in what they pick."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sliminfer.cache import SlimCache
from sliminfer.decode_policies import PolicyCache, SearchedLayer, make_cache
from sliminfer.decode_policies.retrieval import best, build_index
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.slim import slim
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import selector_class
from tests.selectors.cases import CASES, EVIDENCE, outside
from tests.tiny import tiny_loaded, tiny_model, token_ids

POLICIES = ("retrieval", "lychee")
TOKENS, FOLLOW = 96, token_ids(5, seed=4)
policies = pytest.mark.parametrize("policy", POLICIES)
selectors = pytest.mark.parametrize(
    "config", [*CASES, SlimConfig(method="full", block_size=8, local=10, query_window=4)], ids=lambda c: c.method
)


def under(config: SlimConfig, policy: str, active: float | int, **options: Any) -> SlimConfig:
    return config.with_changes(decode=policy, decode_options=options, active=active)


def cache_of(config: SlimConfig, tokens: int = TOKENS) -> SlimCache:
    return make_cache(config, 6, BlockMap.of(tokens, config))


class Watched:
    """Runs a prompt and a few tokens, noting which prompt tokens each layer and head reads at each step."""

    def __init__(self, model: Any, config: SlimConfig, follow: Tensor = FOLLOW) -> None:
        self.cache = cache_of(config)
        logits = []
        self.seen: list[list[Tensor]] = []
        scores = outside(TOKENS) if selector_class(config.method).source(config) else None
        with torch.inference_mode(), slim(model, config, evidence=EVIDENCE, outside=scores) as loop:
            for part in (token_ids(TOKENS), *follow.split(1, dim=1)):
                if logits:
                    self._spy(loop.kept_positions(self.cache))
                logits.append(model(part, past_key_values=self.cache, logits_to_keep=1).logits[0, -1])
            self.kept = loop.kept_positions(self.cache)
        self.logits = torch.stack(logits)

    def _spy(self, kept: list[Tensor]) -> None:
        self.cache.prefilled or self.cache.finish_prefill(kept)
        reads = [positions[None].expand(2, -1) for positions in kept]
        for index, layer in enumerate(self.cache.layers):
            if isinstance(layer, SearchedLayer):

                def choose(tokens: Tensor, index: int = index, layer: SearchedLayer = layer) -> None:
                    static = layer.static[None].expand(len(tokens), -1)
                    reads[index] = kept[index][torch.cat([tokens, static], 1)]
                    SearchedLayer.choose(layer, tokens)

                layer.choose = choose  # type: ignore[method-assign]
        self.seen.append(reads)


def dense_logits(model: Any, found: Watched) -> Tensor:
    """The stock model, each layer and head masked to what `found` read at each step [calls, vocabulary]."""
    ids = torch.cat([token_ids(TOKENS), FOLLOW], 1)
    count = ids.shape[1]
    handles = []
    for index, layer in enumerate(model.get_decoder().layers):
        allowed = torch.zeros(2, count, count, dtype=torch.bool)
        allowed[:, :, found.kept[index]] = True
        for step, reads in enumerate(found.seen):
            allowed[:, TOKENS + step, :TOKENS] = False
            allowed[:, TOKENS + step, :TOKENS].scatter_(1, reads[index], True)
        allowed[:, :, TOKENS:] = True
        allowed = (allowed & torch.ones(count, count, dtype=torch.bool).tril()) | torch.eye(count, dtype=torch.bool)
        mask = allowed.repeat_interleave(2, 0)[None]
        hook = lambda module, args, kwargs, mask=mask: (args, kwargs | {"attention_mask": mask})  # noqa: E731
        handles.append(layer.register_forward_pre_hook(hook, with_kwargs=True))
    try:
        with torch.inference_mode():
            logits: Tensor = model(ids, use_cache=False).logits[0, TOKENS - 1 :]
    finally:
        for handle in handles:
            handle.remove()
    return logits


@policies
@selectors
def test_at_full_budget_every_bit_is_that_of_a_run_without_policy(config: SlimConfig, policy: str) -> None:
    model = tiny_model()
    plain = Watched(model, config.with_changes(active=None))
    assert torch.equal(Watched(model, under(config, policy, 1.0)).logits, plain.logits)


@policies
@pytest.mark.parametrize("active", [0.4, 0.7, 40])
@pytest.mark.parametrize("config", [c for c in CASES if c.method in ("sliminfer", "fastkv", "adaptive")], ids=str)
def test_each_step_equals_the_stock_model_masked_to_what_was_read(
    config: SlimConfig, policy: str, active: float | int
) -> None:
    model = tiny_model()
    found = Watched(model, under(config, policy, active))
    assert isinstance(found.cache, PolicyCache)
    for index, layer in enumerate(found.cache.layers):
        budget = active if isinstance(active, int) else int(np.ceil(active * len(found.kept[index])))
        if isinstance(layer, SearchedLayer):
            assert {reads[index].shape[1] for reads in found.seen} == {max(budget, len(layer.static))}
    torch.testing.assert_close(found.logits, dense_logits(model, found), atol=3e-5, rtol=1e-5)


@policies
@selectors
def test_policies_work_behind_every_selector_and_in_the_engine(config: SlimConfig, policy: str) -> None:
    engine = SlimEngine(tiny_loaded(), draft=tiny_loaded())
    document = "The lamp of the north tower was lit at nine. " * 12
    request = RunRequest(document, "When?", under(config, policy, 0.5), 5, ignore_eos=True, evidence=((60, 80),))
    result = RunResult.of(engine.run(request))
    assert result.failed == {}
    metrics = result.finished["pruned"].metrics
    assert metrics.new_tokens == 5
    assert metrics.prompt_kv.total_device < sum(metrics.tokens_per_layer) * 2 * 16 * 4
    assert metrics.prompt_kv.total_host > 0


@policies
@pytest.mark.parametrize("method", ["sliminfer", "gemfilter", "lazyllm"])
def test_several_tokens_at_once_read_everything(policy: str, method: str) -> None:
    config = next(case for case in CASES if case.method == method)
    model, ids = tiny_model(), token_ids(TOKENS)
    outs = []
    for each in (config, under(config, policy, 0.4)):
        cache = cache_of(each)
        with torch.inference_mode(), slim(model, each):
            model(ids, past_key_values=cache, logits_to_keep=1)
            outs.append(model(FOLLOW, past_key_values=cache).logits)
    torch.testing.assert_close(outs[1], outs[0], atol=1e-5, rtol=1e-5)


def queries_and_layer(cache: PolicyCache) -> tuple[Tensor, SearchedLayer]:
    layer = cache.layers[3]
    assert isinstance(layer, SearchedLayer)
    return torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(1)), layer


def policy_cache(policy: str, **options: Any) -> PolicyCache:
    found = Watched(tiny_model(), under(CASES[0], policy, 0.5, **options)).cache
    assert isinstance(found, PolicyCache)
    return found


def highest(layer: SearchedLayer, queries: Tensor) -> Tensor:
    """Per KV head, the searched tokens with the highest product with any query of its group."""
    rows = []
    for head in range(2):
        products = layer.host[0, head] @ queries[2 * head : 2 * head + 2, 0].t()
        ranked = products.amax(1)[layer.searched].topk(layer.wanted).indices
        rows.append(layer.searched[ranked].sort().values)
    return torch.stack(rows)


def test_flat_retrieval_picks_the_highest_products_of_each_group() -> None:
    cache = policy_cache("retrieval", index="flat")
    queries, layer = queries_and_layer(cache)
    assert torch.equal(cache.policy.choose(3, queries), highest(layer, queries))


def test_lychee_whose_heads_all_search_picks_the_same() -> None:
    cache = policy_cache("lychee", share=1.0)
    queries, layer = queries_and_layer(cache)
    policy: Any = cache.policy
    policy.leader = {head: head for head in policy.leader}
    policy._keys = {head: cache.layers[head[0]].host[0, head[1]] for head in policy.leader}  # type: ignore[attr-defined]
    assert torch.equal(policy.choose(3, queries), highest(layer, queries))


@pytest.mark.parametrize("share", [0.01, 0.3, 1.0])
def test_lychee_heads_follow_one_of_few_at_or_before_their_layer(share: float) -> None:
    policy: Any = policy_cache("lychee", share=share).policy
    leaders = set(policy.leader.values())
    assert len(policy.leader) == 12
    assert len(leaders) <= max(1, np.ceil(share * 12))
    assert all(leader[0] <= head[0] for head, leader in policy.leader.items())
    assert share < 1.0 or len(leaders) > 4


def test_lychee_heads_with_the_same_leader_and_survivors_share_their_tokens() -> None:
    cache = policy_cache("lychee", share=0.01)
    policy: Any = cache.policy
    queries = torch.randn(4, 1, 8, generator=torch.Generator().manual_seed(1))
    (leader,) = set(policy.leader.values())
    first = policy.choose(leader[0], queries)
    assert torch.equal(first[0], first[1])
    assert torch.equal(policy.choose(2, queries), policy.choose(3, -queries))


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_indexes_recall_what_an_exact_scan_finds(kind: str) -> None:
    generator = np.random.default_rng(0)
    keys = generator.standard_normal((3000, 16)).astype(np.float32)
    queries = generator.standard_normal((2, 16)).astype(np.float32)
    found = best(build_index(kind, keys), queries, 300)
    exact = np.argsort(-(keys @ queries.T).max(1), kind="stable")[:300]
    assert len(found) == len(set(found.tolist())) == 300
    assert np.all(np.diff(found) > 0)
    recall = len(set(found.tolist()) & set(exact.tolist())) / 300
    assert recall == 1.0 if kind == "flat" else recall > 0.6  # isotropic keys are the worst case


def test_a_search_that_finds_too_few_is_filled_up() -> None:
    keys = np.eye(40, 16, dtype=np.float32)
    index = build_index("ivf", keys)
    assert best(index, keys[:1], 40).tolist() == list(range(40))


def test_memory_is_static_tokens_on_the_device_and_survivors_on_the_host() -> None:
    cache = policy_cache("retrieval")
    for layer, held in zip(cache.layers, cache.kv_bytes(), strict=True):
        assert isinstance(layer, SearchedLayer)
        token = 2 * 2 * 8 * 4
        assert held.prompt == len(layer.static) * token
        assert held.tail == 5 * token
        assert held.host == layer.host.nbytes + len(layer.searched) * token // 2
    cache.close()
    assert sum(held.device + held.host for held in cache.kv_bytes()) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decode": "magic", "active": 0.5}, "Unknown decode policy 'magic': choose one of blocks, retrieval, lychee"),
        ({"decode": "retrieval"}, "needs a budget: set active"),
        ({"decode": "retrieval", "active": 0.5, "decode_options": {"index": "tree"}}, "index is 'tree'"),
        ({"decode": "lychee", "active": 0.5, "decode_options": {"share": 0}}, "share is 0"),
        ({"decode": "lychee", "active": 0.5, "decode_options": {"heads": 2}}, "no option 'heads': known are share"),
        ({"decode_options": {"share": 0.5}}, "blocks has no option 'share'"),
    ],
)
def test_wrong_settings_are_refused_in_words(changes: dict[str, Any], message: str) -> None:
    config = SlimConfig((PruneStep(2, 0.5),), **changes)
    with pytest.raises(ConfigError, match=message), slim(tiny_model(), config):
        pass


def test_sliding_windows_are_refused() -> None:
    model = tiny_model("mistral", sliding_window=24)
    with pytest.raises(ConfigError, match="use decode blocks"), slim(model, under(CASES[0], "retrieval", 0.5)):
        pass
