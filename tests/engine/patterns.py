"""Every way in which people call a transformers model, once: what it gives under `slim`, or why it is refused.

`test_patterns.py` holds the code to it, and the table in docs/reliability.md is this one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import StaticCache
from transformers.cache_utils import DynamicCache

from tests.tiny import tiny_model, token_ids

TOKENS, NEW = 160, 10
IDS = torch.cat([token_ids(40)] * 4, 1)  # repeats itself, so that prompt lookup finds something
SHORT = token_ids(110, seed=5)
FOLLOW = token_ids(6, seed=1)
PADDING = torch.zeros(1, TOKENS - SHORT.shape[1], dtype=torch.long)
LEFT = torch.cat([torch.cat([PADDING, SHORT], 1), IDS])
RIGHT = torch.cat([torch.cat([SHORT, PADDING], 1), IDS])
GREEDY = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}

Results = list[Tensor]


@dataclass(frozen=True)
class Pattern:
    """One way of calling a model.

    Attributes:
        call: as the table shows it.
        run: makes the call; one result for each of `prompts`.
        truth: the same for one prompt, without a cache: on the stock model, or on the dense oracle.
        prompts: the prompts, each [1, n], without padding.
        refused: what the refusal of a pruned model says, "" where it works.
        refused_unpruned: the same where nothing is pruned.
    """

    call: str
    run: Callable[[Any], Results]
    truth: Callable[[Any, Tensor], Tensor] | None = None
    prompts: tuple[Tensor, ...] = (IDS,)
    refused: str = ""
    refused_unpruned: str = ""


def logits(ids: Tensor = IDS, **given: Any) -> Callable[[Any], Results]:
    return lambda model: list(model(ids, **given).logits)


def last(model: Any, ids: Tensor) -> Tensor:
    return every(model, ids)[-1:]


def every(model: Any, ids: Tensor) -> Tensor:
    found: Tensor = model(ids, use_cache=False).logits[0]
    return found


def after(model: Any, ids: Tensor) -> Tensor:
    """Logits of the tokens of FOLLOW after the prompt."""
    return every(model, torch.cat([ids, FOLLOW], 1))[ids.shape[1] :]


def generate(ids: Tensor = IDS, **given: Any) -> Callable[[Any], Results]:
    def run(model: Any) -> Results:
        torch.manual_seed(3)
        with torch.no_grad():
            return list(model.generate(ids, **(GREEDY | given))[:, ids.shape[1] :])

    return run


def generated(**given: Any) -> Callable[[Any, Tensor], Tensor]:
    def truth(model: Any, ids: Tensor) -> Tensor:
        torch.manual_seed(3)
        with torch.no_grad():
            out: Tensor = model.generate(ids, **(GREEDY | given), use_cache=False)[:, ids.shape[1] :]
        return out.flatten()

    return truth


def one_by_one(model: Any) -> Results:
    cache = DynamicCache()
    model(IDS, past_key_values=cache, logits_to_keep=1)
    return [torch.cat([model(token, past_key_values=cache).logits[0] for token in FOLLOW.split(1, 1)])]


def together(model: Any) -> Results:
    cache = DynamicCache(config=model.config)
    model(IDS, past_key_values=cache, logits_to_keep=1)
    return [model(FOLLOW, past_key_values=cache).logits[0]]


def from_copies(model: Any) -> Results:
    prefix = DynamicCache()
    model(IDS, past_key_values=prefix, logits_to_keep=1)
    model(token_ids(9, seed=7), past_key_values=copy.deepcopy(prefix))
    return [model(FOLLOW, past_key_values=copy.deepcopy(prefix)).logits[0]]


def cropped(model: Any) -> Results:
    cache = DynamicCache()
    model(IDS, past_key_values=cache, logits_to_keep=1)
    model(token_ids(9, seed=7), past_key_values=cache)
    model(token_ids(1, seed=8), past_key_values=cache)
    cache.crop(-10)
    return [model(FOLLOW, past_key_values=cache).logits[0]]


def chat(model: Any) -> Results:
    cache = DynamicCache()
    with torch.no_grad():
        first = model.generate(IDS, past_key_values=cache, **GREEDY)
        turns = torch.cat([first, FOLLOW], 1)
        return list(model.generate(turns, past_key_values=cache, **GREEDY)[:, TOKENS:])


def chat_truth(model: Any, ids: Tensor) -> Tensor:
    with torch.no_grad():
        first = model.generate(ids, **GREEDY, use_cache=False)
        turns = torch.cat([first, FOLLOW], 1)
        out: Tensor = model.generate(turns, **GREEDY, use_cache=False)[0, ids.shape[1] :]
    return out


def gradient(model: Any, **given: Any) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad():
        model.zero_grad()
        ids = IDS.clone()
        model(ids, labels=ids, **given).loss.backward()
        grad: Tensor = model.get_decoder().layers[0].self_attn.v_proj.weight.grad.clone()
    return grad


def with_config(name: str) -> Callable[[Any], Results]:
    def run(model: Any) -> Results:
        setattr(model.config, name, True)
        return list(model(IDS).logits)

    return run


def checkpointed(model: Any) -> Results:
    model.gradient_checkpointing_enable()
    model.train()
    return list(model(IDS).logits)


def outside_cache(model: Any) -> Results:
    cache = DynamicCache()
    cache.update(torch.zeros(1, 2, 3, 8), torch.zeros(1, 2, 3, 8), 0)
    return list(model(IDS, past_key_values=cache).logits)


def embedded(model: Any) -> Results:
    return list(model(inputs_embeds=model.get_input_embeddings()(IDS)).logits)


def mask_of(batch: Tensor) -> Tensor:
    return (batch != 0).long()


def padded(batch: Tensor) -> Callable[[Any], Results]:
    def run(model: Any) -> Results:
        mask = mask_of(batch)
        found = model(batch, attention_mask=mask).logits
        return [row[keep.bool()] for row, keep in zip(found, mask, strict=True)]

    return run


HIDDEN, CACHE, MASK, POSITIONS = "ask for them outside slim", "leave cache_implementation out", "does not fit", "leave"
CHUNKS, ELSEWHERE = "would make the first chunk the prompt", "in a thread of its own"

PATTERNS = (
    Pattern("`model(ids)`", logits(), every),
    Pattern("`model(ids, logits_to_keep=1)`", logits(logits_to_keep=1), last),
    Pattern(
        "`model(ids, logits_to_keep=5)`: the prompt ends where the first is predicted",
        logits(logits_to_keep=5),
        lambda model, prompt: every(model, IDS)[-5:],
        (IDS[:, :-4],),
    ),
    Pattern(
        "`model(ids, logits_to_keep=tensor([3, 70, 159]))`",
        logits(logits_to_keep=torch.tensor([3, 70, 159])),
        lambda model, ids: every(model, ids)[[3, 70, 159]],
    ),
    Pattern(
        "`model(ids, labels=ids).loss`",
        lambda model: [model(IDS, labels=IDS).loss],
        lambda model, ids: model(ids, labels=ids, use_cache=False).loss,
    ),
    Pattern(
        "`model(ids, labels=ids).loss.backward()`",
        lambda model: [gradient(model)],
        lambda model, ids: gradient(model, use_cache=False),
    ),
    Pattern("`model(ids, use_cache=False)`", logits(use_cache=False), every),
    Pattern("`model(ids, return_dict=False)`", lambda model: list(model(IDS, return_dict=False)[0]), every),
    Pattern("`model(inputs_embeds=...)`", embedded, every),
    Pattern("`model(ids, position_ids=0, 1, 2, ...)`", logits(position_ids=torch.arange(TOKENS)[None]), every),
    Pattern(
        "`model(ids, position_ids=...)`, any others",
        logits(position_ids=torch.arange(TOKENS)[None] + 5),
        refused="leave them out",
        refused_unpruned="leave them out",
    ),
    Pattern(
        "`model.get_decoder()(ids)`",
        lambda model: list(model.lm_head(model.get_decoder()(IDS).last_hidden_state)),
        every,
    ),
    Pattern("`model(batch, attention_mask=...)`, padded at the left", padded(LEFT), every, (SHORT, IDS)),
    Pattern("`model(batch, attention_mask=...)`, padded at the right", padded(RIGHT), every, (SHORT, IDS)),
    Pattern("`model(batch)` without a mask", logits(IDS.repeat(2, 1)), every, (IDS, IDS), "need an attention_mask"),
    Pattern(
        "a mask with holes",
        logits(attention_mask=torch.ones(1, TOKENS).index_fill(1, torch.tensor([7]), 0)),
        refused="padding between its tokens",
        refused_unpruned="padding between its tokens",
    ),
    Pattern(
        "a mask of four dimensions, or several in a dict",
        logits(attention_mask=torch.ones(1, 1, TOKENS, TOKENS, dtype=torch.bool).tril()),
        refused=MASK,
        refused_unpruned=MASK,
    ),
    Pattern(
        "`model(ids[:, :0])`",
        logits(IDS[:, :0]),
        refused="The prompt is empty",
        refused_unpruned="The prompt is empty",
    ),
    Pattern(
        "`output_hidden_states=True`, `output_attentions=True`",
        logits(output_hidden_states=True),
        refused=HIDDEN,
        refused_unpruned=HIDDEN,
    ),
    Pattern(
        "the same in `model.config`",
        with_config("output_hidden_states"),
        refused=HIDDEN,
        refused_unpruned=HIDDEN,
    ),
    Pattern(
        "gradient checkpointing in train mode",
        checkpointed,
        refused="gradient_checkpointing_disable",
        refused_unpruned="gradient_checkpointing_disable",
    ),
    Pattern("`model(token, past_key_values=cache)`, token by token", one_by_one, after),
    Pattern("`model(tokens, past_key_values=cache)`, several at once", together, after),
    Pattern("`copy.deepcopy(cache)`, a prefix used again", from_copies, after),
    Pattern("`cache.crop(-n)`", cropped, after),
    Pattern(
        "a cache that was filled outside the block",
        outside_cache,
        refused="start from an empty cache",
        refused_unpruned="start from an empty cache",
    ),
    Pattern(
        "`StaticCache`, `QuantizedCache`, offloading",
        lambda model: list(model(IDS, past_key_values=StaticCache(config=model.config, max_cache_len=200)).logits),
        refused=CACHE,
        refused_unpruned=CACHE,
    ),
    Pattern("`generate(ids)`, greedy", generate(), generated()),
    Pattern("`generate(ids, do_sample=True)`", generate(do_sample=True), generated(do_sample=True)),
    Pattern(
        "`generate(ids, do_sample=True, num_return_sequences=3)`",
        lambda model: [torch.cat(generate(do_sample=True, num_return_sequences=3)(model))],
        generated(do_sample=True, num_return_sequences=3),
    ),
    Pattern("`generate(ids, num_beams=3)`", generate(num_beams=3), generated(num_beams=3)),
    Pattern(
        "`generate(ids, repetition_penalty=1.3)` and other processors of logits",
        generate(repetition_penalty=1.3),
        generated(repetition_penalty=1.3),
    ),
    Pattern("`generate(ids, prompt_lookup_num_tokens=3)`", generate(prompt_lookup_num_tokens=3), generated()),
    Pattern(
        "`generate(ids, assistant_model=...)`",
        lambda model: generate(assistant_model=tiny_model(layers=2, seed=1))(model),
        generated(),
    ),
    Pattern("`generate(ids, assistant_early_exit=3)`", generate(assistant_early_exit=3), generated()),
    Pattern(
        "`generate(batch, attention_mask=...)`, padded at the left",
        generate(LEFT, attention_mask=mask_of(LEFT)),
        generated(),
        (SHORT, IDS),
    ),
    Pattern("`generate(turns, past_key_values=cache)`, a chat that goes on", chat, chat_truth),
    Pattern(
        "`generate(ids, use_cache=False)`",
        generate(use_cache=False),
        generated(),
        refused="a new prompt to prune at every step",
    ),
    Pattern(
        "`generate(ids, cache_implementation=\"static\")`, `\"offloaded\"`",
        generate(cache_implementation="static"),
        refused=CACHE,
        refused_unpruned=CACHE,
    ),
    Pattern(
        "`generate(ids, prefill_chunk_size=64)`",
        generate(prefill_chunk_size=64),
        refused=CHUNKS,
        refused_unpruned=CHUNKS,
    ),
    Pattern(
        "`generate(ids, output_hidden_states=True, return_dict_in_generate=True)`",
        generate(output_hidden_states=True, return_dict_in_generate=True),
        refused=HIDDEN,
        refused_unpruned=HIDDEN,
    ),
    Pattern(
        "`generate_batch([...])`",
        lambda model: model.generate_batch([IDS[0].tolist()]),
        refused=ELSEWHERE,
        refused_unpruned=ELSEWHERE,
    ),
)


def table() -> str:
    """The patterns as a Markdown table."""
    lines = ["| call | nothing pruned | pruned |", "|---|---|---|"]
    for each in PATTERNS:
        stock = "same as stock" if not each.refused_unpruned else f"refused: \"{each.refused_unpruned}\""
        pruned = "pruned, equal to the oracle" if not each.refused else f"refused: \"{each.refused}\""
        lines.append(f"| {each.call} | {stock} | {pruned} |")
    return "\n".join(lines) + "\n"
