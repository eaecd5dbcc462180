"""The page: the column of choices, the run bar, the tabs, and which event calls what."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import gradio as gr

from viz.figures.theme import script
from viz.page import api, controls, preset_input, run_bar, share, theme
from viz.page.blocks import StudioBlocks
from viz.page.desk import QUIET, Desk
from viz.page.document_events import DocumentEvents
from viz.page.document_input import about_document
from viz.page.preset_input import PresetEvents
from viz.page.run_events import RunEvents
from viz.page.schedule_input import promise
from viz.page.session import TIME_TO_LIVE_S, Visitor
from viz.page.share import ShareEvents
from viz.page.site import Site
from viz.page.stream import ENGINE_QUEUE, READERS, READING_QUEUE
from viz.page.tab import Tab
from viz.page.tabs import TABS

TITLE = "SlimInfer Studio"
MOST_SESSIONS = 2_000  # Gradio keeps a quarter of a megabyte for each
TAGLINE = "Ask a long document a question, and watch the full model and the pruned model answer side by side."


def build(site: Site, tabs: Sequence[type[Tab]] = TABS) -> gr.Blocks:
    """The whole page, complete before the first event: the first example is loaded."""
    example = site.example(site.start.example)
    document = None if example is None else example.document()
    tokens = site.count_tokens("" if document is None else document.text)
    shape = site.known(site.start.model).shape
    first = Visitor(document=document, tokens=tokens)
    with StudioBlocks(
        title=TITLE, fill_width=True, analytics_enabled=False, delete_cache=(600, TIME_TO_LIVE_S)
    ) as page:
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
                bar = run_bar.build(_ready(site))
                built, frames = _lay_out(tabs, site, first)
                box = share.build()
        sharing = ShareEvents(site, chosen, box, bar.status, tabs)
        desk = Desk(site, visitor, chosen, bar, built, frames, sharing.files, box.downloads)
        for tab in built:
            tab.wire(desk)
        _wire_run(RunEvents(site, chosen, bar, built), desk)
        documents = DocumentEvents(site, chosen, built, bar.status)
        _wire_document(documents, visitor)
        presets = PresetEvents(site, chosen, bar.status)
        load.upload(presets.take, [visitor, load, *chosen.inputs], presets.outputs, queue=False, **QUIET)
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
        "state_session_capacity": MOST_SESSIONS,
        "mcp_server": find_spec("mcp") is not None,
    }


def _lay_out(tabs: Sequence[type[Tab]], site: Site, first: Visitor) -> tuple[tuple[Tab, ...], dict[str, gr.Tab]]:
    """The tabs side by side, and their frames by id."""
    built, frames = [], {}
    with gr.Tabs(elem_id="tabs"):
        for kind in tabs:
            with gr.Tab(kind.label, id=kind.id) as frames[kind.id]:
                built.append(kind.build(site, first))
    return tuple(built), frames


def _wire_run(events: RunEvents, desk: Desk) -> None:
    """The button, and whatever else on a tab starts a run; tabs are wired by now."""
    bar, visitor, shown = events.bar, desk.visitor, events.outputs
    inputs = [visitor, *events.inputs]
    for started in (bar.run.click, *desk.runs):
        ready = started(events.prepare, inputs, shown, queue=False, **QUIET)
        running = ready.success(events.run, inputs, [visitor, *shown], concurrency_id=ENGINE_QUEUE, **QUIET)
        running.failure(events.failed, None, shown, queue=False, **QUIET)
        desk.renew_downloads(running.then)
        for callback, further, outputs in desk.afterwards:
            running.then(callback, [visitor, *further], outputs, queue=False, **QUIET)
    bar.stop.click(events.stop, None, bar.outputs, queue=False, **QUIET)


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


def _wire_link(page: gr.Blocks, sharing: ShareEvents, documents: DocumentEvents, visitor: gr.State) -> None:
    choices = sharing.controls
    shown = {id(part): part for part in [*_taken(documents), *choices.everything, sharing.status]}
    page.unload(documents.left)
    page.load(documents.arrive, visitor, list(shown.values()), queue=False, **QUIET)
    sharing.box.make_link.click(sharing.link, choices.inputs, [sharing.box.link, sharing.status], queue=False, **QUIET)


def _taken(events: DocumentEvents) -> list[Any]:
    """What changes when the visitor's document does."""
    document = events.controls.document
    shown = [events.status, events.controls.model, document.about, document.question, document.upload]
    return [*shown, document.expect, *document.chips, *(part for tab in events.tabs for part in tab.outputs)]


def _header(upload_limit: int) -> str:
    return f'<header data-upload-limit="{upload_limit}"><h1>{TITLE}</h1><p>{TAGLINE}</p></header>'


def _ready(site: Site) -> str:
    loaded = site.shelf.loaded(site.start.model)
    if loaded is None:
        return "Ready. The model is loaded at the first run."
    return f"Ready. {loaded.layers} layers on {loaded.device_name}, {loaded.dtype_name}."
