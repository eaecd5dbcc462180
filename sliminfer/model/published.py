"""The dimensions of models that people run, from their published config.json files."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sliminfer.schedule.shapes import LayerShape, ModelShape


class Published(NamedTuple):
    """One model on the Hub.

    Attributes:
        bits: of the weights of its layers as published, scales included; None for 16.
    """

    name: str
    shape: ModelShape
    note: str = ""
    bits: float | None = None


def windowed(shape: ModelShape, window: int, every: int) -> ModelShape:
    """`shape` with a sliding window of `window` tokens in every layer but each `every`-th."""
    layers = range(shape.layers)
    seen = (replace(shape.layer(i), window=None if (i + 1) % every == 0 else window) for i in layers)
    return replace(shape, varied=tuple(seen))


def gated_delta(shape: ModelShape, key_heads: int, value_heads: int, width: int = 128, every: int = 4) -> ModelShape:
    """`shape` of a Qwen3-Next or Qwen3.5 model: each `every`-th layer attends, under a gate; the others keep a state.

    Args:
        shape: as if all layers attended, without the gate.
        key_heads, value_heads, width: of the state.
    """
    plain, hidden = shape.layer(0), shape.hidden
    rest = plain.passed - 2 * hidden * (plain.query_width + plain.kv_width)  # the MLP, or the experts
    idle = plain.held - plain.passed
    gate = hidden * plain.query_width
    attending = replace(plain, passed=plain.passed + gate, held=plain.held + gate)
    keys, values = key_heads * width, value_heads * width
    mixed = hidden * (2 * keys + 3 * values + 2 * value_heads) + 4 * (2 * keys + values)
    linear = LayerShape(0, 0, mixed + rest, mixed + rest + idle, mixing=7 * value_heads * width * width)
    return replace(shape, varied=tuple(attending if (i + 1) % every == 0 else linear for i in range(shape.layers)))


def _mixture(shape: ModelShape, experts: int, active: int, shared: int = 0) -> ModelShape:
    return replace(shape, experts=experts, active_experts=active, shared=shared, fused=False)


# Layers, hidden, intermediate, heads, kv heads, head dimension, vocabulary, context, tied embeddings.
_QWEN3_8B = ModelShape(36, 4096, 12288, 32, 8, 128, 151936, 40960, False)
_LLAMA_8B = ModelShape(32, 4096, 14336, 32, 8, 128, 128256, 131072, False)
_QWEN3_30B = ModelShape(48, 2048, 768, 32, 4, 128, 151936, 262144, False)
_GPT_OSS_20B = ModelShape(24, 2880, 2880, 64, 8, 64, 201088, 131072, False)
_QWEN35_9B = ModelShape(32, 4096, 12288, 16, 4, 256, 248320, 262144, False, fused=False)
_QWEN35_35B = ModelShape(40, 2048, 512, 16, 2, 256, 248320, 262144, False)

PUBLISHED: tuple[Published, ...] = (
    Published(
        "google/gemma-3-270m-it",
        windowed(ModelShape(18, 640, 2048, 4, 1, 256, 262144, 32768, True, fused=False), 512, 6),
        "laptop; gated",
    ),
    Published("Qwen/Qwen2.5-0.5B-Instruct", ModelShape(24, 896, 4864, 14, 2, 64, 151936, 32768, True), "laptop"),
    Published("Qwen/Qwen3-0.6B", ModelShape(28, 1024, 3072, 16, 8, 128, 151936, 40960, True), "laptop"),
    Published(
        "google/gemma-3-1b-it",
        windowed(ModelShape(26, 1152, 6912, 4, 1, 256, 262144, 32768, True, fused=False), 512, 6),
        "laptop; gated",
    ),
    Published(
        "meta-llama/Llama-3.2-1B-Instruct", ModelShape(16, 2048, 8192, 32, 8, 64, 128256, 131072, True), "gated"
    ),
    Published("Qwen/Qwen2.5-1.5B-Instruct", ModelShape(28, 1536, 8960, 12, 2, 128, 151936, 32768, True), "one GPU"),
    Published(
        "HuggingFaceTB/SmolLM3-3B", ModelShape(36, 2048, 11008, 16, 4, 128, 128256, 65536, True, fused=False), "one GPU"
    ),
    Published(
        "microsoft/Phi-3.5-mini-instruct", ModelShape(32, 3072, 8192, 32, 32, 96, 32064, 131072, False), "one GPU"
    ),
    Published(
        "Qwen/Qwen3-4B-Instruct-2507", ModelShape(36, 2560, 9728, 32, 8, 128, 151936, 262144, True), "one GPU"
    ),
    Published("Qwen/Qwen2.5-7B-Instruct", ModelShape(28, 3584, 18944, 28, 4, 128, 152064, 32768, False), "one GPU"),
    Published(
        "mistralai/Mistral-7B-Instruct-v0.3", ModelShape(32, 4096, 14336, 32, 8, 128, 32768, 32768, False), "gated"
    ),
    Published(
        "allenai/Olmo-3-7B-Instruct",
        windowed(ModelShape(32, 4096, 11008, 32, 32, 128, 100278, 65536, False, fused=False), 4096, 4),
        "one GPU",
    ),
    Published(
        "mistralai/Ministral-8B-Instruct-2410", ModelShape(36, 4096, 12288, 32, 8, 128, 131072, 32768, False), "gated"
    ),
    Published("meta-llama/Llama-3.1-8B-Instruct", _LLAMA_8B, "gated; the model of the paper"),
    Published("Qwen/Qwen3-8B", _QWEN3_8B, "one GPU"),
    Published("Qwen/Qwen3-8B-FP8", _QWEN3_8B, "FP8, Hopper or newer", 8.01),
    Published("Qwen/Qwen3-8B-AWQ", _QWEN3_8B, "AWQ, 4 bits", 4.16),
    Published(
        "ibm-granite/granite-3.3-8b-instruct",
        ModelShape(40, 4096, 12800, 32, 8, 128, 49159, 131072, True, fused=False),
        "one GPU",
    ),
    Published(
        "zai-org/GLM-4-9B-0414", ModelShape(40, 4096, 13696, 32, 2, 128, 151552, 32768, False, fused=False), "one GPU"
    ),
    Published("Qwen/Qwen3.5-9B", gated_delta(_QWEN35_9B, 16, 32), "hybrid: an approximation"),
    Published("openai/gpt-oss-20b", windowed(_mixture(_GPT_OSS_20B, 32, 4), 128, 2), "experts in MXFP4", 4.6),
    Published("Qwen/Qwen3-30B-A3B-Instruct-2507", _mixture(_QWEN3_30B, 128, 8), "experts"),
    Published(
        "Qwen/Qwen3.5-35B-A3B", gated_delta(_mixture(_QWEN35_35B, 256, 8, 512), 16, 32), "hybrid: an approximation"
    ),
)
