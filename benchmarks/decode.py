"""Decode speed at equal cache length, and what Python takes of it: `python -m benchmarks.decode`, `--json FILE`.

Tokens per second of stock, full and pruned behind the same prompt. The overhead is the time of a step of a model
of the same depth whose matrices are so small that they take none: calls of operators, the loop, the cache and
the events.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from sliminfer.commands.options import write_json
from sliminfer.engine.engine import SlimEngine
from sliminfer.evaluate.bench import NoText, bench, random_model, random_prompt, time_ours, time_stock
from sliminfer.evaluate.provenance import provenance
from sliminfer.model.loading import LoadedModel, wrap_model
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET

OVERHEAD_PROMPT, OVERHEAD_TOKENS, OVERHEAD_ROUNDS = 128, 65, 5


def narrow(layers: int) -> LoadedModel:
    """A random model of `layers` layers, 32 wide."""
    config = Qwen2Config(
        vocab_size=256,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    torch.manual_seed(0)
    return wrap_model("narrow", Qwen2ForCausalLM(config).eval(), NoText(), torch.device("cpu"), "sdpa")


def overheads(layers: int) -> dict[str, float]:
    """Seconds of one decode step without matrices to speak of: the least over the rounds, stock and ours."""
    loaded = narrow(layers)
    engine, prompt = SlimEngine(loaded), random_prompt(loaded, OVERHEAD_PROMPT)
    best: dict[str, float] = {}
    for _ in range(OVERHEAD_ROUNDS + 1):
        hf = time_stock(loaded, prompt, OVERHEAD_TOKENS)
        full = time_ours(engine, prompt, None, OVERHEAD_TOKENS, "auto")
        for name, (first, total, *_) in (("hf", hf), ("full", full)):
            step = (total - first) / (OVERHEAD_TOKENS - 1)
            best[name] = min(best.get(name, step), step)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="qwen2.5-0.5b")
    parser.add_argument("--tokens", type=int, default=2048, help="prompt length")
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="save the figures here")
    chosen = parser.parse_args()
    loaded = random_model(chosen.shape)
    config = SlimConfig.preset(DEFAULT_PRESET, loaded.layers, loaded.name)
    found = bench(
        loaded, chosen.shape, chosen.tokens, {"pruned": config}, chosen.rounds, chosen.new_tokens, against_hf=True
    )
    rows: list[dict[str, Any]] = [
        {"variant": row.variant, "tokens": row.tokens, "decode_tokens_per_s": row.decode_tokens_per_s} for row in found
    ]
    for row in rows:
        print(f"{row['variant']:<8}{row['decode_tokens_per_s']:8.1f} tokens/s behind {row['tokens']:,} tokens")
    steps = overheads(loaded.layers)
    for name, seconds in steps.items():
        print(f"{name:<8}{seconds * 1000:8.2f} ms of Python and operator calls a token, {loaded.layers} layers")
    if chosen.json:
        document = {"provenance": provenance(loaded), "shape": chosen.shape, "rows": rows, "overhead_s": steps}
        write_json(document, chosen.json)


if __name__ == "__main__":
    main()
