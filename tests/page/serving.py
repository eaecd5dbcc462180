"""A page served on a free port for the tests, with a tiny random model: fast, and nothing is mocked."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tests.tiny import tiny_model, tiny_tokenizer
from viz.figures.stored import FOLDER
from viz.page.examples import Example, Suggestion
from viz.page.serve import open_site, serve
from viz.page.site import Site
from viz.page.tab import Tab
from viz.page.tabs import TABS

LINE = "On day {n} the keeper of the north tower wrote the weather down and lit the lamp at nine. "
FACT = "The code of the gate is 48213. "
QUESTION = "What is the code of the gate?"
LAYERS = 12
BENCH = Path(__file__).resolve().parents[1] / "figures" / "bench_demo_256.json"


@dataclass(frozen=True)
class Served:
    """A page that is up: its address and what it shares among visitors."""

    url: str
    site: Site


def long_text(lines: int) -> str:
    """A text of that many lines, with one fact in the middle."""
    body = [LINE.format(n=n) for n in range(lines)]
    return "".join([*body[: lines // 2], FACT, *body[lines // 2 :]])


def write_model(folder: Path) -> Path:
    """A tiny random Llama with its tokenizer as a folder that `load_model` reads.

    Its answers go on to their limit: which token a random model is surest of depends on the processor, so that on one
    of them the first token could end the answer.
    """
    model, tokenizer = tiny_model(layers=LAYERS, max_position_embeddings=65536), tiny_tokenizer()
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0  # a logit of 0 is never the largest of 320
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_examples(folder: Path) -> tuple[Example, ...]:
    """Two examples: a short one of about 650 tokens, and a long one that takes seconds to read."""
    made = []
    for name, lines in (("tower", 20), ("archive", 220)):
        text = long_text(lines)
        path = folder / f"{name}.txt"
        path.write_text(text, encoding="utf-8")
        start = text.index(FACT)
        suggestion = Suggestion(QUESTION, "48213", ((start, start + len(FACT)),))
        other = Suggestion(f"Who wrote the {name} log?", "the keeper", ())
        made.append(Example(name, f"The {name} log", path, (suggestion, other)))
    return tuple(made)


def write_benchmarks(folder: Path) -> Path:
    """One evaluation and one timing, as the commands wrote them."""
    folder.mkdir()
    for kept in (FOLDER / "eval_demo_1k.json", BENCH):
        shutil.copy(kept, folder)
    return folder


def free_port() -> int:
    """A port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(folder: Path, tabs: Sequence[type[Tab]] = TABS) -> Iterator[Served]:
    """Serve the page from `folder`, with `tabs`, until the block ends."""
    (folder / "model").mkdir()
    site = open_site(str(write_model(folder / "model")), "cpu", "float32", "paper", write_examples(folder))
    site.start = replace(site.start, max_new_tokens=8)
    site.probe_flops, site.patience_s = 1e9, 0.2
    site.benchmarks = write_benchmarks(folder / "benchmarks")
    page = serve(site, "127.0.0.1", free_port(), tabs=tabs, prevent_thread_lock=True)
    try:
        yield Served(page.local_url, site)
    finally:
        page.close()
        site.shelf.close()
