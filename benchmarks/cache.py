"""What the KV-cache manager costs and saves: `python benchmarks/cache.py` prints tables, `--json FILE` saves them.

Decode speed is measured step against step: each cache decodes one token in turn, in changing order, so that
whatever else the machine does falls on all of them alike; a ratio is the median over the steps of one
cache's time over the plain ragged cache's time beside it. Weights are random unless `--model` names some;
neither bytes nor times depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from sliminfer.cache import CopyEngine, HostPool, Link, OnDemandEngine, SlimCache, copy_engine_for
from sliminfer.cache.records import CacheEvent, Refresh, StepCost
from sliminfer.cache.timeline import replay
from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.meters import synchronize
from sliminfer.model.devices import resolve_device, resolve_dtype
from sliminfer.model.known import KNOWN
from sliminfer.model.loading import load_model
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig, parse_steps
from sliminfer.schedule.presets import DEFAULT_PRESET
from sliminfer.schedule.shapes import ModelShape

# The dimensions of a small CPU model, where a cache's own cost weighs most.
SMALL = ModelShape(8, 192, 480, 6, 3, 32, 4096, 131072, True)
LINKS = {"PCIe 3.0 x16": 12e9, "PCIe 4.0 x16": 25e9, "PCIe 5.0 x16": 50e9}


@dataclass(frozen=True)
class Row:
    """One cache's figures; times in milliseconds, memory in bytes.

    `cpu_ratio` compares the process's own processor time, which a busy machine disturbs least; on a GPU it
    shows the host's share alone.
    """

    cache: str
    step_ms: float
    ratio: float
    ratio_iqr: float
    cpu_ratio: float
    device_bytes: int
    host_bytes: int
    of_full: float
    swaps: int
    loaded_bytes: int
    hidden: float | None


class Runner:
    """One cache under its own loop on the shared model."""

    def __init__(self, name: str, model: Any, config: SlimConfig, ids: torch.Tensor, new: int, pool: HostPool) -> None:
        self.name, self.device = name, ids.device
        self.times: list[float] = []
        self.cpu_times: list[float] = []
        self.events: list[CacheEvent] = []
        self.loop = LayerLoop(model, config)
        blocks = BlockMap.of(ids.shape[1], config)
        engine_for = _on_demand if name.endswith("on demand") else copy_engine_for
        self.cache = SlimCache(config, len(self.loop.layers), blocks, reserve=new, pool=pool, engine_for=engine_for)
        self.call(ids)
        self.loop.place(self.cache)
        self.held = self.cache.kv_bytes()

    def call(self, ids: torch.Tensor) -> tuple[float, float]:
        """Seconds and processor seconds of one call of the loop, device synchronised on both sides."""
        synchronize(self.device)
        start, cpu = time.perf_counter(), time.process_time()
        run = self.loop.run(self.loop.decoder.embed_tokens(ids), self.cache)
        for _ in run:
            pass
        synchronize(self.device)
        return time.perf_counter() - start, time.process_time() - cpu

    def step(self, token: torch.Tensor) -> None:
        seconds, cpu = self.call(token)
        self.times.append(seconds)
        self.cpu_times.append(cpu)
        self.events += self.cache.drain_events()

    def row(self, base: Runner, full_bytes: int) -> Row:
        ratios = [mine / other for mine, other in zip(self.times, base.times, strict=True)]
        quarters = statistics.quantiles(ratios, n=4)
        looks = [event for event in self.events if isinstance(event, Refresh)]
        costs = [event for event in self.events if isinstance(event, StepCost) and event.step]
        busy = sum(cost.transfer_s for cost in costs)
        device = sum(layer.prompt + layer.units for layer in self.held)
        return Row(
            cache=self.name,
            step_ms=1000 * statistics.median(self.times),
            ratio=statistics.median(ratios),
            ratio_iqr=quarters[2] - quarters[0],
            cpu_ratio=statistics.median(a / b for a, b in zip(self.cpu_times, base.cpu_times, strict=True)),
            device_bytes=device,
            host_bytes=sum(layer.host for layer in self.held),
            of_full=device / full_bytes,
            swaps=sum(bool(look.loads) for look in looks),
            loaded_bytes=sum(look.nbytes for look in looks),
            hidden=1 - sum(cost.stall_s for cost in costs) / busy if busy else None,
        )


def _on_demand(device: torch.device) -> CopyEngine:
    return OnDemandEngine(copy_engine_for(device))


def variants(base: SlimConfig, blocks: int, cuda: bool) -> dict[str, SlimConfig]:
    """Name -> config. The second keeps all but a block or two of each stage and never swaps: the manager's own cost."""
    never = base.with_changes(active=1 - 1 / blocks, gamma=0.0)
    half = base.with_changes(active=0.5)
    found = {
        "ragged": base,
        "managed, nothing swaps": never,
        "half active, nothing swaps": half.with_changes(gamma=0.0),
        "half active": half,
        "half active, every step": half.with_changes(refresh=1, gamma=1.0),
    }
    return found | ({"half active, every step, on demand": found["half active, every step"]} if cuda else {})


def random_model(shape: ModelShape, device: torch.device, dtype: torch.dtype) -> Any:
    """A Llama of `shape` with random weights."""
    config = LlamaConfig(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim, max_position_embeddings=shape.context, tie_word_embeddings=shape.tied,
        initializer_range=0.05, attn_implementation="sdpa",
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            return LlamaForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(before)


@torch.inference_mode()
def measure(model: Any, base: SlimConfig, tokens: int, steps: int) -> tuple[list[Row], dict[str, float]]:
    """A row per cache, and the hidden share of the transfers over each of `LINKS` by the simulated clock."""
    device = model.device
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(3, model.config.vocab_size, (1, tokens), generator=draw).to(device)
    answer = torch.randint(3, model.config.vocab_size, (steps + 4, 1, 1), generator=draw).to(device)
    shape = ModelShape.of(model.config)
    full_bytes = 2 * shape.kv_width * shape.layers * tokens * model.dtype.itemsize
    pool = HostPool(pinned=device.type == "cuda")
    kept = min(step.budget_tokens(tokens) for step in base.steps) // base.block_size
    runners = [
        Runner(name, model, config, ids, steps + 8, pool)
        for name, config in variants(base, kept, device.type == "cuda").items()
    ]
    for number, token in enumerate(answer):
        for runner in runners if number % 2 else reversed(runners):
            runner.step(token)
    for runner in runners:
        del runner.times[:4], runner.cpu_times[:4]
    rows = [runner.row(runners[0], full_bytes) for runner in runners]
    busiest = runners[4]
    layer_s = rows[0].step_ms / 1000 / shape.layers
    hidden = {name: replay(busiest.events, steps, layer_s, Link(bandwidth)).hidden for name, bandwidth in LINKS.items()}
    for runner in runners:
        runner.cache.close()
    return rows, hidden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model to load; default: random weights of --shape")
    parser.add_argument("--shape", choices=["small", *KNOWN], default="small", help="dimensions of the random weights")
    parser.add_argument("--prune", help="prune steps LAYER:KEEP,...; default: the default preset")
    parser.add_argument("--tokens", type=int, default=8192, help="prompt length")
    parser.add_argument("--steps", type=int, default=200, help="decode steps measured")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    device = resolve_device(options.device)
    if options.model:
        model = load_model(options.model, options.device, options.dtype).model
    else:
        shape = SMALL if options.shape == "small" else KNOWN[options.shape].shape
        model = random_model(shape, device, resolve_dtype(options.dtype, device))
    layers = model.config.num_hidden_layers
    base = SlimConfig.preset(DEFAULT_PRESET, layers)
    if options.prune:
        base = base.with_changes(steps=parse_steps(options.prune))
    rows, hidden = measure(model, base, options.tokens, options.steps)
    steps = ",".join(f"{step.layer}:{step.keep}" for step in base.steps)
    print(f"{options.tokens:,} tokens, {layers} layers, {steps}, {model.dtype}, {device}, {options.steps} steps")
    heads = (
        ("ms/step", 9),
        ("ratio", 8),
        ("IQR", 7),
        ("CPU", 7),
        ("device", 13),
        ("host", 13),
        ("of full", 9),
        ("swaps", 7),
    )
    print("".join([f"{'cache':36}", *(f"{head:>{width}}" for head, width in heads), f"{'hidden':>8}"]))
    for row in rows:
        hidden_share = "-" if row.hidden is None else f"{row.hidden:.1%}"
        print(
            f"{row.cache:36}{row.step_ms:9.2f}{row.ratio:8.3f}{row.ratio_iqr:7.3f}{row.cpu_ratio:7.3f}{row.device_bytes:13,}"
            f"{row.host_bytes:13,}{row.of_full:9.1%}{row.swaps:7}{hidden_share:>8}"
        )
    print("simulated, every step: " + ", ".join(f"{name} {share:.1%} hidden" for name, share in hidden.items()))
    if options.json:
        data = {
            "tokens": options.tokens, "layers": layers, "config": base.to_dict(), "dtype": str(model.dtype),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(), "steps": options.steps, "rows": [asdict(row) for row in rows],
            "simulated_hidden": hidden,
        }  # fmt: skip
        options.json.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
