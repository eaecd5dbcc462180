"""What a visitor waits for before the first token: `python -m benchmarks.startup` prints it, `--json FILE` saves it.

The import of sliminfer beyond torch and the part of transformers that holds a causal language model; from launch
to a page that answers; the first run after the warm-up against the third; and from a 1 MB document to token ids
with their characters. Each import and each launch is a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from sliminfer.commands.options import write_json
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.evaluate.provenance import provenance
from sliminfer.model.loading import LoadedModel, load_model
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.config import SlimConfig

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"import_s": 1.0, "page_s": 8.0, "first_over_third": 1.2, "tokenize_1mb_s": 1.0}
IMPORT = """
import time, torch
from transformers import AutoTokenizer, DynamicCache, PreTrainedModel, Qwen2ForCausalLM
begun = time.perf_counter()
from sliminfer import RunRequest, SlimConfig, SlimEngine, load_model, slim
print(time.perf_counter() - begun)
"""
MEGABYTE = 1_000_000


def import_seconds() -> float:
    """Seconds that sliminfer's public names add to an interpreter that has torch and transformers."""
    done = subprocess.run([sys.executable, "-c", IMPORT], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return float(done.stdout.split()[-1])


def page_seconds(port: int) -> float:
    """Seconds from the launch of app.py to its page's first answer."""
    begun = time.perf_counter()
    app = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - begun < 120:
            if app.poll() is not None:
                raise SystemExit(f"app.py ended with exit code {app.returncode}: run it by hand to see why.")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    answer.read()
                return time.perf_counter() - begun
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
    finally:
        app.terminate()
        app.wait(30)
    raise SystemExit("The page did not answer within 120 s.")


def document() -> str:
    """1 MB of the examples' text, each repetition with a number of its own."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "assets/examples").glob("*.md")))
    parts, size = [], 0
    while size < MEGABYTE:
        parts.append(f"Part {len(parts)}.\n{text}")
        size += len(parts[-1])
    return "".join(parts)[:MEGABYTE]


def first_runs(loaded: LoadedModel, text: str) -> list[float]:
    """TTFT of the pruned side in the first three runs of an engine that was warmed up."""
    engine = SlimEngine(loaded)
    engine.warm_up()
    request = RunRequest(text, "What is it about?", SlimConfig.preset("paper", loaded.layers), max_new_tokens=1)
    return [RunResult.of(engine.run(request)).finished["pruned"].metrics.ttft_s for _ in range(3)]


def tokenize_seconds(loaded: LoadedModel, text: str) -> float:
    """Seconds from a document to token ids and the characters each stands for."""
    begun = time.perf_counter()
    build_prompt(loaded.tokenizer, text, "What is it about?")
    return time.perf_counter() - begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="readings of each; the median counts")
    parser.add_argument("--port", type=int, default=7877)
    parser.add_argument("--json", help="save the figures here")
    chosen = parser.parse_args()
    rounds = range(chosen.rounds)
    imports = [import_seconds() for _ in rounds]
    pages = [page_seconds(chosen.port + i) for i in rounds]
    loaded, text = load_model(), document()
    runs = first_runs(loaded, text[:8_000])  # the first thing that this process computes
    figures: dict[str, Any] = {
        "import_s": statistics.median(imports),
        "page_s": statistics.median(pages),
        "first_over_third": runs[0] / runs[2],
        "tokenize_1mb_s": statistics.median(tokenize_seconds(loaded, text) for _ in rounds),
    }
    for name, value in figures.items():
        print(f"{name:<18}{value:8.2f}   at most {TARGETS[name]}")
    if chosen.json:
        rows = [{"figure": name, "value": value, "target": TARGETS[name]} for name, value in figures.items()]
        write_json({"provenance": provenance(loaded), "rows": rows}, chosen.json)


if __name__ == "__main__":
    main()
