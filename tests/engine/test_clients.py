"""The libraries that people call a slimmed model through: their results are the model's own, pruned or not."""

from __future__ import annotations

import contextvars
import copy
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import dispatch_model
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, TextIteratorStreamer, pipeline
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense
from tests.tiny import tiny_model, tiny_tokenizer, token_ids

PRUNED = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=10, query_window=4)
CONFIGS = {"unpruned": SlimConfig(), "pruned": PRUNED}
configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
NEW = 8
GREEDY = {"max_new_tokens": NEW, "do_sample": False}
IDS = token_ids(160)
TEXTS = ["The lamp of the north tower was lit at nine. " * 6 + "When was it lit?", "The keeper wrote it down. " * 9]


def truth(model: Any, ids: Tensor, config: SlimConfig) -> list[int]:
    """The greedy answer of the stock model without a cache, which sees of the prompt what `config` keeps of it."""
    cache, prompt = DynamicCache(), ids.shape[1]
    with torch.inference_mode():
        with slim(model, config) as loop:
            model(ids, past_key_values=cache, logits_to_keep=1)
            kept = loop.kept_positions(cache)
        with dense(model, kept, prompt):
            out = model.generate(ids, use_cache=False, **GREEDY, **ENDLESS)
    answer: list[int] = out[0, prompt:].tolist()
    return answer


ENDLESS: dict[str, Any] = {"eos_token_id": None, "pad_token_id": 0}


def endless(**changes: Any) -> Any:
    """A tiny model whose answers do not end early."""
    model = tiny_model(**changes)
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def text_of(tokens: list[int]) -> str:
    text: str = tiny_tokenizer().decode(tokens, skip_special_tokens=True)
    return text


@configs
def test_a_pipeline_gives_the_models_answer(config: SlimConfig) -> None:
    model, tokenizer = endless(), tiny_tokenizer()
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer, return_full_text=False)
    with slim(model, config):
        found = [pipe(text, **GREEDY)[0]["generated_text"] for text in TEXTS]
    assert found == [text_of(truth(model, tokenizer(text, return_tensors="pt").input_ids, config)) for text in TEXTS]


@configs
def test_a_batched_pipeline_gives_each_row_its_own_answer(config: SlimConfig) -> None:
    model, tokenizer = endless(), copy.deepcopy(tiny_tokenizer())
    tokenizer.padding_side = "left"
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer, return_full_text=False)
    with slim(model, config):
        found = [row[0]["generated_text"] for row in pipe(TEXTS, batch_size=2, **GREEDY)]
    assert found == [text_of(truth(model, tokenizer(text, return_tensors="pt").input_ids, config)) for text in TEXTS]


@configs
def test_a_pipeline_of_chats_gives_the_models_answer(config: SlimConfig) -> None:
    model, tokenizer = endless(), tiny_tokenizer()
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer)
    chat = [{"role": "user", "content": TEXTS[0]}]
    with slim(model, config):
        answer = pipe(chat, **GREEDY)[0]["generated_text"][-1]["content"]
    rendered = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(rendered, add_special_tokens=False, return_tensors="pt").input_ids
    assert answer == text_of(truth(model, ids, config))


def streamed(model: Any, ids: Tensor, start: Callable[[Callable[[], None]], threading.Thread]) -> str:
    """What arrives at a TextIteratorStreamer while `generate` runs in the thread that `start` makes for it."""
    streamer = TextIteratorStreamer(tiny_tokenizer(), skip_prompt=True, skip_special_tokens=True, timeout=60)

    def answer() -> None:
        with torch.inference_mode():
            model.generate(ids, streamer=streamer, **GREEDY)

    thread = start(answer)
    thread.start()
    text = "".join(streamer)
    thread.join()
    return text


@configs
def test_a_streamer_in_a_thread_streams_what_that_threads_block_says(config: SlimConfig) -> None:
    model = endless()

    def in_a_block_of_its_own(answer: Callable[[], None]) -> threading.Thread:
        def work() -> None:
            with slim(model, config):
                answer()

        return threading.Thread(target=work)

    expected = text_of(truth(model, IDS, config))
    assert streamed(model, IDS, in_a_block_of_its_own) == expected
    with slim(model, config):
        inherits = lambda answer: threading.Thread(target=contextvars.copy_context().run, args=(answer,))  # noqa: E731
        assert streamed(model, IDS, inherits) == expected
        plain = streamed(model, IDS, lambda answer: threading.Thread(target=answer))
    assert plain == text_of(truth(model, IDS, SlimConfig()))


@configs
@pytest.mark.parametrize("inner", [False, True])
def test_a_model_with_adapters_is_pruned_as_it_stands(config: SlimConfig, inner: bool) -> None:
    base = endless()
    torch.manual_seed(1)
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False)
    tuned = get_peft_model(base, lora)
    before = truth(base, IDS, config)
    assert before == truth(tuned, IDS, config)
    with slim(tuned.get_base_model() if inner else tuned, config):
        found = tuned.generate(input_ids=IDS, **GREEDY)[0, IDS.shape[1] :].tolist()
    assert found == before
    with tuned.disable_adapter():
        plain = truth(base, IDS, config)
        with slim(tuned, config):
            found = tuned.generate(input_ids=IDS, **GREEDY)[0, IDS.shape[1] :].tolist()
    assert found == plain != before
    assert not any("forward" in vars(module) for module in (base, base.get_decoder()))


@configs
def test_a_compiled_model_is_pruned_inside_the_block_and_stock_outside(config: SlimConfig) -> None:
    model, ids = endless(), IDS.clone()
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        stock = compiled(ids, logits_to_keep=1).logits
        with slim(model, config):
            expected = model(ids, logits_to_keep=1).logits
            assert torch.equal(compiled(ids, logits_to_keep=1).logits, expected)
        with slim(compiled, config):
            assert torch.equal(compiled(ids, logits_to_keep=1).logits, expected)
        assert torch.equal(compiled(ids, logits_to_keep=1).logits, stock)


@configs
def test_an_assistant_may_be_slimmed_as_well(config: SlimConfig) -> None:
    model, assistant = endless(), tiny_model(layers=4, seed=1)
    with slim(model, config), slim(assistant, PRUNED.with_changes(steps=PRUNED.steps[:1])):
        out = model.generate(IDS, assistant_model=assistant, **GREEDY, **ENDLESS)[0, IDS.shape[1] :].tolist()
    assert out == truth(model, IDS, config)


@configs
def test_a_device_map_is_followed(config: SlimConfig, tmp_path: Path) -> None:
    endless().save_pretrained(tmp_path / "model")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "model", device_map="auto")
    parts = {f"model.layers.{index}": "disk" if index % 2 else "cpu" for index in range(6)}
    parts |= dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    spread = dispatch_model(endless(), parts, main_device="cpu", offload_dir=str(tmp_path / "offload"))
    expected = truth(endless(), IDS, config)
    for model in (whole, spread):
        with torch.inference_mode():
            outside = model.generate(IDS, **GREEDY, **ENDLESS)
            with slim(model, config):
                found = model.generate(IDS, **GREEDY, **ENDLESS)[0, IDS.shape[1] :].tolist()
            assert found == expected
            assert torch.equal(model.generate(IDS, **GREEDY, **ENDLESS), outside)
