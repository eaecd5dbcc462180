"""The page's functions for programs: typed, documented endpoints for `gradio_client`, HTTP and MCP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from sliminfer.config import DEFAULT_PRESET, SlimConfig, parse_steps
from sliminfer.diffusion import DiffusionPlan, DiffusionResult, probe
from sliminfer.documents import parse_document_safely
from sliminfer.engine import RunRequest
from sliminfer.errors import SlimError
from sliminfer.models import memory_estimate
from sliminfer.results import RunResult
from viz.page.diffusion import find_passage
from viz.page.site import Site
from viz.page.stream import ENGINE_QUEUE, plain_message

MOST_NEW_TOKENS = 512


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
    ) -> dict[str, Any]:
        """Ask a question about a document twice, of the full and of the pruned model, and compare both.

        Args:
            document: the text to read.
            question: what to ask about it.
            prune: prune steps as LAYER:KEEP, comma-separated, such as "4:25%,8:12.5%"; empty takes the preset.
            preset: gentle, paper or aggressive; used where prune is empty.
            model: a name from /models; empty takes the page's own.
            max_new_tokens: longest answer, at most 512.
            temperature: 0 always takes the likeliest token.
            top_p: nucleus for sampling.
            seed: seed for sampling.

        Returns:
            Both answers with their times in seconds and memory in bytes, what was kept at each prune layer,
            the ratios full over pruned, and the fidelity; the same keys as `sliminfer run --json`.
        """
        name = model or site.start.model
        try:
            shape = site.known(name).shape
            steps = parse_steps(prune)
            config = SlimConfig(steps=steps) if steps else SlimConfig.preset(preset, shape.layers)
            tokens = min(max_new_tokens, MOST_NEW_TOKENS)
            request = RunRequest(document, question, config, tokens, temperature, top_p, seed)
            work = site.shelf.worker.submit(lambda: RunResult.of(site.shelf.engine(name).compare(request)))
            result = work.result()
        except Exception as error:
            raise gr.Error(plain_message(error), print_exception=False) from None
        if result.failed:
            raise gr.Error(" ".join(result.failed.values()), print_exception=False)
        return result.to_dict(name, config)

    def diffusion(
        document: str, question: str, passage: str, every_layer: bool = False, model: str = "", seed: int = 0
    ) -> dict[str, Any]:
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
            entering each layer, in bins of positions), answer (token ids) and tokens.
        """
        name = model or site.start.model
        try:
            site.known(name)
            request = RunRequest(document, question)
            span = find_passage(document, passage, ())

            def measure() -> DiffusionResult:
                engine = site.shelf.engine(name)
                prompt = engine.prepare(request)
                depth = engine.loaded.layers
                fitting = DiffusionPlan.for_model(engine.loaded, len(prompt))
                plan = replace(DiffusionPlan.every_layer(depth) if every_layer else fitting, seed=seed)
                *_, result = probe(engine, prompt, prompt.token_range(*span), plan)
                return result

            return site.shelf.worker.submit(measure).result().to_dict()
        except Exception as error:
            raise gr.Error(plain_message(error), print_exception=False) from None

    def read_document(file: gr.FileData) -> dict[str, Any]:
        """The text of an uploaded file: PDF, Word, EPUB, HTML, Markdown, CSV, JSON, source code or plain text.

        Args:
            file: the upload.

        Returns:
            text, name, kind, encoding, pages, characters, tokens, and warnings about what was lost on the way.
        """
        path = Path(file["path"]).resolve()
        # Gradio hands the path of a plain endpoint on as the caller wrote it.
        if not path.is_relative_to(Path(get_upload_folder()).resolve()):
            raise gr.Error("Only an uploaded file can be read: upload it first.", print_exception=False)
        try:
            document = parse_document_safely(path.read_bytes(), str(file.get("orig_name") or path.name))
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
        faults = {offer.name: offer.fault for offer in site.offers(tokens)}
        return [
            {
                "name": name,
                "layers": known.shape.layers,
                "parameters": known.shape.params,
                "context": known.shape.context,
                "bytes": memory_estimate(known.shape, tokens).total,
                "fault": faults[name],
            }
            for name, known in site.models.items()
        ]

    gr.api(compare, concurrency_id=ENGINE_QUEUE)
    gr.api(diffusion, concurrency_id=ENGINE_QUEUE)
    gr.api(read_document)
    gr.api(models, queue=False)
