"""One budget for all methods: solve a method's own settings for a FLOP speed-up of the prefill."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import prefill_flops
from sliminfer.schedule.marks import NO_MARKS, Marks
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors import selector_class
from sliminfer.sparse.plan import planned_reads

# Keeps are divided by at most this.
_HARDEST = 4.0
_HALVINGS = 40
# Of the depth: layers before do not know yet what the question needs (docs/real-models.md, "Where a budget goes").
_SHALLOWEST = 0.1
# Of its blocks a layer that reads sparsely is not asked to read fewer.
_LEAST_SHARE = 0.01
# Solved keeps are rounded up to this, a token or less of any prompt up to 100K tokens, to be fit to read.
_GRAIN = 1e-5


def flop_speedup(
    config: SlimConfig, shape: ModelShape, prompt_tokens: int, question: Span | None = None, marks: Marks = NO_MARKS
) -> float:
    """FLOPs of the full prefill over those of `config`'s, by `metrics.prefill_flops`.

    For a method that chooses its budget per prompt, the least it can be.
    """
    blocks = BlockMap.of(prompt_tokens, config, question, marks)
    plan = selector_class(config.method).plan(config, blocks, shape.layers, shape.seeing)
    full = prefill_flops(shape, (prompt_tokens,) * shape.layers)
    return full / prefill_flops(shape, plan.layer_runs, plan.scored, planned_reads(config, blocks, shape))


def at_flop_budget(
    config: SlimConfig,
    shape: ModelShape,
    prompt_tokens: int,
    speedup: float,
    question: Span | None = None,
    marks: Marks = NO_MARKS,
) -> SlimConfig:
    """`config` with its steps changed so that the prefill's FLOP speed-up is `speedup`.

    The knob is the same for all methods. Beyond what `config` saves, every keep, as a share of the prompt, is
    divided by one number, a quarter of itself at the hardest; short of it, raised to one power, which brings all
    keeps to the whole prompt together. The prune layers may move down as well, all of them by as many layers. Of
    the schedules that meet the target so, the one that strays least from `config` is taken: the smallest of its
    shares, of the first prune layer and of each keep in what they were, is the largest (`_likeness`); but no prune
    layer moves into the first tenth of the depth where the keeps alone can meet the target. Start from
    `selectors.published(method, layers)` for a method's own schedule.

    Args:
        config: the method, and the steps to start from.
        shape: the model.
        prompt_tokens: length of the prompt.
        speedup: what the full prefill's FLOPs should be divided by, at least 1.
        question: token span of the question, if known: it is always kept.
        marks: token spans that are to be kept or dropped in any case.

    Returns:
        The config that comes nearest: within one block of tokens at each step.

    Raises:
        ConfigError: the target is out of reach of the method, for this model and prompt.
    """
    if not speedup >= 1.0:
        raise ConfigError(f"A FLOP speed-up of {speedup} is below 1, the full model: give 1 or more, such as 2.")
    if speedup == 1.0:
        return config.with_changes(steps=()) if config.steps else config.with_changes(reading_options=_all_of(config))
    if not config.steps and config.reading == "sparse":
        return _solve_share(config, shape, prompt_tokens, speedup, question)
    if not config.steps:
        raise ConfigError(f"Method {config.method} has no prune step whose keep could be solved for: give one.")
    reach, best, likeness = 1.0, None, 0.0
    for moved in _moved_down(config, shape):
        if _depth_left(moved, config) <= likeness:
            break  # the layers alone make it, and all that follow, less like the published schedule
        if best is not None and moved.steps[0].layer < _SHALLOWEST * shape.layers:
            break
        turned = _turned(moved, 2.0, prompt_tokens, question, marks)
        hardest = flop_speedup(turned, shape, prompt_tokens, question, marks)
        reach = max(reach, hardest)
        if hardest >= speedup:
            solved = _solve(moved, shape, prompt_tokens, speedup, question, marks)
            found = _likeness(solved, config, prompt_tokens)
            if found > likeness:
                best, likeness = solved, found
    if best is not None:
        return best
    raise ConfigError(
        f"Method {config.method} cannot reach a FLOP speed-up of {speedup:g} on a prompt of {prompt_tokens:,} "
        f"tokens: choose between 1 and {int(reach * 100) / 100:g}."
    )


def _solve_share(
    config: SlimConfig, shape: ModelShape, prompt_tokens: int, speedup: float, question: Span | None
) -> SlimConfig:
    """`config`, which drops nothing, with the share of sparse reading that comes nearest to `speedup`."""

    def at(share: float) -> tuple[SlimConfig, float]:
        made = config.with_changes(reading_options=_all_of(config) | {"share": share})
        return made, flop_speedup(made, shape, prompt_tokens, question)

    low, high = _LEAST_SHARE, 1.0
    if at(low)[1] < speedup:
        raise ConfigError(
            f"Method {config.method} cannot reach a FLOP speed-up of {speedup:g} on a prompt of {prompt_tokens:,} "
            "tokens, where attention is too small a part: choose between 1 and "
            f"{max(1, int(at(low)[1] * 100) / 100):g}."
        )
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle)[1] < speedup else (middle, high)
    return min(at(low), at(high), key=lambda found: abs(found[1] - speedup))[0]


def _all_of(config: SlimConfig) -> dict[str, object]:
    """The reading options of `config` for a fixed share, all blocks."""
    return {**config.reading_options, "rule": "share", "share": 1.0}


def _solve(
    config: SlimConfig, shape: ModelShape, prompt_tokens: int, speedup: float, question: Span | None, marks: Marks
) -> SlimConfig:
    """The turn of the knob between keeping all and the hardest that comes nearest to `speedup`, by bisection."""

    def at(knob: float) -> tuple[SlimConfig, float]:
        turned = _turned(config, knob, prompt_tokens, question, marks)
        return turned, flop_speedup(turned, shape, prompt_tokens, question, marks)

    low, high = 0.0, 2.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle)[1] < speedup else (low, middle)
    below, above = at(low), at(high)
    return min(below, above, key=lambda found: abs(found[1] - speedup))[0]


def _likeness(solved: SlimConfig, config: SlimConfig, prompt_tokens: int) -> float:
    """The smallest share, at most 1, that is left of the first prune layer of `config` or of one of its usual keeps."""
    tokens = [[step.budget_tokens(prompt_tokens) for step in each.steps] for each in (solved, config)]
    usual: float = selector_class(config.method).usual
    keeps: list[float] = [left / (usual * published) for left, published in zip(*tokens, strict=True)]
    return min([1.0, _depth_left(solved, config), *keeps])


def _depth_left(moved: SlimConfig, config: SlimConfig) -> float:
    """The share that is left of the first prune layer of `config`; all of it where that is before layer 0."""
    first = config.steps[0].layer
    return moved.steps[0].layer / first if first else 1.0


def _moved_down(config: SlimConfig, shape: ModelShape) -> Iterator[SlimConfig]:
    """`config` with its prune layers as they are, then each one lower, until the first is the first that can be."""
    lowest = max(1, (shape.seeing or (0,))[0])
    yield config
    while config.steps[0].layer > lowest:
        config = config.with_changes(steps=tuple(PruneStep(step.layer - 1, step.keep) for step in config.steps))
        yield config


def _turned(config: SlimConfig, knob: float, prompt_tokens: int, question: Span | None, marks: Marks) -> SlimConfig:
    """`config` with all keeps, as shares of the prompt: whole at 0, its own at 1, divided by `_HARDEST` at 2.

    No keep falls to the forced blocks alone, where nothing would be chosen; no step keeps more than its share.
    """
    blocks = BlockMap.of(prompt_tokens, config, question, marks)
    least = min(1.0, (len(blocks.forced) + 1) * config.block_size / prompt_tokens)
    shares = [step.budget_tokens(prompt_tokens) / prompt_tokens for step in config.steps]
    wanted = [share**knob if knob <= 1 else share * _HARDEST ** (1 - knob) for share in shares]
    keeps = [min(1.0, math.ceil(max(least, share) / _GRAIN) * _GRAIN) for share in wanted]
    steps = [PruneStep(step.layer, round(keep, 5)) for step, keep in zip(config.steps, keeps, strict=True)]
    return config.with_changes(steps=tuple(steps), least_tokens=0)
