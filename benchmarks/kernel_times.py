"""Times each operation against its floor, its stock form and torch.compile: `python benchmarks/kernel_times.py`.

The floor is the larger of two times: bytes that must move (each input read once, each output written once)
over the measured rate of a large copy, and arithmetic over the measured rate of a large matrix product. Needs
torch, transformers and, on a GPU, triton. On a GPU every run starts with a cold L2 cache, behind enough queued
work to hide the launch. Shapes are those of Llama-3.1-8B.

The file is not called kernels.py because a script's folder comes first on `sys.path`, and transformers would
take it for the Hub package of that name.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import DynamicCache, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding, apply_rotary_pos_emb

from sliminfer.model.fused import FusedLayer, Workspace
from sliminfer.ops import dispatch as ops

HIDDEN, INTERMEDIATE, HEADS, KV_HEADS, DIM = 4096, 14336, 32, 8, 128
WIDTH = 2  # bytes of a bf16 element
BACKENDS = {
    "sdpa_cudnn": SDPBackend.CUDNN_ATTENTION,
    "sdpa_flash": SDPBackend.FLASH_ATTENTION,
    "sdpa_efficient": SDPBackend.EFFICIENT_ATTENTION,
}


@dataclass
class Case:
    """One operation at one size; `ways` maps a name to a function of what `inputs` returns."""

    op: str
    size: str
    bytes: int
    flops: int
    inputs: Callable[[], tuple[Any, ...]]
    ways: dict[str, Callable[..., Any]]
    compiled: list[str] = field(default_factory=list)


class Clock:
    """Median seconds of a call on one device."""

    def __init__(self, device: torch.device, repeats: int) -> None:
        self.device = device
        self.repeats = repeats
        cuda = device.type == "cuda"
        self._flush = torch.empty(512 << 20, dtype=torch.int8, device=device) if cuda else None

    def __call__(self, call: Callable[..., Any], inputs: Callable[[], tuple[Any, ...]]) -> float:
        return self._cuda(call, inputs) if self._flush is not None else self._cpu(call, inputs)

    def _cuda(self, call: Callable[..., Any], inputs: Callable[[], tuple[Any, ...]]) -> float:
        assert self._flush is not None
        for _ in range(3):
            call(*inputs())
        pairs = []
        for _ in range(self.repeats):
            given = inputs()
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self._flush.zero_()
            start.record()
            call(*given)
            end.record()
            pairs.append((start, end))
            if len(pairs) % 8 == 0:
                torch.cuda.synchronize()
        torch.cuda.synchronize()
        return statistics.median(start.elapsed_time(end) for start, end in pairs) / 1e3

    def _cpu(self, call: Callable[..., Any], inputs: Callable[[], tuple[Any, ...]]) -> float:
        call(*inputs())
        times = []
        for _ in range(self.repeats):
            given = inputs()
            start = time.perf_counter()
            call(*given)
            times.append(time.perf_counter() - start)
        return statistics.median(times)


def stock_norm(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-5)
    return weight * wide.to(x.dtype)


def stock_norm_residual(x: Tensor, residual: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    total = residual + x
    return stock_norm(total, weight), total


def stock_rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    rotated: tuple[Tensor, Tensor] = apply_rotary_pos_emb(
        query[None].transpose(1, 2), key[None].transpose(1, 2), cos[None], sin[None]
    )
    return rotated


def stock_swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


def stock_unit_keys(keys: Tensor) -> Tensor:
    return keys.unflatten(1, (-1, 8)).mean(2)


def stock_scores(queries: Tensor, keys: Tensor, hidden: Tensor | None) -> Tensor:
    """Attention of the window in the plain way: repeated keys, the whole matrix, then the block maximum."""
    repeated = keys.repeat_interleave(len(queries) // len(keys), 0)
    logits = torch.matmul(queries, repeated.transpose(1, 2)).float() * DIM**-0.5
    if hidden is not None:
        logits = logits.masked_fill(hidden, -torch.inf)
    return torch.softmax(logits, -1).amax((0, 1)).unflatten(0, (-1, 32)).amax(1)


def stock_decode(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query[None, :, None], keys[None], values[None], enable_gqa=True)


def stock_prefill(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)


def by_backend(call: Callable[..., Any], backend: SDPBackend) -> Callable[..., Any]:
    def run(*given: Any) -> Any:
        with sdpa_kernel(backend):
            return call(*given)

    return run


def elementwise_cases(tokens: int, draw: Callable[..., Tensor]) -> list[Case]:
    x, residual, weight = draw(tokens, HIDDEN), draw(tokens, HIDDEN), draw(HIDDEN)
    query, key = draw(tokens, HEADS, DIM), draw(tokens, KV_HEADS, DIM)
    angles = draw(tokens, DIM).float()
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    rows = min(tokens, 8192)
    gate, up = draw(rows, INTERMEDIATE), draw(rows, INTERMEDIATE)
    return [
        Case(
            "rms_norm", f"{tokens}x{HIDDEN}", WIDTH * 2 * x.numel(), 0, lambda: (x, weight),
            {"ours": lambda x, w: ops.rms_norm(x, w, 1e-5), "stock": stock_norm}, ["stock"],
        ),
        Case(
            "rms_norm_residual", f"{tokens}x{HIDDEN}", WIDTH * 4 * x.numel(), 0,
            lambda: (x.clone(), residual, weight),
            {"ours": lambda x, r, w: ops.rms_norm_residual(x, r, w, 1e-5), "stock": stock_norm_residual},
            ["stock"],
        ),
        Case(
            "apply_rope", f"{tokens}x({HEADS}+{KV_HEADS})x{DIM}",
            WIDTH * 2 * (query.numel() + key.numel() + cos.numel()), 0,
            lambda: (query.clone(), key.clone(), cos, sin), {"ours": ops.apply_rope, "stock": stock_rope}, ["stock"],
        ),
        Case(
            "swiglu", f"{rows}x{INTERMEDIATE}", WIDTH * 3 * gate.numel(), 0, lambda: (gate.clone(), up),
            {"ours": ops.swiglu, "stock": stock_swiglu}, ["stock"],
        ),
    ]  # fmt: skip


def attention_cases(tokens: int, draw: Callable[..., Tensor], device: torch.device) -> list[Case]:
    keys, values = draw(KV_HEADS, tokens, DIM), draw(KV_HEADS, tokens, DIM)
    owner = torch.arange(tokens, device=device) // 32
    blocks = tokens // 32
    units, unit_owner = draw(KV_HEADS, tokens // 8, DIM), owner[: tokens // 8 * 8 : 8]
    window, one = draw(HEADS, 16, DIM), draw(HEADS, 1, DIM)
    hidden = torch.arange(tokens, device=device)[None] > torch.arange(tokens - 16, tokens, device=device)[:, None]
    kv_bytes = WIDTH * keys.numel()
    query, key, value = draw(1, HEADS, tokens, DIM), keys[None], values[None]
    prefill_flops = 2 * HEADS * DIM * tokens * tokens
    cuda = device.type == "cuda"
    decode: dict[str, Callable[..., Any]] = {
        "ours": lambda q, k, v: ops.decode_attention(q, k, v, DIM**-0.5), "stock": stock_decode,
    }  # fmt: skip
    prefill: dict[str, Callable[..., Any]] = {"stock": stock_prefill}
    if cuda:
        prefill |= {name: by_backend(stock_prefill, backend) for name, backend in BACKENDS.items()}
        decode |= {name: by_backend(stock_decode, backend) for name, backend in BACKENDS.items()}

    def scores(q: Tensor, k: Tensor, to: Tensor, prompt: int | None) -> Tensor:
        return ops.block_scores(q, k, to, blocks, DIM**-0.5, "max", tokens=prompt)

    lengths = itertools.count()

    def another_length() -> tuple[Tensor, Tensor, Tensor]:
        end = tokens - 16 * (next(lengths) % (tokens // 32))
        return query[:, :, :end], key[:, :, :end], value[:, :, :end]

    return [
        Case(
            "unit_keys", f"{tokens} tokens by 8", kv_bytes * 9 // 8, 0, lambda: (keys,),
            {"ours": lambda k: ops.unit_keys(k, 8), "stock": stock_unit_keys}, ["stock"],
        ),
        Case(
            "block_scores", f"16 queries, {tokens} keys", 2 * kv_bytes, 4 * 16 * HEADS * DIM * tokens,
            lambda: (window, keys),
            {
                "ours": lambda q, k: scores(q, k, owner, tokens),
                "stock": lambda q, k: stock_scores(q, k, hidden),
            },
            ["stock"],
        ),
        Case(
            "block_scores", f"1 query, {tokens // 8} units", 2 * kv_bytes // 8, 4 * HEADS * DIM * tokens // 8,
            lambda: (one, units),
            {
                "ours": lambda q, k: scores(q, k, unit_owner, None),
                "stock": lambda q, k: stock_scores(q, k, None),
            },
            ["stock"],
        ),
        Case(
            "decode_attention", f"{tokens} tokens", 2 * kv_bytes, 4 * HEADS * DIM * tokens,
            lambda: (one[:, 0], keys, values), decode,
        ),
        Case(
            "prefill_attention", f"{tokens} tokens, causal", WIDTH * (2 * query.numel()) + 2 * kv_bytes,
            prefill_flops, lambda: (query, key, value), prefill,
        ),
        # A backend that plans per shape pays at each new prompt.
        Case(
            "prefill_attention", f"<={tokens} tokens, new length", WIDTH * (2 * query.numel()) + 2 * kv_bytes,
            prefill_flops, another_length, prefill,
        ),
    ]  # fmt: skip


def layer_case(tokens: int, device: torch.device, dtype: torch.dtype) -> Case:
    """A whole decoder layer in prefill, fused against stock: what the fused steps are worth in TTFT."""
    config = LlamaConfig(
        hidden_size=HIDDEN, intermediate_size=INTERMEDIATE, num_attention_heads=HEADS, num_hidden_layers=1,
        num_key_value_heads=KV_HEADS, max_position_embeddings=131_072, attn_implementation="sdpa",
    )  # fmt: skip
    with torch.device(device):
        layer = LlamaDecoderLayer(config, 0).to(dtype).eval()
        hidden = torch.randn(1, tokens, HIDDEN, dtype=dtype)
        rotary = LlamaRotaryEmbedding(config)(hidden, torch.arange(tokens)[None])
    fused = FusedLayer(layer, Workspace(), None, 32)
    matrices = sum(p.numel() for p in layer.parameters() if p.dim() == 2)
    flops = 2 * tokens * matrices + 2 * HEADS * DIM * tokens * tokens

    def run(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda h: forward(h, position_embeddings=rotary, past_key_values=DynamicCache())

    ways = {"ours": run(fused), "stock": run(layer)}
    return Case("decoder_layer", f"{tokens} tokens", WIDTH * matrices, flops, lambda: (hidden,), ways)


def ceilings(clock: Clock, device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """Measured bytes per second of a large copy (read plus write) and FLOP per second of a matrix product."""
    size = 1 << 30 if device.type == "cuda" else 1 << 27
    source, target = (
        torch.randint(0, 99, (size,), dtype=torch.int8, device=device),
        torch.empty(size, dtype=torch.int8, device=device),
    )
    copy = clock(lambda: target.copy_(source), tuple)
    side = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = clock(lambda: torch.mm(a, b), tuple)
    return 2 * size / copy, 2 * side**3 / product


def measure(case: Case, clock: Clock, compile_stock: bool) -> dict[str, float | None]:
    times: dict[str, float | None] = {}
    ways = dict(case.ways)
    if compile_stock:
        ways |= {f"{name}_compiled": torch.compile(ways[name]) for name in case.compiled}
    for name, call in ways.items():
        try:
            times[name] = clock(call, case.inputs)
        except RuntimeError as error:  # a backend that does not take the shape, or no compiler at hand
            print(f"{case.op} {case.size} {name}: {str(error).strip().splitlines()[0]}", file=sys.stderr)
            times[name] = None
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tokens", type=int, nargs="+", help="prompt lengths, multiples of 32")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, help="write all figures here")
    options = parser.parse_args()
    device = torch.device(options.device)
    cuda = device.type == "cuda"
    lengths = options.tokens or ([8192, 32_768] if cuda else [1024])
    dtype = torch.bfloat16
    generator = torch.Generator(device).manual_seed(0)
    clock = Clock(device, options.repeats)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device).to(dtype)

    rows: list[dict[str, Any]] = []
    with torch.inference_mode():
        bandwidth, rate = ceilings(clock, device, dtype)
        print(f"copy {bandwidth / 1e12:.2f} TB/s, matrix product {rate / 1e12:.1f} TFLOP/s\n")
        print(f"{'operation':18} {'size':28} {'floor':>9} {'ours':>9} {'x floor':>8} {'others, times ours'}")
        for tokens in lengths:
            cases = elementwise_cases(tokens, draw) + attention_cases(tokens, draw, device)
            for case in [*cases, layer_case(tokens, device, dtype)]:
                floor = max(case.bytes / bandwidth, case.flops / rate)
                times = measure(case, clock, not options.no_compile)
                rows.append(
                    {"op": case.op, "size": case.size, "bytes": case.bytes, "flops": case.flops,
                     "floor_s": floor, "seconds": times}
                )  # fmt: skip
                base = times.get("ours") or times["stock"] or float("nan")
                others = "  ".join(f"{k} {v / base:.2f}" for k, v in times.items() if v and k != "ours")
                line = f"{case.op:18} {case.size:28} {floor * 1e6:7.0f}us {base * 1e6:7.0f}us {base / floor:8.2f}"
                print(line, others, flush=True)
    if options.json:
        result = {
            "device": torch.cuda.get_device_name(device) if cuda else "cpu",
            "threads": None if cuda else torch.get_num_threads(),
            "torch": torch.__version__,
            "copy_bytes_per_s": bandwidth,
            "matrix_flop_per_s": rate,
            "kernels": ops.kernels_ran(),
            "rows": rows,
        }
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
