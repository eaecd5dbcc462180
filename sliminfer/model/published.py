"""The dimensions of models that people run, each with where they were read."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

from sliminfer.schedule.shapes import LayerShape, ModelShape

# Where dimensions were read: in the model's config.json or that of a copy or a fine-tune of it; in its card or what is
# published about it; in the defaults that transformers has for its type, which are that model's; or of its siblings
# alone, and its parameters are then as many as its makers say.
Source = Literal["config", "card", "transformers", "parameters"]


class Published(NamedTuple):
    """One model on the Hub.

    Attributes:
        bits: of the weights of its layers as published, scales included; None for 16.
        source: where its dimensions were read.
    """

    name: str
    shape: ModelShape
    note: str = ""
    bits: float | None = None
    source: Source = "config"


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


def convolved(shape: ModelShape, attending: tuple[int, ...], kernel: int = 3) -> ModelShape:
    """`shape` of an LFM2: layers `attending` attend, the others have a short convolution between two gates."""
    own = 4 * shape.hidden**2 + kernel * shape.hidden - 2 * shape.hidden * (shape.query_width + shape.kv_width)

    def conv(layer: LayerShape) -> LayerShape:
        return LayerShape(0, 0, layer.passed + own, layer.held + own)

    layers = [shape.layer(i) for i in range(shape.layers)]
    return replace(shape, varied=tuple(each if i in attending else conv(each) for i, each in enumerate(layers)))


def dense_first(shape: ModelShape, layers: int, width: int) -> ModelShape:
    """`shape` with experts, but for an MLP of `width` in the first `layers`."""
    experts = 3 * shape.hidden * shape.intermediate
    router, mlp = shape.hidden * shape.experts, 3 * shape.hidden * width

    def dense(layer: LayerShape) -> LayerShape:
        passed = layer.passed - experts * shape.active_experts - router + mlp
        held = layer.held - experts * shape.experts - router + mlp
        return replace(layer, passed=passed, held=held)

    first = tuple(dense(shape.layer(i)) for i in range(layers))
    return replace(shape, varied=(*first, *(shape.layer(i) for i in range(layers, shape.layers))))


def gemma4(shape: ModelShape, kv_heads: int, head_dim: int, window: int = 1024, every: int = 6) -> ModelShape:
    """`shape` of a Gemma 4, whose keys are its values too in each `every`-th layer, which sees everything.

    Args:
        shape: with the heads of these layers.
        kv_heads, head_dim: of the others, which have a window.
    """
    plain, hidden = shape.layer(0), shape.hidden
    seeing = replace(plain, passed=plain.passed - hidden * plain.kv_width, held=plain.held - hidden * plain.kv_width)
    queries, keys = shape.heads * head_dim, kv_heads * head_dim
    less = 2 * hidden * (plain.query_width + plain.kv_width - queries - keys)
    local = LayerShape(queries, keys, plain.passed - less, plain.held - less, window)
    return replace(shape, varied=tuple(seeing if (i + 1) % every == 0 else local for i in range(shape.layers)))


def _mixture(shape: ModelShape, experts: int, active: int, shared: int = 0) -> ModelShape:
    return replace(shape, experts=experts, active_experts=active, shared=shared, fused=False)


# Layers, hidden, intermediate, heads, kv heads, head dimension, vocabulary, context, tied embeddings.
_QWEN3_8B = ModelShape(36, 4096, 12288, 32, 8, 128, 151936, 40960, False)
_LLAMA_8B = ModelShape(32, 4096, 14336, 32, 8, 128, 128256, 131072, False)
_QWEN3_30B = ModelShape(48, 2048, 768, 32, 4, 128, 151936, 262144, False)
_GPT_OSS_20B = ModelShape(24, 2880, 2880, 64, 8, 64, 201088, 131072, False)
_QWEN35_9B = ModelShape(32, 4096, 12288, 16, 4, 256, 248320, 262144, False, fused=False)
_QWEN35_35B = ModelShape(40, 2048, 512, 16, 2, 256, 248320, 262144, False)
_QWEN36_27B = ModelShape(64, 5120, 17408, 24, 4, 256, 248320, 262144, False, fused=False)
_GEMMA4_26B = ModelShape(30, 2816, 704, 16, 2, 512, 262144, 262144, True)
_GEMMA4_31B = ModelShape(60, 5376, 21504, 32, 4, 512, 262144, 262144, True, fused=False)
# Of LFM2 the context that its card states; the config allows 128,000.
_LFM2_350M = ModelShape(16, 1024, 4608, 16, 8, 64, 65536, 32768, True, fused=False)
_LFM2_1B = ModelShape(16, 2048, 8192, 32, 8, 64, 65536, 32768, True, fused=False)
_LFM2_ATTENDING, _LFM2_MOE_ATTENDING = (2, 5, 8, 10, 12, 14), (2, 6, 10, 14, 18, 21)
_LFM2_8B = ModelShape(24, 2048, 1792, 32, 8, 64, 65536, 32768, True)
_MINISTRAL3_3B = ModelShape(26, 3072, 9216, 32, 8, 128, 131072, 262144, True, fused=False)
_MINISTRAL3_8B = ModelShape(34, 4096, 14336, 32, 8, 128, 131072, 262144, False, fused=False)
_MINISTRAL3_14B = ModelShape(40, 5120, 16384, 32, 8, 128, 131072, 262144, False, fused=False)
_HYBRID = "hybrid: an approximation"

PUBLISHED: tuple[Published, ...] = (
    Published(
        "google/gemma-3-270m-it",
        windowed(ModelShape(18, 640, 2048, 4, 1, 256, 262144, 32768, True, fused=False), 512, 6),
        "laptop; gated",
    ),
    Published("LiquidAI/LFM2-350M", convolved(_LFM2_350M, _LFM2_ATTENDING), f"laptop; {_HYBRID}"),
    Published("Qwen/Qwen2.5-0.5B-Instruct", ModelShape(24, 896, 4864, 14, 2, 64, 151936, 32768, True), "laptop"),
    Published("Qwen/Qwen3-0.6B", ModelShape(28, 1024, 3072, 16, 8, 128, 151936, 40960, True), "laptop"),
    Published(
        "google/gemma-3-1b-it",
        windowed(ModelShape(26, 1152, 6912, 4, 1, 256, 262144, 32768, True, fused=False), 512, 6),
        "laptop; gated",
    ),
    Published("meta-llama/Llama-3.2-1B-Instruct", ModelShape(16, 2048, 8192, 32, 8, 64, 128256, 131072, True), "gated"),
    Published("LiquidAI/LFM2-1.2B", convolved(_LFM2_1B, _LFM2_ATTENDING), f"laptop; {_HYBRID}"),
    Published("Qwen/Qwen2.5-1.5B-Instruct", ModelShape(28, 1536, 8960, 12, 2, 128, 151936, 32768, True), "one GPU"),
    Published(
        "HuggingFaceTB/SmolLM3-3B",
        ModelShape(36, 2048, 11008, 16, 4, 128, 128256, 65536, True, fused=False),
        "one GPU",
        source="transformers",
    ),
    Published("mistralai/Ministral-3-3B-Instruct-2512", _MINISTRAL3_3B, "one GPU", source="card"),
    Published(
        "microsoft/Phi-3.5-mini-instruct", ModelShape(32, 3072, 8192, 32, 32, 96, 32064, 131072, False), "one GPU"
    ),
    Published("Qwen/Qwen3-4B-Instruct-2507", ModelShape(36, 2560, 9728, 32, 8, 128, 151936, 262144, True), "one GPU"),
    Published("Qwen/Qwen2.5-7B-Instruct", ModelShape(28, 3584, 18944, 28, 4, 128, 152064, 32768, False), "one GPU"),
    Published(
        "mistralai/Mistral-7B-Instruct-v0.3", ModelShape(32, 4096, 14336, 32, 8, 128, 32768, 32768, False), "gated"
    ),
    Published(
        "allenai/Olmo-3-7B-Instruct",
        windowed(ModelShape(32, 4096, 11008, 32, 32, 128, 100278, 65536, False, fused=False), 4096, 4),
        "one GPU",
        source="transformers",
    ),
    Published(
        "mistralai/Ministral-8B-Instruct-2410", ModelShape(36, 4096, 12288, 32, 8, 128, 131072, 32768, False), "gated"
    ),
    Published("meta-llama/Llama-3.1-8B-Instruct", _LLAMA_8B, "gated; the model of the paper", source="parameters"),
    Published("Qwen/Qwen3-8B", _QWEN3_8B, "one GPU"),
    Published("Qwen/Qwen3-8B-FP8", _QWEN3_8B, "FP8, Hopper or newer", 8.01),
    Published("Qwen/Qwen3-8B-AWQ", _QWEN3_8B, "AWQ, 4 bits", 4.16),
    Published(
        "ibm-granite/granite-3.3-8b-instruct",
        ModelShape(40, 4096, 12800, 32, 8, 128, 49159, 131072, True, fused=False),
        "one GPU",
        source="parameters",
    ),
    Published(
        "LiquidAI/LFM2-8B-A1B", convolved(dense_first(_mixture(_LFM2_8B, 32, 4), 2, 7168), _LFM2_MOE_ATTENDING), _HYBRID
    ),
    Published("mistralai/Ministral-3-8B-Instruct-2512", _MINISTRAL3_8B, "one GPU", source="transformers"),
    Published(
        "zai-org/GLM-4-9B-0414", ModelShape(40, 4096, 13696, 32, 2, 128, 151552, 32768, False, fused=False), "one GPU"
    ),
    Published("Qwen/Qwen3.5-9B", gated_delta(_QWEN35_9B, 16, 32), _HYBRID, source="transformers"),
    Published("mistralai/Ministral-3-14B-Instruct-2512", _MINISTRAL3_14B, "one GPU", source="card"),
    Published("openai/gpt-oss-20b", windowed(_mixture(_GPT_OSS_20B, 32, 4), 128, 2), "experts in MXFP4", 4.6),
    Published("Qwen/Qwen3-30B-A3B-Instruct-2507", _mixture(_QWEN3_30B, 128, 8), "experts", source="parameters"),
    Published(
        "google/gemma-4-26B-A4B-it", gemma4(_mixture(_GEMMA4_26B, 128, 8, 2112), 8, 256), "experts", source="card"
    ),
    Published("Qwen/Qwen3.6-27B", gated_delta(_QWEN36_27B, 16, 48), _HYBRID, source="card"),
    Published("google/gemma-4-31B-it", gemma4(_GEMMA4_31B, 16, 256), "one large GPU", source="card"),
    Published(
        "Qwen/Qwen3.5-35B-A3B", gated_delta(_mixture(_QWEN35_35B, 256, 8, 512), 16, 32), _HYBRID, source="transformers"
    ),
    Published("Qwen/Qwen3.6-35B-A3B", gated_delta(_mixture(_QWEN35_35B, 256, 8, 512), 16, 32), _HYBRID, source="card"),
)
