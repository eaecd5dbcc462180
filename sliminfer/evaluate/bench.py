"""Timing full, pruned and stock runs in turn on one model, with random weights where no weights are at hand.

Variants alternate within each round, so that drift of the machine hits all of them; ratios are taken round
by round and their median is reported. The floor of a time is its FLOPs over the machine's own matrix peak,
measured in the same process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Failed, Finished
from sliminfer.engine.meters import PeakMemory, synchronize
from sliminfer.engine.metrics import RunMetrics
from sliminfer.engine.request import PromptRequest, Pruning, Sampling
from sliminfer.errors import ConfigError, SlimError
from sliminfer.model.attention import choose_attention, stock_attention
from sliminfer.model.devices import resolve_device, resolve_dtype
from sliminfer.model.known import KNOWN
from sliminfer.model.loading import DEMO_MODEL, LoadedModel, load_model, wrap_model
from sliminfer.model.prompts import Prompt
from sliminfer.ops.compat import attention_backend
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import prefill_flops, stock_flops

# Short names of public shapes; "demo" is the shipped model with its own weights.
SHAPES = {
    "qwen2.5-0.5b": "Qwen/Qwen2.5-0.5B-Instruct",
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B-Instruct",
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B-Instruct",
}
_QUESTION_TOKENS = 32
# No multiple of a block: the lengths behind the prune steps become new ones, too.
_SHORTER = 17


@dataclass(frozen=True)
class Spread:
    """Median and range of repeated readings."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class BenchRow:
    """One variant at one prompt length. Times in seconds, memory in bytes.

    Attributes:
        variant: "hf" (stock `generate`), "full", or the name of a pruned config.
        ttft_s, end_to_end_s: over the rounds; end to end includes `new_tokens` tokens.
        speedup: full over this variant, round by round; likewise `end_to_end_speedup`.
        flop_speedup: the same ratio of FLOPs; `efficiency` is measured over promised.
        floor_s: FLOPs over the measured matrix peak.
        blocks_read: share of its causal blocks that each layer attended to; empty where all read densely.
        dense_because: why sparse reading was off where it was asked for.
    """

    shape: str
    tokens: int
    variant: str
    rounds: int
    ttft_s: Spread
    end_to_end_s: Spread
    new_tokens: int
    decode_tokens_per_s: float
    select_s: float
    speedup: Spread
    end_to_end_speedup: Spread
    flop_speedup: float
    efficiency: float
    floor_s: float
    kv_bytes: int
    peak_bytes: int
    attention: str
    kernels: str
    blocks_read: tuple[float, ...] = ()
    dense_because: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class NoText:
    """Stands in for a tokenizer where prompts are random ids and answers are not read."""

    eos_token_id = None

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return ""


def random_model(shape: str, device: str = "auto", dtype: str = "auto", attention: str = "auto") -> LoadedModel:
    """The model named by `shape` with random weights on `device`; "demo" comes with its own.

    Raises:
        ConfigError: the shape is unknown.
    """
    if shape == DEMO_MODEL:
        return load_model(DEMO_MODEL, device, dtype, attention)
    if shape not in SHAPES:
        raise ConfigError(f"Unknown shape {shape!r}: choose one of {', '.join((DEMO_MODEL, *SHAPES))}.")
    dims = KNOWN[SHAPES[shape]].shape
    family = Qwen2Config if shape.startswith("qwen") else LlamaConfig
    place = resolve_device(device)
    number_type = resolve_dtype(dtype, place)
    backend = choose_attention(place, number_type) if attention == "auto" else attention
    config = family(
        vocab_size=dims.vocab,
        hidden_size=dims.hidden,
        intermediate_size=dims.intermediate,
        num_hidden_layers=dims.layers,
        num_attention_heads=dims.heads,
        num_key_value_heads=dims.kv_heads,
        max_position_embeddings=131_072 + 1024,
        tie_word_embeddings=dims.tied,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    )
    torch.manual_seed(0)
    with place:
        model = AutoModelForCausalLM.from_config(config, dtype=number_type, attn_implementation=backend)
    return wrap_model(f"{shape} (random weights)", model.eval(), NoText(), place, backend)


def random_prompt(loaded: LoadedModel, tokens: int, seed: int = 0) -> Prompt:
    """A prompt of `tokens` random ids whose last 32 tokens count as the question."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, loaded.shape.vocab, (tokens,), generator=generator).tolist()
    return Prompt.of_ids(ids, _QUESTION_TOKENS)


def matrix_peak(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """FLOP/s of the fastest of several square matrix products in `dtype`."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or best == float("inf"):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(a, b)
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


@dataclass
class _Readings:
    """What the rounds of one variant gave."""

    ttft: list[float]
    total: list[float]
    peak: list[int]
    metrics: list[RunMetrics]


def bench(
    loaded: LoadedModel,
    shape: str,
    tokens: int,
    configs: dict[str, SlimConfig],
    rounds: int = 5,
    new_tokens: int = 1,
    against_hf: bool = False,
    kernels: str = "auto",
    new_lengths: bool = False,
) -> list[BenchRow]:
    """Rows for stock (if asked), full and every config at one prompt length, after one warm-up round.

    Args:
        new_lengths: every round reads a prompt a few tokens shorter, so that nothing kept per length helps.

    Raises:
        SlimError: a variant could not run, for instance for lack of memory.
    """
    engine = SlimEngine(loaded)
    variants: dict[str, Callable[[Prompt], tuple[float, float, int, RunMetrics | None]]] = {}
    if against_hf:
        variants["hf"] = partial(time_stock, loaded, new_tokens=new_tokens)
    for name, config in {"full": None, **configs}.items():
        variants[name] = partial(time_ours, engine, config=config, new_tokens=new_tokens, kernels=kernels)
    readings = {name: _Readings([], [], [], []) for name in variants}
    for round_number in range(rounds + 1):
        prompt = random_prompt(loaded, tokens - _SHORTER * round_number if new_lengths else tokens)
        order = list(variants)
        if round_number % 2:
            order.reverse()
        for name in order:
            ttft, total, peak, metrics = variants[name](prompt)
            if round_number:
                readings[name].ttft.append(ttft)
                readings[name].total.append(total)
                readings[name].peak.append(peak)
                readings[name].metrics.extend([metrics] if metrics else [])
    peak_rate = matrix_peak(loaded.device, loaded.model.dtype)
    return list(_rows(loaded, shape, tokens, new_tokens, readings, peak_rate))


def _rows(
    loaded: LoadedModel, shape: str, tokens: int, new_tokens: int, readings: dict[str, _Readings], peak_rate: float
) -> Iterator[BenchRow]:
    full = readings["full"]
    full_flops = prefill_flops(loaded.shape, [tokens] * loaded.shape.layers)
    for name, r in readings.items():
        last = r.metrics[-1] if r.metrics else full.metrics[-1]
        flops = last.prefill_flops if r.metrics else stock_flops(loaded.shape, tokens)
        speedup = Spread.of([a / b for a, b in zip(full.ttft, r.ttft, strict=True)])
        flop_speedup = full_flops / flops
        after_first = [total - first for first, total in zip(r.ttft, r.total, strict=True)]
        yield BenchRow(
            shape=shape,
            tokens=tokens,
            variant=name,
            rounds=len(r.ttft),
            ttft_s=Spread.of(r.ttft),
            end_to_end_s=Spread.of(r.total),
            new_tokens=new_tokens,
            decode_tokens_per_s=(new_tokens - 1) / statistics.median(after_first) if new_tokens > 1 else float("nan"),
            select_s=statistics.median([m.select_s for m in r.metrics]) if r.metrics else 0.0,
            speedup=speedup,
            end_to_end_speedup=Spread.of([a / b for a, b in zip(full.total, r.total, strict=True)]),
            flop_speedup=flop_speedup,
            efficiency=speedup.median / flop_speedup,
            floor_s=flops / peak_rate,
            kv_bytes=last.prompt_kv.total_device,
            peak_bytes=int(statistics.median(r.peak)),
            attention=loaded.attention if r.metrics else stock_attention_of(loaded),
            kernels=last.kernels if r.metrics else "stock",
            blocks_read=last.blocks_read if r.metrics else (),
            dense_because=last.dense_because if r.metrics else "",
        )


def time_ours(
    engine: SlimEngine, prompt: Prompt, config: SlimConfig | None, new_tokens: int, kernels: str
) -> tuple[float, float, int, RunMetrics]:
    pruning = Pruning() if config is None else Pruning(config)
    request = PromptRequest(prompt, Sampling(new_tokens, ignore_eos=True), pruning, kernels)
    for event in engine.run(request, "full" if config is None else "pruned"):
        if isinstance(event, Failed):
            raise SlimError(event.message)
        if isinstance(event, Finished):
            m = event.metrics
            return m.ttft_s, m.token_at[-1], m.peak_bytes, m
    raise SlimError("The run ended without a result: try again.")


class TokenClock:
    """Listens to `generate`: when each token was on the host, after the prompt, which comes first."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, ids: torch.Tensor) -> None:
        self.at.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to do."""


@torch.inference_mode()
def time_stock(loaded: LoadedModel, prompt: Prompt, new_tokens: int) -> tuple[float, float, int, None]:
    """Stock `generate`, timed at its first and its last token."""
    ids = torch.tensor([prompt.ids], device=loaded.device)
    clock = TokenClock()
    memory = PeakMemory(*loaded.devices)
    synchronize(loaded.device)
    start = time.perf_counter()
    loaded.model.generate(
        ids, max_new_tokens=new_tokens, min_new_tokens=new_tokens, do_sample=False, pad_token_id=0, streamer=clock
    )
    return clock.at[1] - start, clock.at[-1] - start, memory.bytes(), None


def stock_attention_of(loaded: LoadedModel) -> str:
    """What runs a causal prefill of the stock model, see `attention.stock_attention`."""
    shape, backend = loaded.shape, attention_backend(loaded.model.config)
    return stock_attention(backend, loaded.device, loaded.model.dtype, shape.heads, shape.kv_heads, shape.head_dim)
