"""Diffusion on many examples of one model: where the answer's passage may be dropped, whatever passage it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.probe import probe
from sliminfer.diffusion.result import DiffusionResult
from sliminfer.engine.engine import SlimEngine
from sliminfer.errors import ConfigError
from sliminfer.evaluate.evaluate import item_request
from sliminfer.evaluate.shards import Shard
from sliminfer.tasks.items import EvalSuite


def diffuse(
    engine: SlimEngine,
    places: Sequence[tuple[EvalSuite, int, int]],
    plan: DiffusionPlan,
    shard: Shard,
    step: Callable[[str], None],
) -> list[DiffusionResult]:
    """The finished probes of `places`, (suite, context, index), of all processes in the order of their ranks.

    A passage is what an example names as its one piece of evidence; examples with more or none are passed over, as
    are those whose evidence the plan cannot remove.

    Args:
        step: is told of each example once it is done.

    Raises:
        SlimError: an example does not fit the model or the memory.
    """
    done: list[DiffusionResult] = []
    for suite, context, index in shard.mine(places):
        request = item_request(engine, suite.item(context, index))
        if len(request.pruning.evidence) == 1:
            try:
                *_, last = probe(engine, request.prompt, request.pruning.evidence[0], plan)
                done.append(last)
            except ConfigError:  # within what is always kept, or too long for a control of equal size
                pass
        step(f"diffusion {suite.name} {context:,}")
    return [result for found in shard.everyone(done) for result in found]
