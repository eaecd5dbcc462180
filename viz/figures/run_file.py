"""A run that was saved as JSON, read back as the `RunResult` it was, so that every figure draws both alike.

It is the other way of `export.run_json`. What a file does not hold is left out: the text of the prompt, the scores of
its blocks, what the cache told, and in files of `sliminfer run` before pieces and times of tokens were written, those.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np

from sliminfer.engine.events import BlocksPruned, Finished, Side
from sliminfer.engine.metrics import Comparison, KeptAtLayer, KVBytes, RunMetrics
from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.errors import ConfigError
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.fields import LONGEST_TEXT, Fields, FileError

MOST_TOKENS = 4_000_000  # of a prompt
MOST_LAYERS = 1_024
MOST_CELLS = 2**23  # of the map of kept tokens: positions times stages, each five bytes in memory
MOST_NEW = 100_000  # tokens of an answer
MOST_PAIRS = 1_000
LONGEST_S = 1e9  # seconds
_LONGEST_FAULT = 200  # characters of what is wrong with a config


@dataclass(frozen=True)
class RunFile:
    """A saved run of both sides.

    Attributes:
        model: what ran.
        question, document: what was asked, and the name of what it was asked about; empty where the file does not say.
        date: when it ended; None where the file does not say.
        evidence: token ranges of the prompt that hold the answer.
    """

    run: RunResult
    config: SlimConfig
    model: str
    question: str = ""
    document: str = ""
    date: datetime | None = None
    evidence: tuple[Span, ...] = ()

    @classmethod
    def read(cls, data: Fields) -> RunFile:
        """The run in `data`. Raises FileError."""
        config = _config(data)
        tokens = data.whole("prompt_tokens", 1, MOST_TOKENS)
        prompt = Prompt((0,) * tokens, "", ((0, 0),) * tokens, (0, 0), _question(data, tokens))
        run = RunResult(
            _side(data, "full", prompt, config), _side(data, "pruned", prompt, config), _comparison(data),
            _again(data), data.flag("raced"),
        )  # fmt: skip
        asked = data.object("asked") if data.has("asked") else Fields({}, "asked")
        return cls(
            run, config, data.text("model"), asked.text("question", LONGEST_TEXT), asked.text("document"),
            _date(asked), asked.spans("evidence", tokens),
        )  # fmt: skip


def _config(data: Fields) -> SlimConfig:
    try:
        return SlimConfig.from_dict(data.object("config").data)
    except ConfigError as error:
        fault = str(error)[:_LONGEST_FAULT].rstrip(".")
        raise FileError(f"The file's config cannot be run ({fault}): give it as it was saved.") from error


def _question(data: Fields, tokens: int) -> Span:
    """The tokens that ask; none where the file does not say."""
    if not data.has("question_tokens"):
        return 0, 0
    span = data.wholes("question_tokens", 2, 0, tokens)
    if len(span) != 2 or span[0] > span[1]:
        raise data.wrong("question_tokens", "is no range of the prompt")
    return span[0], span[1]


def _date(asked: Fields) -> datetime | None:
    said = asked.text("date")
    try:
        return datetime.fromisoformat(said) if said else None
    except ValueError as error:
        raise asked.wrong("date", "is no moment in ISO 8601") from error


def _comparison(data: Fields) -> Comparison:
    speedup, fidelity = data.object("speedup"), data.object("fidelity")
    least = 1e-9
    return Comparison(
        ttft=speedup.number("ttft", least),
        ttft_flops=speedup.number("ttft_flops", least),
        efficiency=speedup.number("efficiency", least),
        kv_bytes=speedup.number("kv_bytes", least),
        first_token_kl=fidelity.known("first_token_kl"),
        agreement=fidelity.number("agreement", 0, 1),
    )


def _again(data: Fields) -> tuple[tuple[float, float], ...]:
    """The pairs of prefills behind the first, which is that of the run itself."""
    if not data.has("timing"):
        return ()
    rows = data.object("timing").items("pairs", MOST_PAIRS)
    pairs = [Fields({"pair": row}, "timing").numbers("pair", 2, 1e-9, LONGEST_S) for row in rows[1:]]
    if any(len(pair) != 2 for pair in pairs):
        raise data.wrong("timing", "holds something that is no pair")
    return tuple((full, pruned) for full, pruned in pairs)


def _side(data: Fields, side: Side, prompt: Prompt, config: SlimConfig) -> SideResult:
    if not data.has(side) or "ttft_s" not in data.object(side).data:
        raise FileError(f"The file holds no finished run of the {side} model: save a run that came to its end.")
    told = data.object(side)
    metrics = _metrics(told, side, prompt, config, (data.text("device"), data.text("dtype")))
    pieces = told.texts("pieces", MOST_NEW)
    if len(pieces) != len(metrics.token_at):
        raise told.wrong("pieces", "and token_at are not of one length")
    reason = told.text("reason")
    if reason not in ("eos", "length"):
        raise told.wrong("reason", "is neither eos nor length")
    return SideResult(
        side=side,
        prompt=prompt,
        layers=len(metrics.tokens_per_layer),
        layers_done=len(metrics.tokens_per_layer),
        alive=metrics.tokens_per_layer,
        tokenize_s=metrics.tokenize_s,
        pruned=_steps(metrics.kept, len(prompt), config),
        pieces=pieces,
        piece_at=metrics.token_at,
        ended=Finished(side, 0.0, told.text("text", LONGEST_TEXT), "eos" if reason == "eos" else "length", metrics),
    )


def _metrics(told: Fields, side: Side, prompt: Prompt, config: SlimConfig, on: tuple[str, str]) -> RunMetrics:
    tokens = len(prompt)
    layers = told.wholes("tokens_per_layer", MOST_LAYERS, 1, tokens)
    if not layers:
        raise told.wrong("tokens_per_layer", "is empty")
    held, on_host = told.whole("kv_bytes"), told.whole("kv_host_bytes") if told.has("kv_host_bytes") else 0
    token_at = told.numbers("token_at", MOST_NEW, 0, LONGEST_S)
    if any(later < earlier for earlier, later in pairwise(token_at)):
        raise told.wrong("token_at", "goes back in time")
    reading = told.object("reading") if told.has("reading") else Fields({}, "reading")
    return RunMetrics(
        method=config.method if side == "pruned" else "full",
        prompt_tokens=tokens,
        new_tokens=told.whole("new_tokens", 0, MOST_NEW),
        ttft_s=told.number("ttft_s", 1e-9, LONGEST_S),
        tokenize_s=told.number("tokenize_s", 0, LONGEST_S),
        select_s=told.number("select_s", 0, LONGEST_S),
        decode_tokens_per_s=told.known("decode_tokens_per_s"),
        token_at=token_at,
        tokens_per_layer=layers,
        kept=tuple(_kept(each, tokens, len(layers)) for each in told.objects("kept", MOST_LAYERS)),
        kv=KVBytes((max(0, held - on_host),), (on_host,)),
        prompt_kv=KVBytes((told.whole("prompt_kv_bytes"),), (0,)),
        peak_bytes=told.whole("peak_bytes"),
        weights_bytes=told.whole("weights_bytes"),
        prefill_flops=told.number("prefill_flops"),
        device=on[0],
        dtype=on[1],
        attention=told.text("attention"),
        kernels=told.text("kernels"),
        warm=told.flag("warm"),
        read_tokens=told.whole("read_tokens") if told.has("read_tokens") else 0,
        reading_bytes=told.whole("reading_bytes") if told.has("reading_bytes") else 0,
        blocks_read=reading.numbers("blocks_read", MOST_LAYERS, 0, 1),
        dense_because=reading.text("dense_because", LONGEST_TEXT),
        decoding=told.text("decoding"),
        entropy_told=told.known("first_entropy"),
        outside_s=told.number("outside_s", 0, LONGEST_S) if told.has("outside_s") else 0.0,
        outside_flops=told.number("outside_flops") if told.has("outside_flops") else 0.0,
        note=told.text("note", LONGEST_TEXT),
    )


def _kept(told: Fields, tokens: int, layers: int) -> KeptAtLayer:
    ranges = told.spans("ranges", tokens)
    kept = sum(end - start for start, end in ranges)
    if not kept or told.whole("tokens") != kept:
        raise told.wrong("ranges", "are not those of its tokens")
    return KeptAtLayer(
        layer=told.whole("layer", 0, layers - 1),
        tokens=kept,
        ranges=ranges,
        scored_by=told.wholes("scored_by", MOST_LAYERS, 0, MOST_LAYERS),
        asked=told.whole("asked") if told.has("asked") else 0,
        forced=told.whole("forced") if told.has("forced") else 0,
    )


def _steps(kept: tuple[KeptAtLayer, ...], tokens: int, config: SlimConfig) -> tuple[BlocksPruned, ...]:
    """The prune steps as the engine told them, without the scores, which a file does not hold."""
    if any(after.layer <= before.layer for before, after in pairwise(kept)):
        raise FileError("The file is damaged (its prune steps do not rise): give it as it was saved.")
    if (len(kept) + 1) * tokens > MOST_CELLS:
        raise FileError(f"The file's {len(kept)} prune steps over {tokens:,} tokens are more than this page can draw.")
    before = [tokens, *(step.tokens for step in kept)]
    return tuple(
        BlocksPruned(
            "pruned", 0.0, step.layer, alive,
            kept=np.concatenate([np.arange(*span, dtype=np.int32) for span in step.ranges]),
            block_size=config.block_size, scores=None, threshold=float("nan"), forced=(),
        )
        for step, alive in zip(kept, before, strict=False)
    )  # fmt: skip
