"""The endpoint /diffusion: how what a passage says spreads through the prompt, for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.result import DiffusionResult
from sliminfer.engine.request import RunRequest
from viz.page.api import STOPPED, watched
from viz.page.arguments import typed
from viz.page.passage import find_passage
from viz.page.site import Site
from viz.page.stream import plain_message
from viz.page.zero import probing


def endpoint(site: Site) -> Callable[..., Iterator[dict[str, Any]]]:
    """The function behind /diffusion on the page of `site`."""

    def diffusion(
        document: str, question: str, passage: str, every_layer: bool = False, model: str = "", seed: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Measure how what a passage of a document says spreads through the prompt, layer by layer.

        Args:
            document: the text to read.
            question: what to ask about it; the full model's own answer is what is scored.
            passage: words of the document, as they stand there but for white space and case.
            every_layer: remove the passage at every layer, whatever it costs; otherwise at as many as fit a budget.
            model: a name from /models; empty takes the page's own.
            seed: of the random blocks that the passage is compared with.

        Returns:
            span and removed (token ranges), attention_share (of the question's attention on the passage, by
            layer), removed_layers with removed_logprob and random_low, random_median, random_high (log-probability
            of the answer in nats), full_logprob, input_removed_logprob, similarity (relative change of the states
            entering each layer, in bins of positions), answer (token ids), tokens, and done of total layer runs: a
            page with limits may stop at a part of them. Until then {"progress": {"done", "total"}}, a few times a
            second; leaving the stream ends the measurement.
        """
        name = model or site.start.model
        result: DiffusionResult | None = None
        try:
            site.known(name)
            site.check_text(document, question)
            request = RunRequest(document, question)
            span = find_passage(document, passage, ())

            def measure() -> Iterator[DiffusionResult]:
                engine = site.shelf.engine(name)
                prompt = engine.prepare(request).prompt
                depth = engine.loaded.layers
                fitting = DiffusionPlan.for_model(engine.loaded, len(prompt))
                plan = replace(DiffusionPlan.every_layer(depth) if every_layer else fitting, seed=seed)
                yield from probing(engine, prompt, prompt.token_range(*span), plan)

            for results in watched(site, measure):
                result = results[-1] if results else result
                yield {"progress": {"done": result.done, "total": result.total} if result else {"done": 0}}
        except Exception as error:
            raise gr.Error(plain_message(error), print_exception=False) from None
        if result is None:
            raise gr.Error(STOPPED, print_exception=False)
        yield result.to_dict()

    return typed(diffusion)
