"""Time to first token against prompt length: `python -m benchmarks.growth` prints the fit, `--json FILE` saves it.

Full and pruned run in turn from 1K to 32K tokens. The time of each is fitted by a*N + b*N^2, the form that
matrices and attention have; residuals in percent of the reading show where anything else comes in.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from sliminfer.commands.options import write_json
from sliminfer.engine.engine import SlimEngine
from sliminfer.evaluate.bench import random_model, random_prompt, time_ours
from sliminfer.evaluate.provenance import provenance
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET

LENGTHS = "1024,2048,4096,8192,16384,32768"
# Above this one reading is long enough to even out what else the machine does.
ONCE_FROM = 16_384


def fit(tokens: list[int], seconds: list[float]) -> dict[str, Any]:
    """Least squares of a*N + b*N^2 in relative error; a in seconds per token, b in seconds per token squared."""
    n, t = np.array(tokens, float), np.array(seconds)
    (a, b), *_ = np.linalg.lstsq(np.stack([n / t, n**2 / t], 1), np.ones(len(t)), rcond=None)
    return {"a": float(a), "b": float(b), "residuals": ((a * n + b * n**2) / t - 1).tolist()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", default="qwen2.5-0.5b")
    parser.add_argument("--lengths", default=LENGTHS)
    parser.add_argument("--rounds", type=int, default=3, help=f"readings, the best counts; 1 from {ONCE_FROM:,} tokens")
    parser.add_argument("--json", help="save the figures here")
    chosen = parser.parse_args()
    loaded = random_model(chosen.shape)
    engine = SlimEngine(loaded)
    lengths = [int(part) for part in chosen.lengths.split(",")]
    configs = {"full": None, "pruned": SlimConfig.preset(DEFAULT_PRESET, loaded.layers, loaded.name)}
    best: dict[str, list[float]] = {variant: [] for variant in configs}
    for config in configs.values():
        time_ours(engine, random_prompt(loaded, min(lengths)), config, 1, "auto")  # warm-up
    for tokens in lengths:
        prompt = random_prompt(loaded, tokens)
        readings: dict[str, list[float]] = {variant: [] for variant in configs}
        for _ in range(1 if tokens >= ONCE_FROM else chosen.rounds):
            for variant, config in configs.items():
                readings[variant].append(time_ours(engine, prompt, config, 1, "auto")[0])
        for variant, seconds in readings.items():
            best[variant].append(min(seconds))
    rows = []
    for variant, seconds in best.items():
        found = fit(lengths, seconds)
        rows.append({"variant": variant, "tokens": lengths, "ttft_s": seconds, **found})
        print(f"{variant}: {found['a'] * 1e6:.1f} us * N + {found['b'] * 1e9:.3f} ns * N^2")
        for tokens, time_s, residual in zip(lengths, seconds, found["residuals"], strict=True):
            print(f"{tokens:>8,} tokens {time_s:9.3f} s   fit {100 * residual:+6.1f} %")
    if chosen.json:
        write_json({"provenance": provenance(loaded), "shape": chosen.shape, "rows": rows}, chosen.json)


if __name__ == "__main__":
    main()
