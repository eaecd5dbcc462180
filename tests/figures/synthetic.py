"""Synthetic runs in the engine's own event types: realistic enough to draw, small enough to build at once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np

from sliminfer.blocks import BlockMap, to_ranges
from sliminfer.config import SlimConfig
from sliminfer.events import (
    BlocksPruned,
    Compared,
    Event,
    Finished,
    FirstToken,
    LayerDone,
    PromptReady,
    Side,
    Token,
)
from sliminfer.metrics import Comparison, KeptAtLayer, KVBytes, RunMetrics
from sliminfer.prompts import Prompt
from viz.figures.run import RunView

WORDS = (
    "the harbour ledger lists every crate of lamp oil rope and dried fish that came ashore before the storm "
    "while the keeper wrote down wind tide and the names of the boats that had not yet returned"
)
ANSWER = "The keeper hid the brass key under the third stone of the east stair ."


def prompt_of(document: str, question: str = "Where is the key?", head: str = "<user>\n") -> Prompt:
    """A prompt whose tokens are words with the space before them."""
    text = f"{head}{document}\nQuestion: {question}\nAnswer:"
    spans, start = [], 0
    for end in [i for i, c in enumerate(text) if c in " \n" and i] + [len(text)]:
        if end > start:
            spans.append((start, end))
        start = end
    where = len(head) + len(document)
    first = next(i for i, (_, end) in enumerate(spans) if end > where + 1)
    return Prompt(
        ids=tuple(range(len(spans))),
        text=text,
        spans=tuple(spans),
        document=(len(head), where),
        question=(first, len(spans)),
    )


def long_prompt(tokens: int, seed: int = 0) -> Prompt:
    """A prompt of exactly `tokens` tokens about a harbour."""
    draw = random.Random(seed)
    fixed = len(prompt_of("a"))
    words, choices = [], WORDS.split()
    while len(words) < tokens - fixed + 1:
        words.append(draw.choice(choices))
    lines = [" ".join(words[i : i + 40]) for i in range(0, len(words), 40)]
    return prompt_of("\n".join(lines))


def prune_events(prompt: Prompt, config: SlimConfig, evidence: Sequence[int] = (), seed: int = 0) -> list[BlocksPruned]:
    """Prune steps as the engine reports them: neighbouring blocks score alike, evidence scores high."""
    rng = np.random.default_rng(seed)
    tokens = len(prompt)
    blocks = BlockMap.of(tokens, config, prompt.question)
    noise = rng.normal(size=len(blocks) + 8)
    base = np.exp(np.convolve(noise, np.ones(9) / 3, "valid")[: len(blocks)])
    base[[position // config.block_size for position in evidence]] += base.max()
    alive = set(range(len(blocks)))
    out = []
    for step in config.steps:
        scores = np.full(len(blocks), np.nan, np.float32)
        ids = sorted(alive)
        scores[ids] = (base[ids] * rng.uniform(0.7, 1.3, len(ids)) / base.sum()).astype(np.float32)
        order = sorted(ids, key=lambda block: (block not in blocks.forced, -scores[block]))
        kept = sorted(order[: max(blocks.budget(step), len(blocks.forced))])
        by_score = [float(scores[block]) for block in kept if block not in blocks.forced]
        positions = [p for block in kept for p in range(*blocks.span(block))]
        out.append(
            BlocksPruned(
                side="pruned",
                at=0.05 * step.layer,
                layer=step.layer,
                alive_before=blocks.tokens_in(ids),
                kept=np.array(positions, np.int32),
                block_size=config.block_size,
                scores=scores,
                threshold=min(by_score, default=float("nan")),
                forced=blocks.forced,
            )
        )
        alive = set(kept)
    return out


def metrics_of(side: Side, prompt: Prompt, per_layer: Sequence[int], pruned: Sequence[BlocksPruned]) -> RunMetrics:
    """Figures that hang together: times and bytes follow the tokens each layer ran over."""
    tokens, work = len(prompt), sum(per_layer)
    rng = np.random.default_rng(len(pruned))
    select = 4e-6 * tokens * len(pruned)
    ttft = 2.2e-5 * work + select
    per_token = 0.02 + 3e-8 * work
    kv = tuple(n * 1024 for n in per_layer)
    grown = tuple(n + len(ANSWER.split()) * 1024 for n in kv)
    at = tuple(ttft + per_token * i for i in range(len(ANSWER.split())))
    return RunMetrics(
        method="sliminfer" if pruned else "full",
        prompt_tokens=tokens,
        new_tokens=len(ANSWER.split()),
        ttft_s=ttft,
        tokenize_s=1.2e-6 * tokens,
        select_s=select,
        decode_tokens_per_s=1 / per_token,
        token_at=at,
        tokens_per_layer=tuple(per_layer),
        kept=tuple(
            KeptAtLayer(step.layer, len(step.kept), tuple((a, b) for a, b in to_ranges(step.kept.tolist())))
            for step in pruned
        ),
        kv=KVBytes(grown, (0,) * len(kv)),
        prompt_kv=KVBytes(kv, (0,) * len(kv)),
        peak_bytes=sum(grown) + 9000 * tokens,
        weights_bytes=48 << 20,
        prefill_flops=2e6 * work,
        device="cpu",
        dtype="float32",
        attention="sdpa",
        kernels="torch",
        warm=True,
        token_ids=tuple(range(len(ANSWER.split()))),
        first_logits=rng.normal(size=64).astype(np.float32),
    )


def events_of(
    prompt: Prompt, config: SlimConfig, layers: int, evidence: Sequence[int] = (), seed: int = 0
) -> Iterator[Event]:
    """Both sides of a run, one after the other, and their comparison."""
    done: dict[Side, RunMetrics] = {}
    for side in ("full", "pruned"):
        steps = prune_events(prompt, config, evidence, seed) if side == "pruned" else []
        yield PromptReady(side, 0.0, prompt=prompt, tokenize_s=1.2e-6 * len(prompt), layers=layers)
        pending, alive, per_layer = {step.layer: step for step in steps}, len(prompt), []
        for layer in range(layers):
            if layer in pending:
                yield pending[layer]
                alive = len(pending[layer].kept)
            per_layer.append(alive)
            yield LayerDone(side, 0.01 * (layer + 1), layer=layer, layers=layers, alive=alive)
        metrics = done[side] = metrics_of(side, prompt, per_layer, steps)
        pieces = [word if not i else f" {word}" for i, word in enumerate(ANSWER.split())]
        yield FirstToken(side, metrics.token_at[0], token=0, text=pieces[0])
        for index, piece in enumerate(pieces[1:], start=1):
            yield Token(side, metrics.token_at[index], index=index, token=index, text=piece)
        yield Finished(side, metrics.token_at[-1], text="".join(pieces), reason="eos", metrics=metrics)
    comparison = Comparison.of(done["full"], done["pruned"])
    yield Compared("pruned", done["pruned"].token_at[-1], comparison=comparison)


def run_of(prompt: Prompt, config: SlimConfig, layers: int, evidence: Sequence[int] = ()) -> RunView:
    """The finished run."""
    run = RunView()
    for event in events_of(prompt, config, layers, evidence):
        run = run.after(event)
    return run
