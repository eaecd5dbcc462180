"""The endpoint /ask: several questions about one document, which each side reads once, for programs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from sliminfer.engine.limits import RunLimits
from sliminfer.engine.questions import Answering, DocumentRead, KeptReadings, QuestionsResult, ask_all
from sliminfer.engine.request import RunRequest
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import SlimConfig, parse_steps
from sliminfer.schedule.presets import DEFAULT_PRESET
from viz.page.api import STOPPED
from viz.page.arguments import passages, typed
from viz.page.asking import beats
from viz.page.compare_api import progress
from viz.page.readings import VisitorReadings
from viz.page.session import ResultStore
from viz.page.site import Site
from viz.page.stream import plain_message

MOST_QUESTIONS = 16


def endpoint(site: Site) -> Callable[..., Iterator[dict[str, Any]]]:
    """The function behind /ask on the page of `site`."""

    def ask(
        caller: gr.Request,
        document: str,
        questions: list[str],
        prune: str = "",
        preset: str = DEFAULT_PRESET,
        model: str = "",
        max_new_tokens: int = 48,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        keep: list[str] | None = None,
        drop: list[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Ask several questions about a document that is read once, of the full and of the pruned model.

        A client that calls again within its session, with the same document and schedule, finds it read, within the
        host's bounds and for an hour.

        Args:
            document: the text to read.
            questions: what to ask about it, up to 16, each answered as if it were the only one.
            prune: prune steps as LAYER:KEEP, comma-separated, such as "4:25%,8:12.5%"; empty takes the preset.
            preset: gentle, paper, balanced, aggressive, fast or fastest; used where prune is empty.
            model: a name from /models; empty takes the page's own.
            max_new_tokens: longest answer; what is more than the page offers is refused.
            temperature: 0 always takes the likeliest token.
            top_p: nucleus for sampling.
            seed: seed for sampling.
            keep: texts of the document that are never pruned, wherever they stand in it; up to 64.
            drop: texts of the document that go no further than the first prune step, for experiments; up to 64.

        Returns:
            What each side read once, in seconds and bytes, and the questions in order, each with what /compare gives;
            the same keys as `sliminfer run --json` with several questions. Until then {"progress": {"question",
            "side", "layers", "new_tokens"}}, a few times a second; leaving the stream ends the run.
        """
        name = model or site.start.model
        try:
            asked = _asked(questions)
            shape = site.known(name).shape
            for question in asked:
                site.check_text(document, question)
            config = SlimConfig.preset(preset, shape.layers, name, shape.seeing)
            steps = parse_steps(prune)
            if steps:
                config = config.with_changes(steps=steps, least_tokens=0)
            RunLimits(new_tokens=site.most_new_tokens).check(0, max_new_tokens)
            request = RunRequest(
                document, asked[0], config, max_new_tokens, temperature, top_p, seed,
                keep=passages("keep", keep), drop=passages("drop", drop),
            )  # fmt: skip
            requests = [replace(request, question=question) for question in asked]
            kept = VisitorReadings(
                site.readings, str(caller.session_hash), name, config, site.known(name).shape.layers, document
            )
            result, at = QuestionsResult.of(len(asked)), 0
            call = ResultStore.new_key()
            stop = site.stops.begin(call)
            for beat in beats(site, call, stop, lambda: answering(site, name, requests, stop, kept)):
                for item in beat.items:
                    result = result if item is None else result.after(item)
                    at = item.index if isinstance(item, Answering) else at
                yield {"progress": {"question": at} | progress(result.runs[at].latest)}
        except Exception as error:
            raise gr.Error(plain_message(error), print_exception=False) from None
        if result.failed:
            raise gr.Error(" ".join(result.failed), print_exception=False)
        if any(run.comparison is None for run in result.runs):
            raise gr.Error(STOPPED, print_exception=False)
        yield result.to_dict(name, config, asked)

    return typed(ask)


def _asked(questions: Any) -> list[str]:
    """The questions of a call; raises ConfigError where they are no list of one to `MOST_QUESTIONS` texts."""
    if not isinstance(questions, list) or not all(isinstance(each, str) for each in questions):
        raise ConfigError(f"questions is {repr(questions)[:40]}: give a list of texts.")
    if not 1 <= len(questions) <= MOST_QUESTIONS:
        raise ConfigError(f"{len(questions)} questions are asked: give one to {MOST_QUESTIONS}.")
    return questions


def answering(
    site: Site, name: str, requests: list[RunRequest], stop: threading.Event, kept: KeptReadings | None = None
) -> Iterator[DocumentRead | Answering | None]:
    """What comes of `requests`; where the GPU is lent call by call, nothing stays on it to be asked again.

    None comes first, once the model is there: the call's time counts from then on, with the reading before any event.
    """
    engine = site.shelf.engine(name)
    yield None
    if not site.shelf.borrows:
        yield from ask_all(engine, requests, stop, kept)
        return
    for index, request in enumerate(requests):
        for event in engine.compare(request):
            yield Answering(index, event)
