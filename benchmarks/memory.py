"""Peak memory above the loaded model: `python -m benchmarks.memory` prints a table, `--json FILE` saves it.

Each variant runs in a process of its own, once on a short prompt so that the libraries have what they keep, and
once at each length; the figure is the process's high-water mark above what it held before the run. Two lengths
give the bytes that a further token takes, and with them the memory of a prompt of 128K tokens, which
`--tokens 131072 --variants full` runs (about an hour on two cores).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from sliminfer.commands.options import write_json
from sliminfer.engine.engine import SlimEngine
from sliminfer.evaluate.bench import random_model, random_prompt, time_ours, time_stock
from sliminfer.evaluate.provenance import provenance
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET

VARIANTS = ("hf", "full", "pruned")
LONGEST = 131_072
TARGET = 0.60  # of the stock peak, for the full side


def run_one(shape: str, variant: str, tokens: int) -> dict[str, Any]:
    """One variant at one length in this process: bytes and seconds."""
    loaded = random_model(shape)
    engine = SlimEngine(loaded)
    config = SlimConfig.preset(DEFAULT_PRESET, loaded.layers, loaded.name) if variant == "pruned" else None
    for count in (512, tokens):
        prompt = random_prompt(loaded, count)
        read = time_stock(loaded, prompt, 1) if variant == "hf" else time_ours(engine, prompt, config, 1, "auto")
    return {
        "variant": variant,
        "tokens": tokens,
        "peak_bytes": read[2],
        "ttft_s": read[0],
        "weights_bytes": loaded.weights_bytes,
        "provenance": provenance(loaded),
    }


def in_its_own_process(shape: str, variant: str, tokens: int) -> dict[str, Any]:
    """`run_one` in a fresh interpreter."""
    command = [sys.executable, "-m", "benchmarks.memory", "--shape", shape, "--variants", variant]
    done = subprocess.run([*command, "--tokens", str(tokens), "--here"], stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def slopes(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each variant with two lengths or more: bytes per token between the outer two, and the peak at 128K."""
    found = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = sorted((row for row in rows if row["variant"] == variant), key=lambda row: row["tokens"])
        if len(own) < 2:
            continue
        first, last = own[0], own[-1]
        slope = (last["peak_bytes"] - first["peak_bytes"]) / (last["tokens"] - first["tokens"])
        total = last["weights_bytes"] + last["peak_bytes"] + slope * (LONGEST - last["tokens"])
        found.append({"variant": variant, "bytes_per_token": slope, "total_bytes_at_128k": total})
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="qwen2.5-0.5b")
    parser.add_argument("--tokens", default="8192,32768", help="prompt lengths")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="which of hf, full and pruned")
    parser.add_argument("--here", action="store_true", help="one variant at one length, in this process")
    parser.add_argument("--json", help="save the figures here")
    chosen = parser.parse_args()
    lengths, variants = [int(part) for part in chosen.tokens.split(",")], chosen.variants.split(",")
    if chosen.here:
        print(json.dumps(run_one(chosen.shape, variants[0], lengths[0])))
        return
    rows: list[dict[str, Any]] = []
    for tokens in lengths:
        stock = None
        for variant in variants:
            row = in_its_own_process(chosen.shape, variant, tokens)
            origin = row.pop("provenance")
            rows.append(row)
            stock = row["peak_bytes"] if variant == "hf" else stock
            share = "" if stock is None else f"{row['peak_bytes'] / stock:7.2f} of stock (full: at most {TARGET})"
            print(
                f"{tokens:>8,} {variant:<8}{row['peak_bytes'] / 1e6:10.1f} MB {row['ttft_s']:8.1f} s {share}",
                flush=True,
            )
    grown = slopes(rows)
    for line in grown:
        whole = f"{line['total_bytes_at_128k'] / 1e9:.2f} GB with weights at 131,072 tokens"
        print(f"{line['variant']:<8} {line['bytes_per_token'] / 1e3:.1f} kB a token, {whole}")
    if chosen.json:
        write_json({"provenance": origin, "shape": chosen.shape, "rows": rows, "growth": grown}, chosen.json)


if __name__ == "__main__":
    main()
