"""Synthetic runs in the engine's own event types: realistic enough to draw, small enough to build at once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np

from sliminfer.cache.planner import Residency
from sliminfer.cache.timeline import StageTimeline, Timeline
from sliminfer.engine.events import (
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
from sliminfer.engine.metrics import Comparison, KeptAtLayer, KVBytes, RunMetrics
from sliminfer.engine.result import RunResult
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import BlockMap, to_ranges
from sliminfer.schedule.config import SlimConfig

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


def run_of(prompt: Prompt, config: SlimConfig, layers: int, evidence: Sequence[int] = ()) -> RunResult:
    """The finished run."""
    run = RunResult()
    for event in events_of(prompt, config, layers, evidence):
        run = run.after(event)
    return run


def timeline_of(blocks: int = 96, steps: int = 120, seed: int = 0) -> Timeline:
    """A preserve stage that stays, and two stages whose working set drifts every eighth step."""
    rng = np.random.default_rng(seed)
    stages, moved = [], np.zeros(steps + 1, np.int64)
    for index, (first, count) in enumerate(((0, blocks), (4, blocks // 2), (8, blocks // 4))):
        states = np.full((count, steps + 1), Residency.DEVICE, np.uint8)
        overlap = np.full(steps + 1, np.nan)
        if index:
            held = set(range(0, count, 2))
            states[:] = Residency.HOST
            states[sorted(held)] = Residency.DEVICE
            for step in range(8, steps + 1, 8):
                out, new = rng.choice(sorted(held)), rng.choice(sorted(set(range(count)) - held))
                overlap[step] = 1 - 1 / len(held)
                held = held - {out} | {new}
                states[out, step:] = Residency.HOST
                states[new, step:] = Residency.DEVICE
                states[new, step] = Residency.LOADING
                moved[step] += 65536
        extents = tuple((32 * block, 32 * block + 32) for block in range(count))
        stages.append(StageTimeline(index, first, first + 4, extents, (0,), states, overlap, ""))
    growth = 12288 * np.arange(steps + 1, dtype=np.int64)
    resident = sum(int((stage.states[:, 0] != Residency.HOST).sum()) for stage in stages)
    return Timeline(
        stages=tuple(stages),
        device_bytes=65536 * resident + growth,
        host_bytes=np.full(steps + 1, 65536 * (blocks // 2 + blocks // 4), np.int64),
        full_bytes=65536 * 3 * blocks + growth,
        moved_bytes=moved,
        step_s=np.full(steps + 1, 0.02),
        transfer_s=np.where(moved > 0, 0.004, 0.0),
        stall_s=np.where(moved > 0, 0.0002, 0.0),
        simulated=True,
    )


def diffusion_of(layers: int = 12, tokens: int = 2048, bins: int = 128) -> SimpleNamespace:
    """Curves with the shape the paper describes: early layers need the span, late ones do not."""
    depth = np.arange(layers) / (layers - 1)
    full, gone = -1.2, -9.5
    own = full + (gone - full) / (1 + np.exp(12 * (depth - 0.35)))
    rng = np.random.default_rng(1)
    spread = np.exp(-(((np.arange(bins) / bins - 0.5)[None, :] / (0.02 + 0.2 * depth[:, None])) ** 2))
    return SimpleNamespace(
        tokens=tokens,
        span=(tokens // 2 - 12, tokens // 2 + 12),
        layers=np.arange(layers),
        attention_share=0.4 * np.exp(-(((depth - 0.4) / 0.2) ** 2)) + 0.01,
        removed_layers=np.arange(1, layers),
        removed_logprob=own[1:],
        random_median=np.full(layers - 1, full - 0.1),
        random_low=np.full(layers - 1, full - 0.4),
        random_high=np.full(layers - 1, full + 0.05),
        input_removed_logprob=gone,
        full_logprob=full,
        similarity=(spread * rng.uniform(0.6, 1, spread.shape) - 0.05).astype(np.float32),
    )
