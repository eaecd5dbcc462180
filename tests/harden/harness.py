"""lm-evaluation-harness around a slimmed model: its answers are the stock model's unpruned, the dense oracle's pruned.

Run as `PYTHONPATH=runs/harness python -m tests.harden.harness` after
`pip install --no-deps --target runs/harness -r tests/harden/harness_requirements.txt`.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.slim import slim
from sliminfer.errors import SlimError
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.dense_oracle import dense, dense_logits
from tests.harden.verdict import summarise
from tests.tiny import tiny_model, tiny_tokenizer

PRUNED = SlimConfig(steps=(PruneStep(2, 0.5), PruneStep(4, 0.3)), block_size=8, local=10, query_window=4)
CONTEXT = ("The lamp of the north tower was lit at nine and the keeper wrote it down. " * 6).rstrip()
# The second is longer than all that is kept at the end of a prompt.
CONTINUATIONS = (" It was nine.", " The keeper of the lamp wrote down that it was lit at nine." * 3)
NEW = 8


def kept_of(model: Any, ids: Tensor, config: SlimConfig) -> list[Tensor]:
    cache = DynamicCache()
    with torch.inference_mode(), slim(model, config) as loop:
        model(ids, past_key_values=cache, logits_to_keep=1)
        return loop.kept_positions(cache)


def log_likelihood(model: Any, tokens: list[int], scored: int, config: SlimConfig) -> float:
    """Log-probability of the last `scored` of `tokens` by the dense oracle of what `config` keeps of the others."""
    ids = torch.tensor([tokens[:-1]])
    logits = dense_logits(model, ids, kept_of(model, ids, config), ids.shape[1])[-scored:]
    wanted = torch.tensor(tokens[-scored:])
    return float(logits.double().log_softmax(-1).gather(1, wanted[:, None]).sum())


def answer(model: Any, ids: Tensor, config: SlimConfig) -> list[int]:
    with torch.inference_mode(), dense(model, kept_of(model, ids, config), ids.shape[1]):
        out = model.generate(ids, max_new_tokens=NEW, do_sample=False, use_cache=False, pad_token_id=0)
    tokens: list[int] = out[0, ids.shape[1] :].tolist()
    return tokens


def main() -> int:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    faults: list[str] = []
    checked = 0
    tokenizer = copy.deepcopy(tiny_tokenizer())
    for name, config in (("unpruned", SlimConfig()), ("pruned", PRUNED)):
        model = tiny_model()
        model.generation_config.eos_token_id = None
        harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)

        def ask(kind: str, arguments: list[tuple[Any, ...]], harness: Any = harness) -> list[Any]:
            call: Callable[..., list[Any]] = getattr(harness, kind)
            return call([Instance(kind, {}, given, index) for index, given in enumerate(arguments)], disable_tqdm=True)

        def encode(text: str, harness: Any = harness) -> list[int]:
            tokens: list[int] = harness.tok_encode(text)
            return tokens

        with slim(model, config):
            scored = ask("loglikelihood", [(CONTEXT, continuation) for continuation in CONTINUATIONS])
            rolled = ask("loglikelihood_rolling", [(CONTEXT,)])
            written = ask("generate_until", [(CONTEXT, {"until": ["\x00"], "max_gen_toks": NEW})])
            if config.steps:
                wide = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2)
                try:
                    ask("loglikelihood", [(CONTEXT, continuation) for continuation in CONTINUATIONS], wide)
                except SlimError as refusal:
                    checked += 1
                    if "attention_mask" not in str(refusal):
                        faults.append(f"{name} batch of two: {refusal}")
                else:
                    faults.append(f"{name} batch of two: padding was taken for the prompt")
        pairs = [(found[0], (CONTEXT, continuation)) for found, continuation in zip(scored, CONTINUATIONS, strict=True)]
        for found, (context, continuation) in pairs:
            whole = encode(context + continuation)
            expected = log_likelihood(model, whole, len(whole) - len(encode(context)), config)
            checked += 1
            if abs(found - expected) > 1e-3:
                faults.append(f"{name} loglikelihood of {continuation[:20]!r}: {found} and not {expected}")
        tokens = encode(CONTEXT)
        expected = log_likelihood(model, [harness.prefix_token_id, *tokens], len(tokens), config)
        found = rolled[0] if isinstance(rolled[0], float) else rolled[0][0]
        text = tokenizer.decode(answer(model, torch.tensor([tokens]), config), skip_special_tokens=True)
        checked += 2
        if abs(found - expected) > 1e-3:
            faults.append(f"{name} rolling: {found} and not {expected}")
        if written[0] != text:
            faults.append(f"{name} generate_until: {written[0]!r} and not {text!r}")
    return summarise("harness", {"checked": checked}, faults)


if __name__ == "__main__":
    sys.exit(main())
