"""Milliseconds a decoded token against what memory allows: `python -m benchmarks.decode_roofline`, `--json FILE`.

The floor of a token is the bytes that it must read, every weight but those of the embedding and every key and value,
over the rate of a large copy measured in the same process. Variants: full and balanced, by CUDA graph where the device
has one; balanced with half of the kept blocks on the host ("managed"), where the slowest step of every stretch between
two looks at the working set is a swap's; full and balanced launched by the host ("eager"); and stock `generate`, with a
growing cache and, where that works, with a static one and compilation. Each reads the same random prompt. What a
session pays once, a capture or a compilation, is in the warm-up.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch

from sliminfer.commands.options import write_json
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.meters import synchronize
from sliminfer.evaluate.bench import TokenClock, random_model, random_prompt, time_ours
from sliminfer.evaluate.provenance import provenance
from sliminfer.model.loading import LoadedModel
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import SlimConfig

# The first tokens after a prompt are not counted: clocks, caches and the first lengths settle there.
SETTLE = 4
VARIANTS = ("full", "balanced", "managed", "full eager", "balanced eager", "stock", "stock static")


@dataclass(frozen=True)
class Row:
    """One variant behind one length.

    Attributes:
        ms: median of a token, `least` and `most` over the counted tokens.
        floor_ms: bytes of weights, keys and values over the measured copy rate.
        capture_s: what the first answer took longer than the second.
        how: how the tokens were decoded.
        swap_ms: median of the slowest step of each stretch between two looks at the working set, where there is one.
        tokens_agree: share of the eager variant's ids that are the graph's, for the variants that have a twin.
    """

    shape: str
    tokens: int
    variant: str
    ms: float
    least: float
    most: float
    floor_ms: float
    capture_s: float
    how: str
    ids: tuple[int, ...]
    swap_ms: float | None = None
    tokens_agree: float | None = None


def copy_rate(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes, the best of several."""
    count = (1 << 30) if device.type == "cuda" else (1 << 26)
    source, target = (torch.empty(count, dtype=torch.uint8, device=device).fill_(value) for value in (1, 2))
    best = float("inf")
    for _ in range(10):
        synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        best = min(best, time.perf_counter() - start)
    return 2 * count / best


def weights_read(loaded: LoadedModel) -> int:
    """Bytes of weights that a token reads: all but an embedding that is no head as well."""
    model: Any = loaded.model
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    total = sum(each.nbytes for each in model.parameters())
    return total if embedding.data_ptr() == head.data_ptr() else total - embedding.nbytes


def ours(engine: SlimEngine, config: SlimConfig | None, prompt: Prompt, new: int) -> tuple[list[float], int, str, Any]:
    """Times of the tokens in seconds, bytes of KV on the device, how they were decoded, and the ids."""
    metrics = time_ours(engine, prompt, config, new, "auto")[3]
    return list(metrics.token_at), metrics.prompt_kv.total_device, metrics.decoding, metrics.token_ids


def eager(run: Callable[[], Any], loaded: LoadedModel) -> Any:
    """`run` without graphs: a hook on the head is reason enough for the engine to launch every step itself."""
    head: Any = loaded.model.get_output_embeddings()  # type: ignore[operator]
    handle = head.register_forward_hook(lambda *_: None)
    try:
        return run()
    finally:
        handle.remove()


@torch.inference_mode()
def stock(loaded: LoadedModel, prompt: Prompt, new: int, **options: Any) -> tuple[list[float], int, str, Any]:
    """As `ours`, by stock `generate` with `options`."""
    ids = torch.tensor([prompt.ids], device=loaded.device)
    clock = TokenClock()
    model: Any = loaded.model
    synchronize(loaded.device)
    start = time.perf_counter()
    found = model.generate(
        ids, max_new_tokens=new, min_new_tokens=new, do_sample=False, pad_token_id=0, streamer=clock, **options
    )
    shape = loaded.shape
    kv = 2 * shape.layers * shape.kv_heads * shape.head_dim * len(prompt) * model.dtype.itemsize
    return [at - start for at in clock.at[1:]], kv, "generate", tuple(found[0, len(prompt) :].tolist())


def measure(loaded: LoadedModel, shape: str, tokens: int, variants: list[str], new: int, rate: float) -> list[Row]:
    """A row for each variant that runs; one that fails says so and is left out."""
    engine, prompt = SlimEngine(loaded), random_prompt(loaded, tokens)
    config = SlimConfig.preset("balanced", loaded.shape.layers)
    runs: dict[str, Callable[[], Any]] = {
        "full": lambda: ours(engine, None, prompt, new),
        "balanced": lambda: ours(engine, config, prompt, new),
        "managed": lambda: ours(engine, config.with_changes(active=0.5), prompt, new),
        "full eager": lambda: eager(lambda: ours(engine, None, prompt, new), loaded),
        "balanced eager": lambda: eager(lambda: ours(engine, config, prompt, new), loaded),
        "stock": lambda: stock(loaded, prompt, new),
        "stock static": lambda: stock(loaded, prompt, new, cache_implementation="static"),
    }
    rows: dict[str, Row] = {}
    for variant in variants:
        try:
            first, *_ = runs[variant]()
            at, kv, how, ids = runs[variant]()
        except Exception as error:  # one variant that does not run costs only itself
            print(f"{variant} behind {tokens:,} tokens failed: {' '.join(str(error).split())[:200]}")
            continue
        steps = [1000 * (b - a) for a, b in pairwise(at)][SETTLE:]
        twin = rows.get(variant.removesuffix(" eager")) if variant.endswith(" eager") else None
        stretches = [steps[at : at + config.refresh] for at in range(0, len(steps), config.refresh)]
        agree = None if twin is None else statistics.mean(a == b for a, b in zip(twin.ids, ids, strict=True))
        rows[variant] = Row(
            shape=shape,
            tokens=tokens,
            variant=variant,
            ms=statistics.median(steps),
            least=min(steps),
            most=max(steps),
            floor_ms=1000 * (weights_read(loaded) + kv) / rate,
            capture_s=(first[-1] - first[0]) - (at[-1] - at[0]),
            how=how,
            ids=ids,
            swap_ms=statistics.median(map(max, stretches)) if variant == "managed" else None,
            tokens_agree=agree,
        )
        print_row(rows[variant])
    return list(rows.values())


def print_row(row: Row) -> None:
    swap = "" if row.swap_ms is None else f"  swapping {row.swap_ms:.2f} ms ({row.swap_ms / row.ms:.2f} of the median)"
    agree = "" if row.tokens_agree is None else f"  ids agree {row.tokens_agree:.2f}"
    print(
        f"{row.shape:<14}{row.tokens:>8,} {row.variant:<15}{row.ms:7.2f} ms ({row.least:.2f} to {row.most:.2f})"
        f"  floor {row.floor_ms:.2f}  over {row.ms / row.floor_ms:.2f}  first +{row.capture_s:.2f} s"
        f"  {row.how}{swap}{agree}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="llama-3.1-8b")
    parser.add_argument("--tokens", default="8192,32768", help="prompt lengths")
    parser.add_argument("--new-tokens", type=int, default=68)
    parser.add_argument("--variants", default=",".join(VARIANTS[:-1]), help=f"of {', '.join(VARIANTS)}")
    parser.add_argument("--json", help="save the figures here")
    chosen = parser.parse_args()
    loaded = random_model(chosen.shape)
    rate = copy_rate(loaded.device)
    print(f"copy {rate / 1e9:,.0f} GB/s, weights a token {weights_read(loaded) / 1e9:.2f} GB")
    rows: list[Row] = []
    for tokens in map(int, chosen.tokens.split(",")):
        rows += measure(loaded, chosen.shape, tokens, chosen.variants.split(","), chosen.new_tokens, rate)
        if chosen.json:
            found = [asdict(row) for row in rows]
            write_json({"provenance": provenance(loaded), "copy_bytes_per_s": rate, "rows": found}, chosen.json)


if __name__ == "__main__":
    main()
