"""The page's functions for programs: typed, documented endpoints for `gradio_client`, HTTP and MCP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.result import DiffusionResult
from sliminfer.documents import parse_document_safely
from sliminfer.engine.limits import RunLimits
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.errors import SlimError
from sliminfer.schedule.config import SlimConfig, parse_steps
from sliminfer.schedule.presets import DEFAULT_PRESET
from viz.page.asking import beats
from viz.page.compat import upload_folder
from viz.page.passage import find_passage
from viz.page.session import ResultStore
from viz.page.site import Site
from viz.page.stream import ENGINE_QUEUE, READERS, READING_QUEUE, plain_message
from viz.page.zero import probing

T = TypeVar("T")

STOPPED = "The page stopped this before its end: call again."


def add(site: Site) -> None:
    """Add the endpoints /compare, /diffusion, /read_document and /models to the page being built."""

    def compare(
        document: str,
        question: str,
        prune: str = "",
        preset: str = DEFAULT_PRESET,
        model: str = "",
        max_new_tokens: int = 48,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        active: float = 1.0,
        refresh: int = 8,
        gamma: float = 0.9,
        active_preserve: bool = False,
        decode_unit_size: int = 8,
    ) -> Iterator[dict[str, Any]]:
        """Ask a question about a document twice, of the full and of the pruned model, and compare both.

        Args:
            document: the text to read.
            question: what to ask about it.
            prune: prune steps as LAYER:KEEP, comma-separated, such as "4:25%,8:12.5%"; empty takes the preset.
            preset: gentle, paper or aggressive; used where prune is empty.
            model: a name from /models; empty takes the page's own.
            max_new_tokens: longest answer; what is more than the page offers is refused.
            temperature: 0 always takes the likeliest token.
            top_p: nucleus for sampling.
            seed: seed for sampling.
            active: share of the kept blocks that stays on the device while the answer is written; 1 keeps all.
            refresh: decode steps between two looks at this working set.
            gamma: blocks are swapped when less of the working set than this share is still wanted.
            active_preserve: whether the layers before the first prune step hold a working set as well.
            decode_unit_size: tokens per mean key that a look scores.

        Returns:
            Both answers with their times in seconds and memory in bytes, what was kept at each prune layer,
            the ratios full over pruned, and the fidelity; the same keys as `sliminfer run --json`. Until then
            {"progress": {"side", "layers", "new_tokens"}}, a few times a second; leaving the stream ends the run.
        """
        name = model or site.start.model
        result = RunResult()
        try:
            shape = site.known(name).shape
            site.check_text(document, question)
            steps = parse_steps(prune)
            config = SlimConfig.preset(
                preset,
                shape.layers,
                name,
                active=active if active < 1 else None,
                refresh=refresh,
                gamma=gamma,
                active_preserve=active_preserve,
                decode_unit_size=decode_unit_size,
            )
            if steps:
                config = config.with_changes(steps=steps, least_tokens=0)
            RunLimits(new_tokens=site.most_new_tokens).check(0, max_new_tokens)
            request = RunRequest(document, question, config, max_new_tokens, temperature, top_p, seed)
            for events in watched(site, lambda: site.shelf.engine(name).compare(request)):
                for event in events:
                    result = result.after(event)
                yield {"progress": progress(result.latest)}
        except Exception as error:
            raise gr.Error(plain_message(error), print_exception=False) from None
        if result.failed:
            raise gr.Error(" ".join(result.failed.values()), print_exception=False)
        if result.comparison is None:
            raise gr.Error(STOPPED, print_exception=False)
        yield result.to_dict(name, config)

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

    def read_document(file: gr.FileData) -> dict[str, Any]:
        """The text of an uploaded file: PDF, Word, EPUB, HTML, Markdown, CSV, JSON, source code or plain text.

        Args:
            file: the upload.

        Returns:
            text, name, kind, encoding, pages, characters, tokens, and warnings about what was lost on the way.
        """
        path = Path(file["path"]).resolve()
        # Gradio hands the path of a plain endpoint on as the caller wrote it.
        if not path.is_relative_to(upload_folder()):
            raise gr.Error("Only an uploaded file can be read: upload it first.", print_exception=False)
        try:
            name = str(file.get("orig_name") or path.name)
            document = parse_document_safely(path.read_bytes(), name, site.document_limits)
        except SlimError as error:
            raise gr.Error(str(error), print_exception=False) from None
        return {
            "text": document.text,
            "name": document.name,
            "kind": document.kind,
            "encoding": document.encoding,
            "pages": document.pages,
            "characters": document.characters,
            "tokens": site.count_tokens(document.text),
            "warnings": list(document.warnings),
        }

    def models(tokens: int = 4096) -> list[dict[str, Any]]:
        """The models on offer, with the memory a prompt takes and why a model cannot run here, if so.

        Args:
            tokens: prompt length in tokens.

        Returns:
            One entry a model: name, layers, parameters, context in tokens, bytes needed, and fault (empty if
            it fits).
        """
        return [
            {
                "name": offer.name,
                "layers": site.known(offer.name).shape.layers,
                "parameters": site.known(offer.name).shape.params,
                "context": site.known(offer.name).shape.context,
                "bytes": offer.need,
                "fault": offer.fault,
            }
            for offer in site.offers(tokens)
        ]

    gr.api(compare, concurrency_id=ENGINE_QUEUE)
    gr.api(diffusion, concurrency_id=ENGINE_QUEUE)
    gr.api(read_document, concurrency_id=READING_QUEUE, concurrency_limit=READERS)
    gr.api(models, queue=False)


def watched(site: Site, start: Callable[[], Iterator[T]]) -> Iterator[tuple[T, ...]]:
    """The items of `start()`, computed on an engine's thread, in handfuls of what came since the last one.

    A handful, be it empty, comes at least every quarter of a second: Gradio closes an endpoint whose client has
    gone or cancelled between two of them, and that stops the work at its next item.
    """
    call = ResultStore.new_key()  # a client may have several calls under way, which must not stop each other
    for beat in beats(site, call, site.stops.begin(call), start):
        yield beat.items


def progress(side: SideResult) -> dict[str, Any]:
    """How far the side of a comparison that is running has come."""
    return {"side": side.side, "layers": side.layers_done, "new_tokens": len(side.pieces)}
