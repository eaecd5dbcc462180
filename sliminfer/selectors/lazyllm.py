"""LazyLLM (arXiv 2407.14057): prune a little at every layer, and bring tokens back when the answer needs them."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors.base import PruneView
from sliminfer.selectors.tokenwise import TokenSelector, attention_received


class LazyLLM(TokenSelector):
    """Progressive token pruning with an auxiliary cache: our reimplementation.

    A token's score is the attention that the last token (the last `query_window`) pays it in the layer just run,
    averaged over heads.
    The hidden states of dropped tokens wait in the auxiliary cache. In decode each prune layer ranks all
    prompt tokens by the new token's attention; those within the step's keep that were dropped here run
    through the layers that follow, and have KV there from then on, so no token runs a layer twice.
    The paper attends in decode to the chosen tokens only; here to all that have KV in the layer.

    Steps: any number. The published setting prunes before every layer from a quarter of the depth on, with
    keeps that fall geometrically from 1/2 to 1/10: a schedule of ours with the paper's 2.3x on 32 layers.
    """

    name: ClassVar[str] = "lazyllm"
    paper: ClassVar[str] = "LazyLLM, arXiv 2407.14057 (our reimplementation)"
    revives: ClassVar[bool] = True

    @classmethod
    def published(cls, layers: int) -> SlimConfig:
        first = max(1, layers // 4)
        pruned = max(1, layers - first)
        keeps = [0.5 * 0.2 ** (i / max(1, pruned - 1)) for i in range(pruned)]
        steps = tuple(PruneStep(first + i, round(keep, 4)) for i, keep in enumerate(keeps) if first + i < layers)
        return SlimConfig(steps=steps, method=cls.name, query_window=1)

    @classmethod
    def check(cls, config: SlimConfig) -> None:
        super().check(config)
        if config.score_layer == "own":
            raise ConfigError("Method lazyllm ranks tokens by the layer just run: set score_layer to previous.")

    def score(self, view: PruneView) -> Tensor:
        return attention_received(view.queries(self.prompt.blocks.window), view.keys(), view.softmax).mean(0)

    def revive(self, view: PruneView) -> Tensor:
        alive, received = view.alive, attention_received(view.queries(1), view.keys(), view.softmax)
        scores = received.mean(0).to(alive.device)
        decoded = alive >= self.prompt.tokens
        scores = scores.masked_fill_(decoded, -1.0)
        if self.prompt.blocks.dropped:
            stays = decoded | ~self.gone.to(alive.device)[alive.clamp(max=self.prompt.tokens - 1)]
            alive, scores = alive[stays], scores[stays]
        best = scores.sort(descending=True, stable=True).indices[: self.prompt.blocks.budget_tokens(view.step)]
        # Decoded tokens among them, where the prompt has fewer left, are in every layer anyway: counting would wait.
        return alive[best]
