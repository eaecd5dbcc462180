"""What each scoring rule would keep at the first prune layer, from one prefill of each example.

All rules see the same queries and keys there, so none needs a run of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from transformers.cache_utils import DynamicCache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.loop import LayerLoop
from sliminfer.errors import MemoryLimitError
from sliminfer.evaluate.evaluate import item_request
from sliminfer.schedule.blocks import MOST_QUERIES, BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors import PruneView, make_selector
from sliminfer.tasks.items import EvalItem


@dataclass(frozen=True)
class Probed:
    """Share of one example's evidence tokens that one rule keeps at the first prune layer."""

    suite: str
    rule: str
    kept: float


def probe(engine: SlimEngine, items: Sequence[EvalItem], rules: Mapping[str, SlimConfig]) -> Iterator[Probed]:
    """The shares of all `items` and `rules`, example by example; items without evidence are passed over.

    Raises:
        SlimError: an example does not fit the model or the memory.
    """
    sides = [
        {label: rule for label, rule in rules.items() if rule.score_layer == layer}
        for layer in ("both", "previous", "own")
    ]
    for item in items:
        for side in filter(None, sides):
            if item.evidence:
                for label, kept in _probe_one(engine, item, side).items():
                    yield Probed(item.suite, label, kept)


@torch.inference_mode()
def _probe_one(engine: SlimEngine, item: EvalItem, rules: Mapping[str, SlimConfig]) -> dict[str, float]:
    """The shares of one item for `rules`, which all read the same layers."""
    any_rule = next(iter(rules.values()))
    window = max([MOST_QUERIES, *(rule.query_window or 0 for rule in rules.values())])  # whatever a rule asks for
    config = SlimConfig(any_rule.steps[:1], score_layer=any_rule.score_layer, query_window=window)
    ready = engine.prepare(item_request(engine, item).under(config))
    loop = LayerLoop(engine.loaded.model, config, ready.prompt.question, ready.pruning.evidence)
    embedded = loop.decoder.embed_tokens(torch.tensor([ready.prompt.ids], device=engine.loaded.device))
    found: dict[str, float] = {}
    try:
        with engine.turn.taken():
            run = loop.run(embedded, DynamicCache(), look=lambda view: found.update(kept_shares(view, rules)))
            with contextlib.closing(run):
                while not found:  # nothing after the prune layer is needed
                    next(run)
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise MemoryLimitError(
            f"An example of {len(ready.prompt):,} tokens does not fit in memory: lower --context."
        ) from error
    return found


def kept_shares(view: PruneView, rules: Mapping[str, SlimConfig]) -> dict[str, float]:
    """Share of the evidence's tokens that each of `rules` keeps of what `view` shows."""
    evidence = torch.tensor([i for span in view.prompt.evidence for i in range(*span)], device=view.alive.device)
    shares = {}
    for label, rule in rules.items():
        known = view.prompt
        prompt = replace(known, blocks=BlockMap.of(known.tokens, rule, known.question, known.marks))
        chosen = make_selector(rule, prompt).select(replace(view, step=rule.steps[0], prompt=prompt))
        kept = view.alive if chosen is None else chosen.kept
        shares[label] = float(torch.isin(evidence, kept).float().mean())
    return shares


def probe_table(shares: Sequence[Probed]) -> str:
    """A Markdown table: for each rule the mean share, that of examples with all evidence kept, and by suite."""
    suites = list(dict.fromkeys(each.suite for each in shares))
    heads = ["rule", "examples", "evidence kept", "all of it kept", *suites]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for rule in dict.fromkeys(each.rule for each in shares):
        mine = [each for each in shares if each.rule == rule]
        by_suite = [fmean(each.kept for each in mine if each.suite == suite) for suite in suites]
        whole = fmean(each.kept == 1.0 for each in mine)
        figures = [fmean(each.kept for each in mine), whole, *by_suite]
        lines.append(f"| {rule} | {len(mine)} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    return "\n".join(lines)
