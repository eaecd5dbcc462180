"""The endpoint /compare: one question, the full model against the pruned one, for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from sliminfer.engine.limits import RunLimits
from sliminfer.engine.request import RunRequest
from sliminfer.engine.result import RunResult
from sliminfer.engine.side_result import SideResult
from sliminfer.schedule.config import SlimConfig, parse_steps
from sliminfer.schedule.presets import DEFAULT_PRESET
from viz.page.api import STOPPED, watched
from viz.page.arguments import passages, typed
from viz.page.site import Site
from viz.page.stream import plain_message


def endpoint(site: Site) -> Callable[..., Iterator[dict[str, Any]]]:
    """The function behind /compare on the page of `site`."""

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
        keep: list[str] | None = None,
        drop: list[str] | None = None,
        reading: str = "",
        reading_share: float = 0.25,
    ) -> Iterator[dict[str, Any]]:
        """Ask a question about a document twice, of the full and of the pruned model, and compare both.

        Args:
            document: the text to read.
            question: what to ask about it.
            prune: prune steps as LAYER:KEEP, comma-separated, such as "4:25%,8:12.5%"; empty takes the preset.
            preset: gentle, paper, balanced, aggressive, fast or fastest; used where prune is empty.
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
            keep: texts of the document that are never pruned, wherever they stand in it; up to 64.
            drop: texts of the document that go no further than the first prune step, for experiments; up to 64.
            reading: dense, or sparse: the layers before the first prune step attend to chosen blocks of a long prompt;
                empty takes the preset's.
            reading_share: share of the blocks that sparse reading attends to.

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
                shape.seeing,
                active=active if active < 1 else None,
                refresh=refresh,
                gamma=gamma,
                active_preserve=active_preserve,
                decode_unit_size=decode_unit_size,
                **_reading(reading, reading_share),
            )
            if steps:
                config = config.with_changes(steps=steps, least_tokens=0)
            RunLimits(new_tokens=site.most_new_tokens).check(0, max_new_tokens)
            request = RunRequest(
                document, question, config, max_new_tokens, temperature, top_p, seed,
                keep=passages("keep", keep), drop=passages("drop", drop),
            )  # fmt: skip
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

    return typed(compare)


def _reading(reading: str, share: float) -> dict[str, Any]:
    """The fields of a config that say how to read, none where `reading` is empty."""
    if not reading:
        return {}
    return {"reading": reading, "reading_options": {"share": share} if reading == "sparse" else {}}


def progress(side: SideResult) -> dict[str, Any]:
    """How far the side of a comparison that is running has come."""
    return {"side": side.side, "layers": side.layers_done, "new_tokens": len(side.pieces)}
