"""The page: the column of choices, the run bar, the tabs, and which event calls what."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import gradio as gr

from viz.figures.theme import script
from viz.page import about, api, cache, compare, controls, diffusion, kept, methods, preset_input, share, stored, theme
from viz.page.diffusion import DiffusionEvents
from viz.page.document_events import DocumentEvents
from viz.page.document_input import about_document
from viz.page.methods import MethodsEvents
from viz.page.panes import status
from viz.page.preset_input import PresetEvents
from viz.page.run_events import RunBar, RunEvents
from viz.page.schedule_input import promise
from viz.page.session import TIME_TO_LIVE_S, Visitor
from viz.page.share import ShareEvents
from viz.page.site import Site
from viz.page.stored import StoredView
from viz.page.stream import ENGINE_QUEUE, READERS, READING_QUEUE

TITLE = "SlimInfer Studio"
TAGLINE = "Ask a long document a question, and watch the full model and the pruned model answer side by side."
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def build(site: Site) -> gr.Blocks:
    """The whole page, complete before the first event: the first example is loaded."""
    example = site.example(site.start.example)
    document = None if example is None else example.document()
    text = "" if document is None else document.text
    tokens = site.count_tokens(text)
    shape = site.known(site.start.model).shape
    first = Visitor(document=document, tokens=tokens)
    with gr.Blocks(title=TITLE, fill_width=True, analytics_enabled=False, delete_cache=(600, TIME_TO_LIVE_S)) as page:
        visitor = gr.State(first, time_to_live=TIME_TO_LIVE_S)
        gr.HTML(_header(site.upload_limit), elem_id="masthead", apply_default_css=False, js_on_load=script("selection"))
        with gr.Row(elem_id="workbench", equal_height=False):
            with gr.Column(scale=0, min_width=352, elem_id="setup"):
                chosen = controls.build(
                    site.start,
                    shape.layers,
                    site.examples,
                    about_document(document, tokens),
                    site.offers(tokens),
                    site.most_new_tokens,
                )
                load = preset_input.build()
                chosen.schedule.drawing.value = promise(site.start, shape, max(1, tokens))
            with gr.Column(elem_id="results", min_width=300):
                with gr.Row(elem_id="run-bar"):
                    run = gr.Button("Run", variant="primary", elem_id="run", min_width=110, scale=0)
                    stop = gr.Button("Stop", interactive=False, elem_id="stop", min_width=90, scale=0)
                    line = gr.HTML(
                        status(_ready(site)), elem_id="status", apply_default_css=False, js_on_load=script("status")
                    )
                bar = RunBar(run, stop, line)
                with gr.Tabs(elem_id="tabs"):
                    with gr.Tab("Compare", id="compare"):
                        comparing = compare.build(site.results)
                    with gr.Tab("Kept tokens", id="kept"):
                        keeping = kept.build(site.results, comparing.map, text)
                    with gr.Tab("Diffusion", id="diffusion"):
                        spreading = diffusion.build()
                    with gr.Tab("Cache", id="cache"):
                        caching = cache.build()
                    with gr.Tab("Methods", id="methods") as methods_tab:
                        rivals = methods.build()
                        evaluated = stored.build(site)
                    with gr.Tab("About", id="about"):
                        gr.HTML(about.html(site), elem_id="about", apply_default_css=False)
                box = share.build()
        documents = DocumentEvents(site, chosen, keeping, line)
        sharing = ShareEvents(site, chosen, box, line)
        _wire_run(RunEvents(site, chosen, bar, comparing, keeping, caching), sharing, evaluated, visitor)
        gr.on(
            [methods_tab.select, evaluated.chosen.input], evaluated.drawn, [visitor, evaluated.chosen],
            evaluated.outputs, queue=False, **QUIET,
        )  # fmt: skip
        _wire_document(documents, visitor)
        presets = PresetEvents(site, chosen, line)
        load.upload(presets.take, [visitor, load, *chosen.inputs], presets.outputs, queue=False, **QUIET)
        spread = DiffusionEvents(site, chosen, bar, spreading)
        for events in (spread, MethodsEvents(site, chosen, bar, rivals)):
            _wire_study(events, sharing, visitor)
        keeping.text.pick(spread.pick, visitor, [spreading.phrase, spreading.picked], queue=False, **QUIET)
        spreading.take.click(None, None, spreading.phrase, js=diffusion.TAKE_SELECTION, **QUIET)
        _wire_link(page, sharing, documents, visitor)
        api.add(site)
    return page


def launch_options(site: Site) -> dict[str, Any]:
    """What `launch` needs to serve the page as designed, whatever the host and port."""
    return {
        "theme": theme.build(),
        "css": theme.css(),
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "pwa": False,
        "share": False,
        "show_error": True,
        "max_file_size": site.upload_limit,
        "mcp_server": find_spec("mcp") is not None,
    }


def _wire_run(events: RunEvents, sharing: ShareEvents, evaluated: StoredView, visitor: gr.State) -> None:
    bar, box = events.bar, sharing.box
    shown = [bar.run, bar.stop, bar.status, *events.compare.outputs, *events.kept.outputs, *events.cache.outputs]
    inputs = [visitor, *events.inputs]
    settings = events.controls.settings
    half = events.cache.half.click(
        lambda: list(cache.HALF.values()), None, [settings[name] for name in cache.HALF], queue=False, **QUIET
    )
    for started in (bar.run.click, half.then):
        ready = started(events.prepare, inputs, shown, queue=False, **QUIET)
        running = ready.success(events.run, inputs, [visitor, *shown], concurrency_id=ENGINE_QUEUE, **QUIET)
        running.failure(events.failed, None, shown, queue=False, **QUIET)
        running.then(sharing.files, visitor, box.downloads, queue=False, **QUIET)
        running.then(evaluated.drawn, [visitor, evaluated.chosen], evaluated.outputs, queue=False, **QUIET)
    relinked = events.cache.link.change(
        events.cache.relink, [visitor, events.cache.link], events.cache.outputs, queue=False, **QUIET
    )
    relinked.then(sharing.files, visitor, box.downloads, queue=False, **QUIET)
    bar.stop.click(events.stop, None, [bar.run, bar.stop, bar.status], queue=False, **QUIET)


def _wire_document(events: DocumentEvents, visitor: gr.State) -> None:
    document, schedule, model = events.controls.document, events.controls.schedule, events.controls.model
    taken = _taken(events)
    inputs = [document.example, document.upload, document.paste]
    document.source.input(
        events.source, [visitor, document.source, document.example, document.paste],
        list({id(c): c for c in [*taken, *inputs]}.values()), queue=False, **QUIET,
    )  # fmt: skip
    document.example.input(events.example, [visitor, document.example], taken, queue=False, **QUIET)
    read = document.upload.upload(
        events.upload, [visitor, document.upload], taken, concurrency_id=READING_QUEUE, concurrency_limit=READERS,
        **QUIET,
    )  # fmt: skip
    read.failure(events.unread, None, [events.status, document.upload], queue=False, **QUIET)
    document.paste.blur(events.paste, [visitor, document.paste], taken, queue=False, **QUIET)
    for chip in document.chips:
        chip.click(None, chip, document.question, js="(text) => text", **QUIET)
    document.question.change(
        events.expected, [document.source, document.example, document.question], document.expect, queue=False,
        trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    planned = [schedule.preset, schedule.count, *schedule.rows, *schedule.layers, *schedule.keeps, schedule.drawing]
    schedule.preset.input(events.preset, [visitor, schedule.preset, model], planned, queue=False, **QUIET)
    for part in schedule.inputs:
        part.input(
            events.steps, [visitor, model, *schedule.inputs], [*planned, events.status], queue=False,
            trigger_mode="always_last", **QUIET,
        )  # fmt: skip
    model.change(events.model, [visitor, model, schedule.preset], [*planned, events.status], queue=False, **QUIET)


def _wire_study(events: DiffusionEvents | MethodsEvents, sharing: ShareEvents, visitor: gr.State) -> None:
    bar = events.bar
    shown = [visitor, bar.run, bar.stop, bar.status, *events.tab.outputs]
    ran = events.tab.start.click(events.run, [visitor, *events.inputs], shown, concurrency_id=ENGINE_QUEUE, **QUIET)
    ran.then(sharing.files, visitor, sharing.box.downloads, queue=False, **QUIET)


def _wire_link(page: gr.Blocks, sharing: ShareEvents, documents: DocumentEvents, visitor: gr.State) -> None:
    choices = sharing.controls
    shown = {id(part): part for part in [*_taken(documents), *choices.everything, sharing.status]}
    page.load(documents.arrive, visitor, list(shown.values()), queue=False, **QUIET)
    sharing.box.make_link.click(sharing.link, choices.inputs, [sharing.box.link, sharing.status], queue=False, **QUIET)


def _taken(events: DocumentEvents) -> list[Any]:
    """What changes when the visitor's document does."""
    document = events.controls.document
    shown = [events.status, events.controls.model, document.about, document.question, document.upload]
    return [*shown, document.expect, *document.chips, *events.kept.outputs]


def _header(upload_limit: int) -> str:
    return f'<header data-upload-limit="{upload_limit}"><h1>{TITLE}</h1><p>{TAGLINE}</p></header>'


def _ready(site: Site) -> str:
    loaded = site.shelf.loaded(site.start.model)
    if loaded is None:
        return "Ready. The model is loaded at the first run."
    return f"Ready. {loaded.layers} layers on {loaded.device_name}, {loaded.dtype_name}."
