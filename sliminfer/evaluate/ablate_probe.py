"""What each scoring rule would keep at the first prune layer, from one prefill of each example.

All rules see the same queries and keys there, so none needs a run of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import ClassVar

import torch

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import BlocksPruned, Failed
from sliminfer.errors import SlimError
from sliminfer.evaluate.evaluate import item_request
from sliminfer.schedule.blocks import MOST_QUERIES, BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors import PromptView, PruneView, Selection, make_selector, register
from sliminfer.selectors.sliminfer import SlimInfer
from sliminfer.tasks.items import EvalItem


@dataclass(frozen=True)
class Probed:
    """Share of one example's evidence tokens that one rule keeps at the first prune layer."""

    suite: str
    rule: str
    kept: float


@register
class Probe(SlimInfer):
    """Prunes as SlimInfer does and notes what every one of `rules` would keep."""

    name: ClassVar[str] = "probe"
    paper: ClassVar[str] = "a measurement of the ablation"
    rules: ClassVar[Mapping[str, SlimConfig]] = {}
    found: ClassVar[dict[str, float]] = {}

    @classmethod
    def query_window(cls, config: SlimConfig, blocks: BlockMap) -> int:
        return min(blocks.tokens, MOST_QUERIES)  # whatever a rule may ask for

    def select(self, view: PruneView) -> Selection | None:
        evidence = torch.tensor([i for span in view.prompt.evidence for i in range(*span)], device=view.alive.device)
        for label, rule in self.rules.items():
            blocks = BlockMap.of(view.prompt.tokens, rule, view.prompt.question)
            prompt = PromptView(blocks, view.prompt.question, view.prompt.evidence)
            chosen = make_selector(rule, prompt).select(replace(view, step=rule.steps[0], prompt=prompt))
            kept = view.alive if chosen is None else chosen.kept
            self.found[label] = float(torch.isin(evidence, kept).float().mean())
        return super().select(view)


def probe(engine: SlimEngine, items: Sequence[EvalItem], rules: Mapping[str, SlimConfig]) -> Iterator[Probed]:
    """The shares of all `items` and `rules`, example by example; items without evidence are passed over.

    Raises:
        SlimError: an example does not fit the model, or its prefill failed.
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


def _probe_one(engine: SlimEngine, item: EvalItem, rules: Mapping[str, SlimConfig]) -> dict[str, float]:
    any_rule = next(iter(rules.values()))
    config = SlimConfig(steps=any_rule.steps[:1], method=Probe.name, score_layer=any_rule.score_layer)
    Probe.rules, Probe.found = rules, {}
    events = engine.run(item_request(engine, item).under(config))
    for event in events:
        if isinstance(event, Failed):
            raise SlimError(event.message)
        if isinstance(event, BlocksPruned):
            break  # nothing after the prune layer is needed
    getattr(events, "close", lambda: None)()
    return dict(Probe.found)


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
