"""A follow-up question: time to first token and bytes held, three ways: `python -m benchmarks.reading`, `--json FILE`.

A full model whose KV of the document was kept answers fastest and holds all of it; a pruned one holds a reading and
chooses anew; or the pruned one reads the document again. The weights are random, of a public shape: time and memory do
not depend on them. On an H100:

    python -m benchmarks.reading --preset paper --shape llama-3.1-8b --lengths 32768,131072 --json reading_h100.json
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from statistics import median

from sliminfer.commands.options import write_json
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Finished, Side
from sliminfer.engine.reading import Reading
from sliminfer.engine.request import PromptRequest, Pruning, Sampling
from sliminfer.evaluate.bench import random_model, random_prompt
from sliminfer.evaluate.provenance import provenance
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.presets import DEFAULT_PRESET

QUESTION_TOKENS = 32


@dataclass(frozen=True)
class Way:
    """One way of answering a follow-up: median seconds to its first token, bytes held between two questions."""

    tokens: int
    way: str
    ttft_s: float
    held_bytes: int


def asking(prompt: Prompt, turn: int, config: SlimConfig) -> PromptRequest:
    """`prompt` with another question at its end for every `turn`."""
    start = prompt.question[0]
    asked = prompt.ids[start + turn % QUESTION_TOKENS :] + prompt.ids[start : start + turn % QUESTION_TOKENS]
    return PromptRequest(replace(prompt, ids=prompt.ids[:start] + asked), Sampling(1, ignore_eos=True), Pruning(config))


def ways(engine: SlimEngine, tokens: int, config: SlimConfig, rounds: int) -> list[Way]:
    """All three, in turns."""
    prompt = random_prompt(engine.loaded, tokens)
    readings: dict[Side, Reading] = {}
    sides: tuple[Side, Side] = ("full", "pruned")
    for side in sides:
        readings[side] = engine.read(asking(prompt, 0, config), side)
    seconds: dict[str, list[float]] = {}
    for turn in range(1, rounds + 1):
        request = asking(prompt, turn, config)
        runs = {
            "full with prefix": engine.ask(readings["full"], request, "full"),
            "pruned with reading": engine.ask(readings["pruned"], request),
            "pruned afresh": engine.run(request),
        }
        for way, events in runs.items():
            *_, end = events
            if not isinstance(end, Finished):
                raise SystemExit(getattr(end, "message", "The run was stopped."))
            seconds.setdefault(way, []).append(end.metrics.ttft_s)
    held = {"full with prefix": readings["full"].nbytes, "pruned with reading": readings["pruned"].nbytes}
    return [Way(tokens, way, median(took), held.get(way, 0)) for way, took in seconds.items()]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="qwen2.5-0.5b")
    parser.add_argument("--lengths", default="8192", help="prompt lengths, comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--preset", default=DEFAULT_PRESET)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json")
    args = parser.parse_args()
    loaded = random_model(args.shape, args.device)
    engine, config = SlimEngine(loaded), SlimConfig.preset(args.preset, loaded.layers)
    found: list[Way] = []
    for tokens in map(int, args.lengths.split(",")):
        here = ways(engine, tokens, config, args.rounds)
        found += here
        whole, afresh = here[0].held_bytes, here[-1].ttft_s
        for each in here:
            print(
                f"{tokens:>7,} tokens  {each.way:<20} TTFT {each.ttft_s:.3f} s ({each.ttft_s / afresh:.2f} of afresh)  "
                f"holds {each.held_bytes / 1e6:8.1f} MB ({each.held_bytes / whole:.0%} of the full KV)"
            )
    if args.json:
        rows = [asdict(each) for each in found]
        write_json({"provenance": provenance(loaded), "shape": args.shape, "ways": rows}, args.json)


if __name__ == "__main__":
    main()
