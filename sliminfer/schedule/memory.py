"""What a run takes in memory, worked out before it starts."""

from __future__ import annotations

from dataclasses import dataclass

from sliminfer.errors import MemoryLimitError
from sliminfer.schedule.shapes import ModelShape


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes a run will need: weights, KV cache and the transients of one layer."""

    weights: int
    kv: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.activations


def memory_estimate(shape: ModelShape, tokens: int, bytes_per_value: int = 2) -> MemoryEstimate:
    """What the full model needs at a prompt of `tokens` tokens, batch 1.

    Activations: the hidden states twice, queries, keys and values, and the MLP's three intermediates.
    """
    per_token = 2 * shape.hidden + 2 * shape.query_width + 2 * shape.kv_width + 3 * shape.intermediate
    return MemoryEstimate(
        weights=shape.params * bytes_per_value,
        kv=2 * shape.kv_width * shape.layers * tokens * bytes_per_value,
        activations=per_token * tokens * bytes_per_value,
    )


# The engine runs the MLP in slices of tokens, so its three wide intermediates never cover a longer prompt than this.
MLP_SLICE = 8192


# What the allocator rounds up and the libraries' workspaces take, on top of the tensors counted here.
SLACK = 1.15


def run_bytes(shape: ModelShape, tokens: int, bytes_per_value: int, attention: str) -> int:
    """Bytes the full model takes on top of its weights for `tokens` tokens of prompt and answer, batch 1.

    Keys and values of every layer, the hidden states twice, one layer's queries, keys and values, the MLP's three
    intermediates of one slice, and with "eager" attention one layer's scores in fp32 and their softmax.
    """
    kept = 2 * shape.kv_width * shape.layers
    states = 2 * shape.hidden + 2 * shape.query_width + 2 * shape.kv_width
    wide = 3 * shape.intermediate * min(tokens, MLP_SLICE)
    scores = 2 * 4 * shape.heads * tokens * tokens if attention == "eager" else 0
    return int(SLACK * (bytes_per_value * ((kept + states) * tokens + wide) + scores))


def check_memory(shape: ModelShape, tokens: int, bytes_per_value: int, attention: str, free: int, where: str) -> None:
    """Raise MemoryLimitError where `tokens` tokens do not fit into `free` bytes on the device called `where`."""
    need = run_bytes(shape, tokens, bytes_per_value, attention)
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
        low, high = (middle, high) if run_bytes(shape, middle, bytes_per_value, attention) <= free else (low, middle)
    return low // 100 * 100
