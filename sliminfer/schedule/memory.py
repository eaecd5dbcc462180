"""What a run takes in memory, worked out before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from sliminfer.errors import MemoryLimitError
from sliminfer.schedule.flops import kv_bytes
from sliminfer.schedule.shapes import ModelShape

# Most tokens that the MLP takes at once, by what multiplies: so its three wide intermediates never cover a longer
# prompt. At width 896 to 4,864 a Zen 5 core runs 408 GFLOP/s in slices of 1,024 tokens, 400 of 2,048 and 409 of 4,096.
# With AMX 2,048 tokens of that MLP take 34 ms in slices of 512, 46 of 1,024 and 36 of 2,048 on two cores; at 384 to
# 1,024 it is 5.6, 4.3 and 3.3, at 2,048 to 8,192 132, 124 and 117.
MLP_SLICES = {"cpu": 1024, "amx": 2048, "cuda": 8192}

# A mask of a window while it is made: two of booleans, and what torch's kernels make of it in the states' type.
_MASK_BYTES = 4

# What the allocator rounds up and the libraries' workspaces take, as a share of what a run adds to the weights.
SLACK = 0.15


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a full run will need.

    Attributes:
        weights: the model's parameters.
        kv: keys and values of every layer.
        activations: the hidden states twice, one layer's queries, keys and values, and the MLP's three intermediates
            of one slice; of all tokens where layers run by their own forward, with two copies of the states in fp32
            for a norm, the heads twice for rotation, and each active expert's states.
        scores: with eager attention one layer's scores in fp32 and their softmax; the mask of layers with a window.
        slack: what the allocator and the libraries take on top of these tensors.
    """

    weights: int
    kv: int
    activations: int
    scores: int
    slack: int

    @property
    def above_weights(self) -> int:
        """What the run takes on top of a model that is loaded."""
        return self.kv + self.activations + self.scores + self.slack

    @property
    def total(self) -> int:
        return self.weights + self.above_weights


def memory_estimate(
    shape: ModelShape, tokens: int, bytes_per_value: int = 2, attention: str = "sdpa"
) -> MemoryEstimate:
    """What the full model takes for `tokens` tokens of prompt and answer, batch 1.

    Args:
        bytes_per_value: of weights, keys, values and activations alike.
        attention: the backend, by transformers' name; "eager" alone holds the scores.
    """
    states = 2 * shape.hidden + 2 * shape.query_width + 2 * shape.kv_width
    if shape.fused:
        wide = 3 * shape.intermediate * min(tokens, max(MLP_SLICES.values()))
    else:
        wide = tokens * (3 * (shape.intermediate * shape.active_experts + shape.shared))
        if shape.experts:
            wide += tokens * 2 * shape.hidden * shape.active_experts
        states += 2 * shape.hidden * 4 // bytes_per_value + 2 * (shape.query_width + shape.kv_width)
    kv = kv_bytes(shape, (tokens,) * shape.layers, bytes_per_value)
    activations = bytes_per_value * (states * tokens + wide)
    scores = 2 * 4 * shape.heads * tokens * tokens if attention == "eager" else 0
    if shape.windowed and "flash" not in attention:
        scores += _MASK_BYTES * tokens * tokens
    return MemoryEstimate(
        weights=bytes_per_value * shape.params,
        kv=kv,
        activations=activations,
        scores=scores,
        slack=int(SLACK * (kv + activations + scores)),
    )


def quantised_bytes(shape: ModelShape, bits: float, bytes_per_value: int = 2) -> int:
    """Bytes of the weights where those of the layers take `bits` each, and embeddings and head `bytes_per_value`."""
    outside = shape.vocab * shape.hidden * (1 if shape.tied else 2)
    return int(outside * bytes_per_value + (shape.params - outside) * bits / 8)


def check_memory(shape: ModelShape, tokens: int, bytes_per_value: int, attention: str, free: int, where: str) -> None:
    """Raise MemoryLimitError where `tokens` tokens do not fit into `free` bytes beside the loaded model on `where`."""
    need = memory_estimate(shape, tokens, bytes_per_value, attention).above_weights
    if need <= free:
        return
    most = longest_prompt(shape, bytes_per_value, attention, free)
    remedy = f"shorten the document to about {most:,} tokens" if most else "try again later"
    raise MemoryLimitError(
        f"{tokens:,} tokens need {need / 1e9:.2f} GB on top of the model, and {free / 1e9:.2f} GB are free on {where}: "
        f"{remedy}, or take a smaller model."
    )


def longest_prompt(shape: ModelShape, bytes_per_value: int, attention: str, free: int) -> int:
    """Most tokens, rounded down to hundreds and within the model's context, whose run fits into `free` bytes."""
    low, high = 0, shape.context + 1
    while high - low > 1:
        middle = (low + high) // 2
        need = memory_estimate(shape, middle, bytes_per_value, attention).above_weights
        low, high = (middle, high) if need <= free else (low, middle)
    return low // 100 * 100
