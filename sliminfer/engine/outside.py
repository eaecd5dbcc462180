"""Scores from outside the model, run: who gives them, what they cost, and when a prompt is too short for them."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from sliminfer.engine.draft import Draft
from sliminfer.engine.request import PromptRequest
from sliminfer.engine.retrieval import passage_scores
from sliminfer.errors import ConfigError
from sliminfer.model.loading import LoadedModel
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import prefill_flops
from sliminfer.selectors import selector_class
from sliminfer.selectors.budget import at_flop_budget, flop_speedup
from sliminfer.selectors.sources import Drafting, Embedding, Retrieval, Source


class Outside:
    """Whoever scores prompts for one model from outside it.

    Attributes:
        draft: the draft model, None where none was loaded.
    """

    def __init__(self, loaded: LoadedModel, draft: LoadedModel | None = None) -> None:
        self._loaded = loaded
        self.draft = None if draft is None else Draft(draft, loaded.tokenizer)

    @property
    def weights_bytes(self) -> int:
        """Bytes of the draft's weights, which a run under it takes besides; 0 where there is none."""
        return 0 if self.draft is None else self.draft.loaded.weights_bytes

    def source(self, config: SlimConfig) -> Source | None:
        """Who scores under `config`; raises ConfigError where that takes a draft and none was loaded."""
        source = selector_class(config.method).source(config) if config.steps else None
        if source is not None and source.needs_draft and self.draft is None:
            raise ConfigError(
                f"Method {config.method} reads the prompt with a draft model first, and none is loaded: name one, as "
                "in --draft MODEL."
            )
        return source

    def flops(self, ready: PromptRequest, config: SlimConfig) -> float:
        """FLOPs that the scores of `ready` will take under `config`, before anything of the model runs."""
        source = self.source(config)
        if source is None:
            return 0.0
        tokens, window = len(ready.prompt), self._window(ready, config)
        if self.draft is not None and source.needs_draft:
            read = self.draft.reading(ready.prompt, window)
            tokens, window = len(read.ids), read.window
        return source.flops(None if self.draft is None else self.draft.loaded.shape, tokens, window)

    def speedup(self, ready: PromptRequest, config: SlimConfig) -> float:
        """FLOPs of the full prefill over all that a prefill under `config` takes, the scores from outside included."""
        shape, tokens = self._loaded.shape, len(ready.prompt)
        alone = flop_speedup(config, shape, tokens, ready.prompt.question, ready.pruning.marks)
        return 1.0 / (1.0 / alone + self._share(ready, config))

    def at_budget(self, ready: PromptRequest, config: SlimConfig, speedup: float) -> SlimConfig:
        """`config` solved for a FLOP speed-up of the prefill of `ready` with all that it takes, the draft's included.

        Raises:
            ConfigError: the target is out of reach, see `at_flop_budget`.
        """
        shape, prompt = self._loaded.shape, ready.prompt
        left = 1.0 / speedup - self._share(ready, config) if speedup > 1.0 else 1.0
        if left <= 0.0:
            raise ConfigError(
                f"Method {config.method} cannot reach a FLOP speed-up of {speedup:g} here: the draft alone takes "
                f"1/{1 / self._share(ready, config):.3g} of the full prefill. Choose less, or a smaller draft."
            )
        target = speedup if left == 1.0 / speedup else max(1.0, 1.0 / left)
        return at_flop_budget(config, shape, len(prompt), target, prompt.question, ready.pruning.marks)

    def why_not(self, ready: PromptRequest, config: SlimConfig) -> str:
        """Why `config` would not save anything on this prompt, in a sentence; empty where it may."""
        method = selector_class(config.method)
        if not config.steps or not (method.keeps_positions or method.source(config) is not None):
            return ""
        if self.speedup(ready, config) > 1.0:
            return ""
        return (
            f"{config.method} was left out: on {len(ready.prompt):,} tokens choosing takes as much arithmetic as it "
            "saves."
        )

    def scores(self, ready: PromptRequest, config: SlimConfig) -> Generator[tuple[int, int], None, Tensor | None]:
        """Yields (done, of how many) on the way; returns the score of each prompt token, fp32 [N], None for none."""
        match self.source(config):
            case None:
                return None
            case Drafting() as how:
                assert self.draft is not None
                total = self.draft.loaded.layers * (how.look_ahead + 1)
                read = self.draft.scores(ready.prompt, self._window(ready, config), how)
                return (yield from self._drafted(read, total))
            case Embedding() as how:
                assert self.draft is not None
                read = self.draft.likeness(ready.prompt, self._window(ready, config), how.passage)
                return (yield from self._drafted(read, self.draft.loaded.layers))
            case Retrieval() as how:
                scores = torch.tensor(passage_scores(ready.prompt, how.passage), device=self._loaded.device)
                yield 1, 1
                return scores
            case other:
                raise ConfigError(f"Nobody knows how to score by {other!r}: use one of the project's sources.")

    def _drafted(
        self, running: Generator[int, None, Tensor], total: int
    ) -> Generator[tuple[int, int], None, Tensor]:
        while True:
            try:
                yield next(running), total
            except StopIteration as finished:
                found: Tensor = finished.value
                return found.to(self._loaded.device)

    def _window(self, ready: PromptRequest, config: SlimConfig) -> int:
        return BlockMap.of(len(ready.prompt), config, ready.prompt.question).window

    def _share(self, ready: PromptRequest, config: SlimConfig) -> float:
        """FLOPs of the scores from outside as a share of the full prefill's."""
        shape = self._loaded.shape
        return self.flops(ready, config) / prefill_flops(shape, (len(ready.prompt),) * shape.layers)
