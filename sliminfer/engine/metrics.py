"""The figures of a run, and how two runs compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class KVBytes:
    """Bytes of keys and values, per layer, on the device and on the host.

    Attributes:
        device: keys, values and unit representatives on the device.
        host: the survivors' copies on the host.
        spare: allocated on the device beyond that, for tokens to come or until a copy to the host is done;
            `total_device + spare` is the sum of the tensors held there.
    """

    device: tuple[int, ...]
    host: tuple[int, ...]
    spare: int = 0

    @property
    def total_device(self) -> int:
        return sum(self.device)

    @property
    def total_host(self) -> int:
        return sum(self.host)


@dataclass(frozen=True)
class KeptAtLayer:
    """The survivors entering `layer`, as half-open ranges of original positions, and the layers that chose them.

    Attributes:
        asked: tokens that the step's keep comes to, in whole blocks; 0 where no step of the config is at `layer`.
        forced: tokens that are always kept. They go on alone where they are more than what was asked for.
    """

    layer: int
    tokens: int
    ranges: tuple[tuple[int, int], ...]
    scored_by: tuple[int, ...] = ()
    asked: int = 0
    forced: int = 0

    @property
    def forced_alone(self) -> bool:
        """Whether more went on than was asked for, because that much is always kept."""
        return 0 < self.asked < self.tokens == self.forced

    def to_dict(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "tokens": self.tokens,
            "ranges": [list(r) for r in self.ranges],
            "scored_by": list(self.scored_by),
            "asked": self.asked,
            "forced": self.forced,
        }


@dataclass(frozen=True)
class RunMetrics:
    """All figures of one side. Times in seconds, memory in bytes.

    Attributes:
        ttft_s: from prompt ids ready on the device to the first token id on the host, synchronised.
        tokenize_s: template, tokenising and mapping, before the clock of `ttft_s`.
        select_s: scoring and pruning, part of `ttft_s`.
        decode_tokens_per_s: new tokens after the first over the time they took; NaN for a single token.
        token_at: when each new token was on the host, seconds since the prompt was ready.
        tokens_per_layer: prompt tokens each layer ran over.
        kv: bytes of the KV cache after the run (prompt and answer).
        prompt_kv: bytes of the KV cache after prefill.
        peak_bytes: most memory taken above the loaded model at any time of the run.
        weights_bytes: bytes of the model's parameters.
        prefill_flops: FLOPs of the prefill by `prefill_flops`, with `outside_flops`.
        outside_s, outside_flops: seconds and FLOPs of scores from outside the model, part of `ttft_s` and
            `prefill_flops`; a draft's weights are in `peak_bytes`.
        note: why the method was left out, in a sentence; else empty.
        warm: whether the engine had run on this model and side before.
        read_tokens: prompt tokens that a reading gave, which this run did not read.
        reading_bytes: bytes of that reading.
        blocks_read: the share of its causal blocks that each layer attended to, where some layer read sparsely; empty
            where none did.
        dense_because: why sparse reading was off where it was asked for; empty where it ran.
        entropy_told: `first_entropy` of a run that was read from a file, which holds no logits; NaN elsewhere.
        decoding: how the tokens after the first were decoded: "graph", or "eager" and why where a GPU could have done
            better; empty for a single token.
    """

    method: str
    prompt_tokens: int
    new_tokens: int
    ttft_s: float
    tokenize_s: float
    select_s: float
    decode_tokens_per_s: float
    token_at: tuple[float, ...]
    tokens_per_layer: tuple[int, ...]
    kept: tuple[KeptAtLayer, ...]
    kv: KVBytes
    prompt_kv: KVBytes
    peak_bytes: int
    weights_bytes: int
    prefill_flops: float
    device: str
    dtype: str
    attention: str
    kernels: str
    warm: bool
    read_tokens: int = 0
    reading_bytes: int = 0
    token_ids: tuple[int, ...] = ()
    blocks_read: tuple[float, ...] = ()
    dense_because: str = ""
    decoding: str = ""
    first_logits: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    entropy_told: float = math.nan
    outside_s: float = 0.0
    outside_flops: float = 0.0
    note: str = ""

    @property
    def beyond_budget(self) -> str:
        """A sentence where steps kept more than was asked for, because that much is always kept; "" elsewhere."""
        steps = [step for step in self.kept if step.forced_alone]
        if not steps:
            return ""
        layers = ", ".join(str(step.layer) for step in steps)
        asked = min(step.asked for step in steps)
        return (
            f"What is always kept ({steps[-1].forced:,} tokens: the question, the last tokens and the first) is more "
            f"than the {asked:,} that were asked for, and goes on alone from layer {layers}."
        )

    @property
    def first_entropy(self) -> float:
        """How undecided the model was about its first token: entropy of the distribution in nats, NaN if unknown."""
        if self.first_logits is None:
            return self.entropy_told
        log_p = _log_softmax(self.first_logits.astype(np.float64))
        p = np.exp(log_p)
        with np.errstate(invalid="ignore"):
            return max(0.0, -float(np.sum(np.where(p > 0, p * log_p, 0.0))))


@dataclass(frozen=True)
class Comparison:
    """Full against pruned. Ratios are full over pruned, so above 1 means pruning saves.

    Attributes:
        ttft: TTFT ratio.
        ttft_flops: FLOP ratio of the prefills, what the arithmetic alone promises.
        efficiency: `ttft / ttft_flops`.
        kv_bytes: ratio of the prompt's KV bytes on the device.
        first_token_kl: KL(full || pruned) of the first token's distribution, in nats.
        agreement: share of the full answer's tokens that the pruned answer has at the same place.
    """

    ttft: float
    ttft_flops: float
    efficiency: float
    kv_bytes: float
    first_token_kl: float
    agreement: float

    @classmethod
    def of(cls, full: RunMetrics, pruned: RunMetrics) -> Comparison:
        ttft = ratio(full.ttft_s, pruned.ttft_s)
        flops = ratio(full.prefill_flops, pruned.prefill_flops)
        return cls(
            ttft=ttft,
            ttft_flops=flops,
            efficiency=ratio(ttft, flops),
            kv_bytes=ratio(full.prompt_kv.total_device, pruned.prompt_kv.total_device),
            first_token_kl=kl_divergence(full.first_logits, pruned.first_logits),
            agreement=agreement(full.token_ids, pruned.token_ids),
        )


def ratio(numerator: float, denominator: float) -> float:
    """`numerator / denominator`, NaN where the denominator is zero."""
    return numerator / denominator if denominator else math.nan


def agreement(full: Sequence[int], pruned: Sequence[int]) -> float:
    """Share of the tokens of `full` that `pruned` has at the same index; 1.0 for two empty answers."""
    if not full:
        return float(not pruned)
    return sum(a == b for a, b in zip(full, pruned, strict=False)) / max(len(full), len(pruned))


def kl_divergence(full: NDArray[np.float32] | None, pruned: NDArray[np.float32] | None) -> float:
    """KL(full || pruned) in nats of the softmax of two logit vectors [vocabulary], in float64."""
    if full is None or pruned is None:
        return math.nan
    log_p, log_q = (_log_softmax(logits.astype(np.float64)) for logits in (full, pruned))
    p = np.exp(log_p)
    with np.errstate(invalid="ignore"):
        return max(0.0, float(np.sum(np.where(p > 0, p * (log_p - log_q), 0.0))))


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))










