"""Which layers find the evidence, and how much of a prompt must go on so that all of it does.

    torchrun --nproc_per_node 12 benchmarks/layer_scores.py --model MODEL --suite planted,ruler/qa_1,ruler/vt \
        --context 2048 --examples 3 --seed 1001 --json runs/layer_scores.json

Each example is read once, whole. In every layer its blocks are scored as `sliminfer` scores them; a rule makes one
score of those up to a layer, and the share of the prompt down to the evidence's worst block is what the rule needs.
Nothing is pruned, so later layers see what they would not after a step.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sliminfer.commands import measuring, options
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.loop import LayerLoop
from sliminfer.evaluate.evaluate import item_request, work_list
from sliminfer.evaluate.provenance import provenance
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import PruneView, make_selector
from sliminfer.tasks.items import EvalItem

Rule = Callable[[Tensor], Tensor]  # of the scores of the layers so far [layers, blocks] one of each block [blocks]

RULES: Mapping[str, Rule] = {
    "the last two layers, better": lambda scores: scores[-2:].amax(0),
    "all layers, best": lambda scores: scores.amax(0),
    "all layers, mean": lambda scores: scores.mean(0),
    "geometric mean of the best 2": lambda scores: _best(scores, 2),
    "geometric mean of the best 3": lambda scores: _best(scores, 3),
    "geometric mean of the best 6": lambda scores: _best(scores, 6),
}


def _best(scores: Tensor, count: int) -> Tensor:
    found: Tensor = scores.clamp_min(1e-12).log().topk(min(count, len(scores)), 0).values.mean(0).exp()
    return found


@torch.inference_mode()
def needs(engine: SlimEngine, item: EvalItem) -> dict[str, list[float]]:
    """For each rule, the share of the prompt that it needs at layers 1 to L - 1."""
    layers = engine.loaded.layers
    config = SlimConfig(tuple(PruneStep(layer, 1.0) for layer in range(1, layers)), score_layer="own")
    ready = engine.prepare(item_request(engine, item).under(config))
    loop = LayerLoop(engine.loaded.model, config, ready.prompt.question, ready.pruning.evidence)
    found: dict[str, list[float]] = {rule: [] for rule in RULES}
    scores: list[Tensor] = []

    def look(view: PruneView) -> None:
        selector: Any = make_selector(config, view.prompt)
        scores.append(selector.by_layer(view, view.layers[-1]).cpu())
        blocks = view.prompt.blocks
        evidence = sorted({at // blocks.block_size for span in view.prompt.evidence for at in range(*span)})
        for name, rule in RULES.items():
            one = rule(torch.stack(scores)).index_fill(0, selector.forced, 0.0)
            one = torch.maximum(one, selector.spread(one)).index_fill(0, selector.forced, torch.inf)
            place = one.argsort(descending=True, stable=True).argsort()
            found[name].append((int(place[evidence].max()) + 1) / len(blocks))

    ids = torch.tensor([ready.prompt.ids], device=engine.loaded.device)
    with (
        engine.turn.taken(),
        contextlib.closing(loop.run(loop.decoder.embed_tokens(ids), DynamicCache(), look=look)) as run,
    ):
        for _ in run:
            pass
    return found


def summary(found: list[dict[str, list[float]]]) -> list[dict[str, Any]]:
    """One row for each rule and layer: the median need, and the share of the examples that a keep serves."""
    rows = []
    for rule in RULES:
        for layer, values in enumerate(zip(*(each[rule] for each in found), strict=True), start=1):
            served = {f"served_at_{keep:g}": fmean(value <= keep for value in values) for keep in (0.12, 0.25, 0.5)}
            rows.append({"rule": rule, "layer": layer, "needs": median(values), **served})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, kind, usual in (
        ("model", str, "demo"), ("suite", str, "needle,multikey"), ("context", str, "2048"), ("examples", int, 3),
        ("seed", int, 1001), ("device", str, "auto"), ("json", str, "runs/layer_scores.json"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=kind, default=usual)
    told = parser.parse_args()
    asked = measuring.Asked(
        suite=told.suite, context=told.context, examples=told.examples, seed=told.seed, model=told.model, filler=None,
        data=measuring.DATA, download=False, device=told.device, dtype="auto", attention="auto", packed=False,
    )  # fmt: skip
    job = measuring.prepare(asked)
    work = work_list(job.suites, dict.fromkeys(job.contexts, ()), told.examples)
    items = [each.suite.item(each.context, each.index) for each in job.shard.mine(work)]
    mine = [needs(job.engine, item) for item in items if item.evidence]
    found = [each for part in job.shard.everyone(mine) for each in part]
    if job.shard.first:
        data = {"provenance": provenance(job.engine.loaded), "examples": len(found), "rows": summary(found)}
        options.write_json(data, told.json)
        for row in data["rows"]:
            print(f"{row['rule']:32s} layer {row['layer']:2d}: {row['needs']:.2f}", *(
                f"{share:.2f}" for name, share in row.items() if name.startswith("served")
            ))  # fmt: skip


if __name__ == "__main__":
    main()
