"""Whether sparse reading is off for a prompt, and why: where it cannot win it must not run."""

from __future__ import annotations

import torch

from sliminfer.engine.stack import Stack
from sliminfer.ops import dispatch as ops
from sliminfer.ops import row_attention
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.reading import SparseReading


def why_dense(config: SlimConfig, stack: Stack, tokens: int, device: torch.device) -> str:
    """Why no layer reads a prompt of `tokens` tokens on `device` sparsely, in one sentence; empty where some do.

    On a core of an AMD EPYC (Zen 5) choosing and attending take half of the time of dense attention at 2,048 tokens and
    share 0.25, and a third at 4,096 and 8,192 (docs/sparse-reading.md).

    Layers with a sliding window read densely beside others that do not, without a word.
    """
    if config.reading == "dense":
        return "Dense reading is asked for."
    least = SparseReading.of(config).from_tokens
    if tokens < least:
        return f"The prompt has {tokens:,} tokens: below {least:,} choosing blocks costs more than it saves."
    last = min((step.layer for step in config.steps), default=stack.depth)
    if not last:
        return "The first prune step comes before layer 0: no layer reads the whole prompt."
    layers = range(min(last, stack.depth))
    if not any(stack.windows[i] is None for i in layers):
        return "Every layer before the first prune step has a sliding window, which leaves nothing to choose."
    if not any(stack.fused[i] is not None for i in layers):
        return "This model's layers run by their own forward, which attends to every key or to a window."
    if device.type == "cpu" and stack.decoder.dtype is torch.bfloat16 and not row_attention.pays():
        return "On this CPU torch's own bf16 attention of everything is faster than that of chosen blocks in fp32."
    if device.type == "cuda" and not ops.runs_triton("sparse_attention", device):
        return "On a GPU sparse reading needs its Triton kernel, which is switched off or cannot run here."
    return ""
