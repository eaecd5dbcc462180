"""What each method would bring on models of 8B, 70B and 405B: the FLOP model, and selection timed on this device.

    python benchmarks/large_models.py --page docs/comparison.md --json large_models.json

A draft is the model of its family that its authors take: 1B for 8B, 8B for 70B and 405B. On a GPU the choosing itself
is timed on random queries and keys of the model's own shape, a draft's scoring with them, and the search of BM25 on the
processor; the prefill's products are taken at the rate that this GPU reaches on a large product, times the number of
GPUs that hold the model. Without a GPU the columns of times stay empty: a processor's say nothing of a GPU's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sliminfer.engine.draft import strongest
from sliminfer.engine.meters import synchronize
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import prefill_flops
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors import Attention, PromptView, PruneView, make_selector, published, selector_class
from sliminfer.selectors.budget import at_flop_budget
from sliminfer.selectors.sources import Drafting, Retrieval

BEGIN, END = "<!-- large models: begin -->", "<!-- large models: end -->"  # what is between them is replaced
QUESTION = 64  # tokens of the question with what a template adds
TARGET = 3.0
METHODS = (
    "sliminfer", "sliminfer-draft", "self-draft", "specprefill", "bm25", "claa", "asl", "fastkv", "gemfilter",
)  # fmt: skip
SMALL = ModelShape(16, 2048, 8192, 32, 8, 64, 128256, 131072, True)
MIDDLE = ModelShape(32, 4096, 14336, 32, 8, 128, 128256, 131072, False)


@dataclass(frozen=True)
class Size:
    """A model of Llama 3's shapes, the draft it would have, and the GPUs that hold it."""

    name: str
    shape: ModelShape
    draft_name: str
    draft: ModelShape
    gpus: int


SIZES = (
    Size("8B", MIDDLE, "1B", SMALL, 1),
    Size("70B", ModelShape(80, 8192, 28672, 64, 8, 128, 128256, 131072, False), "8B", MIDDLE, 4),
    Size("405B", ModelShape(126, 16384, 53248, 128, 8, 128, 128256, 131072, False), "8B", MIDDLE, 8),
)


@dataclass(frozen=True)
class Row:
    """One method on one model at one length. Times in seconds, None without a GPU.

    Attributes:
        flops: FLOP speed-up of the published setting, the draft included.
        draft_share: the draft's FLOPs as a share of the full prefill's.
        kept: at a total FLOP speed-up of 3x, the share of the prompt that each layer reads, on average over layers;
            None where 3x is out of reach.
        select_s: choosing, a draft's scoring and search included, its reading apart.
        ttft: the speed-up of the time to first token that products at this device's rate and `select_s` give.
    """

    model: str
    draft: str
    tokens: int
    method: str
    flops: float
    draft_share: float
    kept: float | None
    select_s: float | None
    ttft: float | None


def rows(lengths: list[int], device: torch.device) -> Iterator[Row]:
    """Every method on every model at every length."""
    rate = _rate(device) if device.type == "cuda" else None
    for size in SIZES:
        for tokens in lengths:
            question = (tokens - QUESTION, tokens)
            full = prefill_flops(size.shape, (tokens,) * size.shape.layers)
            for method in METHODS:
                config = published(method, size.shape.layers)
                window = BlockMap.of(tokens, config, question).window
                source = selector_class(method).source(config)
                beside = 0.0 if source is None else source.flops(size.draft, tokens, window)
                spent = _spent(config, size.shape, tokens, question) + beside
                select_s = ttft = None
                if rate is not None:
                    select_s = _selection_s(config, size, tokens, question, device)
                    share_of_one = beside / rate  # a draft is read by one GPU
                    ttft = (full / (rate * size.gpus)) / (
                        (spent - beside) / (rate * size.gpus) + share_of_one + select_s
                    )
                drafted = source is not None and source.needs_draft
                yield Row(
                    size.name, size.draft_name if drafted else "", tokens, method, full / spent, beside / full,
                    _kept(config, size.shape, tokens, question, beside / full), select_s, ttft,
                )  # fmt: skip


def _spent(config: SlimConfig, shape: ModelShape, tokens: int, question: Span) -> float:
    plan = selector_class(config.method).plan(config, BlockMap.of(tokens, config, question), shape.layers)
    return prefill_flops(shape, plan.layer_runs, plan.scored)


def _kept(config: SlimConfig, shape: ModelShape, tokens: int, question: Span, beside: float) -> float | None:
    left = 1.0 / TARGET - beside
    if left <= 0.0:
        return None
    try:
        solved = at_flop_budget(config, shape, tokens, 1.0 / left, question)
    except ConfigError:
        return None
    runs = selector_class(config.method).plan(solved, BlockMap.of(tokens, solved, question), shape.layers).layer_runs
    return sum(runs[-shape.layers :]) / (shape.layers * tokens)


def _selection_s(config: SlimConfig, size: Size, tokens: int, question: Span, device: torch.device) -> float:
    """Seconds of all choices of one prefill under `config`, on random queries and keys."""
    shape, method = size.shape, selector_class(config.method)
    prompt = PromptView(BlockMap.of(tokens, config, question), question, outside=torch.rand(tokens, device=device))
    keys = torch.randn(shape.kv_heads, tokens, shape.head_dim, device=device, dtype=torch.bfloat16)
    queries = torch.randn(shape.heads, prompt.blocks.window, shape.head_dim, device=device, dtype=torch.bfloat16)

    def choose() -> None:
        selector, alive = make_selector(config, prompt), torch.arange(tokens, device=device)
        for step in config.steps:
            count = len(alive)
            layer = Attention(lambda window: queries[:, -window:], lambda count=count: keys[:, :count])
            behind = (layer,) * max(1, method.looks_back(config, step.layer))
            found = selector.select(PruneView(step, prompt, alive, (layer, layer), behind))
            alive = alive if found is None else found.kept

    seconds = _median_s(choose, device)
    source = method.source(config)
    if isinstance(source, Drafting):
        draft = size.draft
        asks = torch.randn(draft.heads, prompt.blocks.window, draft.head_dim, device=device, dtype=torch.bfloat16)
        read = torch.randn(draft.kv_heads, tokens, draft.head_dim, device=device, dtype=torch.bfloat16)
        scored = len(source.scoring_layers(draft.layers))
        seconds += scored * _median_s(lambda: strongest(asks, read, source.pool), device)
        said = scored * _median_s(lambda: strongest(asks[:, -1:], read, source.pool), device)
        # Each token said reads the draft's weights once: 2 bytes each at the rate of the device's memory.
        said += 2.0 * draft.params / _bandwidth(device)
        seconds += source.look_ahead * said
    elif isinstance(source, Retrieval):
        seconds += _search_s(tokens)
    return seconds


def _search_s(tokens: int) -> float:
    """Seconds of BM25 over a text of about `tokens` tokens of four letters."""
    import bm25s

    words = [f"w{(7 * at) % 5003:04d}" for at in range(tokens)]
    texts = [" ".join(words[at : at + 64]) for at in range(0, tokens, 64)]

    def search() -> None:
        cut = bm25s.tokenize(texts, stopwords=None, return_ids=False, show_progress=False)
        index = bm25s.BM25()
        index.index(cut, show_progress=False)
        index.get_scores(words[:16])

    return _median_s(search, torch.device("cpu"))


def _median_s(call: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    taken = []
    for _ in range(rounds + 2):
        synchronize(device)
        began = time.perf_counter()
        call()
        synchronize(device)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])


def _rate(device: torch.device) -> float:
    """FLOPs a second of a large bf16 product on this device."""
    one = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    return 2.0 * 8192**3 / _median_s(lambda: one @ one, device)


def _bandwidth(device: torch.device) -> float:
    """Bytes a second that this device reads."""
    many = torch.ones(1 << 28, device=device, dtype=torch.bfloat16)
    return many.nbytes / _median_s(lambda: many.sum(), device)


def table(found: list[Row], device: str) -> str:
    """The rows in Markdown, by model and length."""
    timed = any(row.ttft is not None for row in found)
    lines = [
        f"Llama 3 shapes, question of {QUESTION} tokens, published settings; "
        + (f"choosing timed on one {device}." if timed else "times are for a machine with a GPU to fill in."),
        "",
        "| model | tokens | method | FLOPs, published | of that the draft | read at 3x in all | choosing, ms | TTFT |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in found:
        kept = "out of reach" if row.kept is None else f"{row.kept:.1%}"
        select = "" if row.select_s is None else f"{1000 * row.select_s:.1f}"
        ttft = "" if row.ttft is None else f"{row.ttft:.2f}x"
        draft = f"{row.draft_share:.1%} ({row.draft})" if row.draft else ""
        cells = [row.model, f"{row.tokens:,}", f"`{row.method}`", f"{row.flops:.2f}x", draft, kept, select, ttft]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def put(text: str, page: Path) -> None:
    """Put the table between the marks of `page`."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN, 1)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END, 1)[1]}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", default="8192,32768,131072")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    with torch.inference_mode():
        found = list(rows([int(part) for part in asked.lengths.split(",")], device))
    text = table(found, name)
    if asked.json is not None:
        asked.json.write_text(json.dumps({"device": name, "rows": [asdict(row) for row in found]}, indent=2) + "\n")
    if asked.page is not None:
        put(text, asked.page)
    print(text)


if __name__ == "__main__":
    main()
