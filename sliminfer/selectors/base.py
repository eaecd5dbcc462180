"""What a pruning method is: what it sees at a prune layer, what it answers, and what its prefill costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.ops.softmax import PLAIN, Softmax
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.flops import Scoring
from sliminfer.schedule.marks import NO_MARKS, Marks
from sliminfer.schedule.sight import as_scored
from sliminfer.selectors.sources import Source

Knobs = TypeVar("Knobs")


@dataclass(frozen=True)
class PromptView:
    """What is known of the prompt before the first layer.

    Attributes:
        blocks: the prompt's block map.
        question: token span of the question, if known.
        evidence: token spans that hold the answer; known in evaluation only, for the oracle.
        marks: token spans that are to be kept or dropped whatever they score; `blocks` follows them.
        outside: score of each token by somebody else than the model, a draft model or a search, fp32 [N].
    """

    blocks: BlockMap
    question: Span | None = None
    evidence: tuple[Span, ...] = ()
    marks: Marks = NO_MARKS
    outside: Tensor | None = field(default=None, compare=False)

    @property
    def tokens(self) -> int:
        return self.blocks.tokens


@dataclass(frozen=True)
class Attention:
    """What one layer attends with.

    Attributes:
        queries: gives the queries after RoPE of the last `w` positions [heads, w, head_dim].
        keys: gives the keys after RoPE of the positions alive [kv_heads, n, head_dim].
        softmax: how it turns their products into attention.
    """

    queries: Callable[[int], Tensor]
    keys: Callable[[], Tensor]
    softmax: Softmax = PLAIN


@dataclass(frozen=True)
class PruneView:
    """The state before a prune layer runs.

    Attributes:
        step: the prune step that is due.
        prompt: the prompt as a whole.
        alive: original positions of the keys, int64 [n]; in prefill those still alive, ascending.
        layers: the layers whose attention may be read, by `config.score_layer`: the layer just run, the
            pruning layer, or both in this order; before layer 0 that layer alone.
        behind: the layers run before the step, the last one last, as many as the method's `looks_back` says.
    """

    step: PruneStep
    prompt: PromptView
    alive: Tensor
    layers: tuple[Attention, ...]
    behind: tuple[Attention, ...] = ()

    def queries(self, window: int) -> Tensor:
        """The queries of the last `window` positions, for a method that reads one layer."""
        return self.layers[0].queries(window)

    def keys(self) -> Tensor:
        """The keys of `alive`, for a method that reads one layer."""
        return self.layers[0].keys()

    @property
    def softmax(self) -> Softmax:
        """How the layer of `queries` and `keys` turns their products into attention."""
        return self.layers[0].softmax


@dataclass(frozen=True)
class Selection:
    """A method's answer.

    Attributes:
        kept: ascending original positions that go on, int64 [k]; the last prompt position is among them.
        scores: score of each block of the whole prompt, fp32 [blocks], NaN for blocks already gone;
            None where the method does not score blocks.
        threshold: the lowest score that was kept by its score rather than by force, fp32 scalar.
    """

    kept: Tensor
    scores: Tensor | None = None
    threshold: Tensor | None = None


@dataclass(frozen=True)
class PrefillPlan:
    """What a prefill will run, in the terms of `metrics.prefill_flops`.

    Attributes:
        layer_runs: prompt tokens of each layer run, in order; a method with two passes runs some layers twice.
        scored: each scoring.
    """

    layer_runs: tuple[int, ...]
    scored: tuple[Scoring, ...]


@dataclass(frozen=True)
class NoKnobs:
    """For methods without options of their own."""


class Selector(ABC):
    """A pruning method. One instance serves one prompt.

    A method is one class: `select` chooses, `tokens_after` says beforehand how much is chosen, and the rest
    has defaults. `BlockSelector` and `TokenSelector` leave nothing but the score to write.

    Attributes:
        name: the method's name in configs, JSON and on the page.
        paper: where it comes from, as shown to users.
        knobs: frozen dataclass of the method's own options, which checks itself; read with `read_knobs`.
        one_step: whether the method prunes at a single layer.
        two_pass: whether the kept tokens run again from layer 0, at new positions 0, 1, 2, ...
        keeps_positions: whether a method of two passes leaves the tokens at the positions that they had.
        own_budget: whether the method decides how much it spends, so that `plan` says the most.
        revives: whether dropped tokens are stored and `revive` may bring them back in decode.
        reads_keys: whether it reads keys even where it asks no queries, so that it needs a layer that attends.
        usual: share of its published keeps that goes on as a rule: less than 1 where they are upper bounds.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    knobs: ClassVar[type[Any]] = NoKnobs
    one_step: ClassVar[bool] = False
    two_pass: ClassVar[bool] = False
    keeps_positions: ClassVar[bool] = False
    own_budget: ClassVar[bool] = False
    revives: ClassVar[bool] = False
    reads_keys: ClassVar[bool] = False
    usual: ClassVar[float] = 1.0

    def __init__(self, config: SlimConfig, prompt: PromptView) -> None:
        self.config = config
        self.prompt = prompt

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        """The method's published setting, scaled by relative depth to a model of `layers` layers.

        By default the steps of the SlimInfer paper: for methods without a schedule of their own, so that
        the choice of tokens alone differs.
        """
        return SlimConfig.preset("paper", layers, method=cls.name)

    @classmethod
    def check(cls, config: SlimConfig) -> None:
        """Raise ConfigError where `config` has steps or options that the method cannot follow."""
        read_knobs(cls.knobs, config)
        if cls.one_step and len(config.steps) > 1:
            raise ConfigError(
                f"Method {cls.name} prunes once, but {len(config.steps)} prune steps are given: "
                "leave one, as in 4:0.25."
            )
        if config.steps and not config.steps[0].layer and cls.source(config) is None:
            raise ConfigError(
                f"Prune layer 0 is not for method {cls.name}: layer 0 always sees the whole prompt, unless the scores "
                "come from outside the model, as those of specprefill and bm25 do."
            )

    @classmethod
    def source(cls, config: SlimConfig) -> Source | None:
        """Who scores the prompt's tokens before the model runs; None where the model itself does."""
        return None

    @classmethod
    def looks_back(cls, config: SlimConfig, layer: int) -> int:
        """How many layers before prune layer `layer` the method reads, in `PruneView.behind`."""
        return 0

    @classmethod
    def query_window(cls, config: SlimConfig, blocks: BlockMap) -> int:
        """How many of the last positions' queries `select` reads; 0 where it scores without attention."""
        return blocks.window

    @classmethod
    def scorings(cls, config: SlimConfig, blocks: BlockMap, alive: int) -> tuple[Scoring, ...]:
        """What one `select` among `alive` tokens scores."""
        window = cls.query_window(config, blocks)
        return (Scoring(window, alive, config.score_layer == "own"),) if window else ()

    @classmethod
    def scorings_at(cls, layer: int, config: SlimConfig, blocks: BlockMap, alive: int) -> tuple[Scoring, ...]:
        """What has been scored for a choice before `layer`: nothing before layer 0, where scores come from outside."""
        return cls.scorings(config, blocks, alive) if layer else ()

    @abstractmethod
    def select(self, view: PruneView) -> Selection | None:
        """The positions that go on, or None to keep everything alive."""

    @classmethod
    @abstractmethod
    def tokens_after(cls, step: PruneStep, blocks: BlockMap, alive: int) -> int:
        """Tokens that go on after `step` when `alive` tokens reach it; `alive` where `select` gives None."""

    def revive(self, view: PruneView) -> Tensor:
        """Positions of the prompt that should take part from this layer on, in one decode step, int64 [k].

        Called where `revives` is set. Those that were dropped here are run through the layers that follow;
        positions of decoded tokens among them change nothing.
        """
        raise NotImplementedError(f"{self.name} brings nothing back")

    @classmethod
    def plan(
        cls, config: SlimConfig, blocks: BlockMap, layers: int, seeing: Sequence[int] | None = None
    ) -> PrefillPlan:
        """What the prefill of a prompt will run on a model of `layers` layers, of which `seeing` may score.

        Exact for a fixed budget, the most it can be for a method that chooses its budget.
        """
        steps = {step.layer: step for step in config.steps}
        alive, runs = blocks.tokens, []
        scored: list[Scoring] = []
        for layer in range(layers):
            if layer in steps:
                before, alive = alive, cls.tokens_after(steps[layer], blocks, alive)
                if alive < before:
                    scored.extend(cls.scorings_at(layer, as_scored(config, layer, seeing), blocks, before))
            runs.append(alive)
        if cls.two_pass and scored:
            return PrefillPlan((blocks.tokens,) * config.steps[0].layer + (alive,) * layers, tuple(scored))
        return PrefillPlan(tuple(runs), tuple(scored))


def read_knobs(kind: type[Knobs], config: SlimConfig) -> Knobs:
    """The method's options in `config.options` as its dataclass `kind`; raises ConfigError for a wrong one."""
    return read_options(kind, config.options, f"Method {config.method}")


def read_options(kind: type[Knobs], options: Mapping[str, Any], owner: str) -> Knobs:
    """`options` as the dataclass `kind`, which checks itself; raises ConfigError for an unknown or wrong one."""
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            choice = f"known are {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"{owner} has no option {name!r}: {choice}.")
    return kind(**options)


def at_depth(depth: float, layers: int) -> int:
    """The layer at relative `depth` of a model of `layers` layers: at least 1, at most the last."""
    return max(1, min(layers - 1, round(depth * layers)))
