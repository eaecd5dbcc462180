"""How much of what the full model's answer attends to each method keeps, layer by layer (the oracle of CLAA).

    torchrun --nproc_per_node 8 benchmarks/answer_overlap.py --model MODEL --draft DRAFT --suite multikey,ruler/vt \
        --context 4096 --examples 10 --match-flops 2,2.75 --methods sliminfer,specprefill,claa,asl --json overlap.json

Every method is solved for the same FLOPs, a draft's included. Forced positions count nowhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sliminfer.commands import measuring
from sliminfer.commands.eval import method_configs
from sliminfer.diffusion.answer import answer_attention, answer_overlap, kept_by_layer
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.plain import plain
from sliminfer.engine.request import PromptRequest
from sliminfer.engine.result import RunResult
from sliminfer.evaluate.evaluate import Variant, item_request, work_list
from sliminfer.schedule.blocks import BlockMap

Found = dict[str, Any]


def overlaps(engine: SlimEngine, ready: PromptRequest, variants: list[Variant]) -> list[Found]:
    """One row for each of `variants` on one prompt: shares by layer."""
    full = RunResult.of(engine.run(ready, "full")).finished["full"].metrics
    answer = [token for token in full.token_ids if token not in engine.loaded.eos] or list(full.token_ids[:1])
    attended = list(answer_attention(engine, ready.prompt, answer))
    rows = []
    for variant in variants:
        asked = ready.under(variant.config)
        result = RunResult.of(engine.run(asked))
        if result.pruned.metrics is None:
            print(f"{variant.label}: {result.pruned.error}", file=sys.stderr)
            continue
        blocks = BlockMap.of(len(ready.prompt), variant.config, ready.prompt.question, ready.pruning.marks)
        forced = [at for block in blocks.forced for at in range(*blocks.span(block))]
        kept = kept_by_layer(result.pruned.pruned, engine.loaded.layers, len(ready.prompt))
        rows.append({"variant": variant.label, **answer_overlap(attended, kept, forced).to_dict()})
    return rows


def averaged(rows: list[Found], layers: int) -> list[Found]:
    """The mean over prompts for each variant, by layer and over the layers where there was a choice."""
    found = []
    for label in dict.fromkeys(row["variant"] for row in rows):
        own, means = [row for row in rows if row["variant"] == label], {}
        for share in ("top", "mass"):
            by_layer = [[row[share][at] for row in own if row[share][at] is not None] for at in range(layers)]
            means[share] = [fmean(values) if values else None for values in by_layer]
            known = [value for value in means[share] if value is not None]
            means[f"{share}_mean"] = fmean(known) if known else None
        found.append({"variant": label, "prompts": len(own), **means})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (
        ("model", None), ("draft", None), ("suite", "multikey"), ("context", "4096"), ("methods", "sliminfer"),
        ("match-flops", "2"), ("device", "auto"), ("dtype", "auto"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", default=default, required=name == "model")
    parser.add_argument("--examples", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, required=True)
    told = parser.parse_args()
    asked = measuring.Asked(
        suite=told.suite, context=told.context, examples=told.examples, seed=told.seed, model=told.model, filler=None,
        data=measuring.DATA, download=False, device=told.device, dtype=told.dtype, attention="auto", packed=False,
        draft=told.draft,
    )  # fmt: skip
    job = measuring.prepare(asked)
    configs = method_configs(told.methods.split(","), None, job.engine.loaded.layers, job.engine.loaded.name)
    variants = {}
    for length in job.contexts:
        solved = [
            measuring.solve(job, f"{name}@{target:g}x", config, length, target)
            for name, config in configs.items()
            for target in measuring.numbers(told.match_flops, "--match-flops")
        ]
        variants[length] = [variant for variant in solved if variant is not None]
    rows = []
    for work in job.shard.mine(work_list(job.suites, variants, job.examples)):
        ready = item_request(job.engine, work.suite.item(work.context, work.index))
        rows += [{"context": work.context, **row} for row in overlaps(job.engine, ready, list(work.variants))]
    rows = [row for part in job.shard.everyone(rows) for row in part]
    if job.shard.first:
        layers = job.engine.loaded.layers
        data = {
            "model": job.engine.loaded.name,
            "draft": told.draft,
            "command": " ".join(sys.argv),
            "results": {
                length: averaged([row for row in rows if row["context"] == length], layers) for length in job.contexts
            },
        }
        told.json.write_text(json.dumps(plain(data), indent=2) + "\n", encoding="utf-8")
        for length, found in data["results"].items():
            for row in found:
                top, mass = (float("nan") if row[n] is None else row[n] for n in ("top_mean", "mass_mean"))
                print(f"{length:,} {row['variant']}: top {top:.3f}, mass {mass:.3f} ({row['prompts']} prompts)")


if __name__ == "__main__":
    main()
