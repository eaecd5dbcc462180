"""Which probes of information diffusion to make, what they cost, and which blocks they remove."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sliminfer.errors import ConfigError
from sliminfer.model.loading import LoadedModel
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import layer_flops

# FLOPs of a plan made for a model. 5.5e12 took 90 s of one core for the demo model at 3,871 tokens; 1e16 is a
# minute of the 170 TFLOP/s that a 24 GB card or better gives in bf16.
FLOPS = {"cpu": 5.5e12, "cuda": 1e16}
MOST_DRAWS = 5
FEWEST_LAYERS = {MOST_DRAWS: 7, 3: 6, 2: 4}  # for each number of draws; fewer layers would say too little


@dataclass(frozen=True)
class DiffusionPlan:
    """A bounded set of probes.

    Attributes:
        layers: from which layers on blocks are removed: rising, 0 first; the layer count as the last one
            removes nothing and closes the curve.
        draws: random removals at each of these layers.
        seed: of the generator that draws them.
        block_size, sink, local: how the prompt is cut and what is never removed, as in `SlimConfig`.
        query_window: last prompt positions whose attention is measured.
        answer_tokens: length of the answer's start that is scored.
        bins: columns of the diffusion map, at most one a token.
    """

    layers: tuple[int, ...]
    draws: int = MOST_DRAWS
    seed: int = 0
    block_size: int = 32
    sink: int = 1
    local: int = 64
    query_window: int = 16
    answer_tokens: int = 8
    bins: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        SlimConfig(block_size=self.block_size, sink=self.sink, local=self.local, query_window=self.query_window)
        rising = all(before < after for before, after in zip(self.layers, self.layers[1:], strict=False))
        if not self.layers or self.layers[0] != 0 or not rising:
            raise ConfigError(f"Removal layers {self.layers} do not rise from 0: list 0 first, then higher ones.")
        for name in ("draws", "answer_tokens", "bins"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: it must be at least 1.")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}: it must be at least 0.")

    @classmethod
    def every_layer(cls, depth: int, draws: int = MOST_DRAWS) -> DiffusionPlan:
        """Removals at every layer of a model of `depth` layers."""
        return cls(tuple(range(depth + 1)), draws)

    @classmethod
    def for_model(cls, loaded: LoadedModel, tokens: int, flops: float | None = None) -> DiffusionPlan:
        """The plan for a prompt of `tokens` that takes no more than `flops`, by default about a minute."""
        flops = FLOPS.get(loaded.device.type, FLOPS["cuda"]) if flops is None else flops
        return cls.within(loaded.layers, tokens, tokens * flops / layer_flops(loaded.shape.layer(0), tokens))

    @classmethod
    def within(cls, depth: int, tokens: int, budget: float) -> DiffusionPlan:
        """The finest plan that sends no more than `budget` tokens through a layer, for a prompt of `tokens`.

        First the layers are thinned out evenly, with 0 and `depth` always among them, then the draws; never
        below four layers and two draws, whatever they cost.
        """
        for draws, fewest in FEWEST_LAYERS.items():
            for count in range(depth + 1, min(fewest, depth + 1) - 1, -1):
                plan = cls(_spread(count, depth), draws)
                if plan.layer_runs(depth) * tokens <= budget:
                    return plan
        return plan

    def layer_runs(self, depth: int, answered: bool = False) -> int:
        """Times that some layer runs over the prompt on a model of `depth` layers; less one prefill if `answered`."""
        removals = sum(depth - layer for layer in self.layers)
        # The span's removal from layer 0 on is the second run of the diffusion map.
        return depth * (3 + (not answered)) + self.layers[-1] + removals * (1 + self.draws) - depth

    def check_model(self, depth: int) -> None:
        """Raise ConfigError where a removal layer is beyond a model of `depth` layers."""
        if self.layers[-1] > depth:
            raise ConfigError(f"Removal layer {self.layers[-1]} does not exist: the model has {depth} layers.")


def _spread(count: int, depth: int) -> tuple[int, ...]:
    """`count` layers from 0 to `depth`, as even as whole numbers allow."""
    return tuple(round(index * depth / max(1, count - 1)) for index in range(count))


def block_map(prompt: Prompt, plan: DiffusionPlan) -> BlockMap:
    """The prompt's blocks under `plan`."""
    config = SlimConfig(block_size=plan.block_size, sink=plan.sink, local=plan.local)
    return BlockMap.of(len(prompt), config, prompt.question)


def removed_blocks(prompt: Prompt, span: Span, plan: DiffusionPlan) -> tuple[int, ...]:
    """Ids of the blocks that touch `span` and may be removed.

    Raises:
        ConfigError: the span is empty, outside the prompt, within blocks that are always kept, or so long that
            no control of equal size is left.
    """
    if not 0 <= span[0] < span[1] <= len(prompt):
        raise ConfigError(f"Tokens {span[0]} to {span[1]} are not a span of the prompt: choose text in the document.")
    blocks = block_map(prompt, plan)
    size = plan.block_size
    touched = [b for b in range(span[0] // size, -(-span[1] // size)) if b not in blocks.forced]
    if not touched:
        raise ConfigError(
            "This span lies in blocks that are always kept (the start, the end or the question): "
            "choose text from the middle of the document."
        )
    if 2 * len(touched) > len(blocks) - len(blocks.forced):
        raise ConfigError(
            "The span takes up more than half of what can be removed, which leaves no control of equal size: "
            "choose a shorter one."
        )
    return tuple(touched)


def random_blocks(layout: BlockMap, blocks: tuple[int, ...], plan: DiffusionPlan) -> list[tuple[int, ...]]:
    """For each draw of the control, as many ids of removable blocks as `blocks` has, none of them among `blocks`."""
    free = [block for block in range(len(layout)) if block not in layout.forced and block not in blocks]
    return [
        tuple(sorted(np.random.default_rng((plan.seed, draw)).choice(free, len(blocks), replace=False).tolist()))
        for draw in range(plan.draws)
    ]
