"""The page: the column of choices, the run bar, the tabs, and which event calls what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import gradio as gr

from viz.figures.theme import script
from viz.page import api, controls, preset_input, run_bar, share, theme
from viz.page.abilities import ability
from viz.page.blocks import StudioBlocks
from viz.page.controls import Controls
from viz.page.desk import AS_TYPED, QUIET, Desk, Trigger
from viz.page.document_events import DocumentEvents
from viz.page.document_input import about_document
from viz.page.follow import Follow, drawn, room_said
from viz.page.panes import status
from viz.page.preset_input import PresetEvents
from viz.page.run_bar import RunBar
from viz.page.run_events import RunEvents
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
        gr.HTML(_header(site), elem_id="masthead", apply_default_css=False, js_on_load=script("selection"))
        with gr.Row(elem_id="workbench", equal_height=False):
            with gr.Column(scale=0, min_width=352, elem_id="setup"):
                chosen = controls.build(
                    site.start,
                    shape.layers,
                    site.examples,
                    about_document(document, tokens),
                    site.offers(tokens),
                    site.most_new_tokens,
                    ability(site.start.model, site.models),
                )
                load = preset_input.build()
                chosen.schedule.drawing.value = drawn(site, first, site.start)
                chosen.document.part.room.value = room_said(site, first, site.start)
            with gr.Column(elem_id="results", min_width=300):
                bar = run_bar.build(_ready(site))
                built, frames = _lay_out(tabs, site, first)
                box = share.build()
        sharing = ShareEvents(site, chosen, box, bar.status)
        desk = Desk(site, visitor, chosen, bar, built, frames)
        for tab in built:
            tab.wire(desk)
        box.downloads.wire(desk, tabs)
        box.open.wire(desk, box.downloads)
        follow = Follow(site, chosen, built)
        _wire_run(RunEvents(site, chosen, bar, built, follow), desk)
        documents = DocumentEvents(site, chosen, built, bar.status)
        presets = PresetEvents(site, chosen, bar.status)
        loaded = load.upload(presets.take, [load, *chosen.inputs], presets.outputs, queue=False, **QUIET)
        _wire_link(page, sharing, documents, desk)
        _wire_follow(follow, visitor, [loaded.then, *desk.changes, *_wire_document(documents, visitor)])
        _wire_old_errors(chosen, bar)
        api.add(site)
    return page


def first_light(site: Site) -> tuple[str, str]:
    """What the page's HTML is sent with, for its head and for its body: see `viz.page.first_light`."""
    return site.first_light.head, site.first_light.body(TITLE, TAGLINE)


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
        ready = started(events.prepare, inputs, shown, queue=False, **AS_TYPED)
        running = ready.success(events.run, inputs, [visitor, *shown], concurrency_id=ENGINE_QUEUE, **AS_TYPED)
        running.failure(events.failed, visitor, shown, queue=False, **QUIET)
        for callback, further, outputs in desk.afterwards:
            running.then(callback, [visitor, *further], outputs, queue=False, **QUIET)
    bar.stop.click(events.stop, None, bar.outputs, queue=False, **QUIET)


def _wire_document(events: DocumentEvents, visitor: gr.State) -> list[Trigger]:
    """The cards on the left; gives the moments at which the visitor's document may be another one."""
    document, schedule, model = events.controls.document, events.controls.schedule, events.controls.model
    taken = _taken(events)
    inputs = [document.example, document.upload, document.paste]
    chosen = document.source.input(
        events.source, [visitor, document.source, document.example, document.paste],
        list({id(c): c for c in [*taken, *inputs]}.values()), queue=False, **QUIET,
    )  # fmt: skip
    example = document.example.input(events.example, [visitor, document.example], taken, queue=False, **QUIET)
    read = document.upload.upload(
        events.upload, [visitor, document.upload], taken, concurrency_id=READING_QUEUE, concurrency_limit=READERS,
        **QUIET,
    )  # fmt: skip
    unread = read.failure(events.unread, visitor, taken, queue=False, **QUIET)
    removed = document.upload.clear(events.removed, visitor, taken, queue=False, **QUIET)
    part = document.part
    parted = [
        trigger(events.part, [visitor, part.how, part.words], taken, queue=False, **QUIET)
        for trigger in (part.how.input, part.words.submit, part.words.blur)
    ]
    pasted = document.paste.blur(events.paste, [visitor, document.paste], taken, queue=False, **QUIET)
    for chip in document.chips:
        chip.click(None, chip, document.question, js="(text) => text", **QUIET)
    planned = [schedule.preset, schedule.count, *schedule.rows, *schedule.layers, *schedule.keeps, events.status]
    least, *reading = (events.controls.settings[name] for name in ("least_tokens", "reading", "reading_share"))
    told = [model, *reading, *schedule.inputs]
    schedule.preset.input(events.preset, [schedule.preset, model], [*planned, least, *reading], queue=False, **QUIET)
    schedule.count.input(events.count, told, planned, queue=False, **AS_TYPED)
    for slider in (*schedule.layers, *schedule.keeps, *reading):
        slider.input(events.steps, told, schedule.preset, queue=False, trigger_mode="always_last", **AS_TYPED)
    other = list({id(shown): shown for shown in [*planned, *taken]}.values())
    modelled = model.change(events.model, [visitor, model, schedule.preset, part.words], other, queue=False, **QUIET)
    return [each.then for each in (chosen, example, read, unread, removed, pasted, *parted, modelled)]


def _wire_follow(follow: Follow, visitor: gr.State, triggers: Sequence[Trigger]) -> None:
    """Whatever changes, what follows from it is drawn anew."""
    inputs = [visitor, *follow.controls.inputs]
    gr.on(
        [part.change for part in follow.controls.inputs], follow.after, inputs, follow.outputs, queue=False,
        trigger_mode="always_last", **AS_TYPED,
    )  # fmt: skip
    for trigger in triggers:
        trigger(follow.after, inputs, follow.outputs, queue=False, **AS_TYPED)


def _wire_old_errors(chosen: Controls, bar: RunBar) -> None:
    """An error goes with the first thing that is done about it."""
    edited = [part.input for part in chosen.inputs if part is not chosen.model]
    done = json.dumps(status("Ready."))
    gr.on(
        [*edited, *(chip.click for chip in chosen.document.chips)], None, bar.status, bar.status,
        js=f"(line) => line?.includes('status error') ? {done} : line", **QUIET,
    )  # fmt: skip


def _wire_link(page: gr.Blocks, sharing: ShareEvents, documents: DocumentEvents, desk: Desk) -> None:
    """What a link brings, and a link to take away. What follows from it follows from the changes that it makes.

    Run can be pressed once the link is read, or could not be: pressed before, it would run what the page starts with.
    """
    choices = sharing.controls
    shown = {id(part): part for part in [*_taken(documents), *choices.everything, sharing.status]}
    page.unload(documents.left)
    sharing.box.make_link.click(
        sharing.link, choices.inputs, [sharing.box.link, sharing.status], queue=False, **AS_TYPED
    )
    arrived = page.load(documents.arrive, desk.visitor, list(shown.values()), queue=False, **QUIET)
    arrived.then(None, None, desk.bar.run, js="() => ({__type__: 'update', interactive: true})", **QUIET)


def _taken(events: DocumentEvents) -> list[Any]:
    """What changes when the visitor's document does."""
    document = events.controls.document
    shown = [events.status, events.controls.model, document.about, document.question, document.upload]
    shown += document.part.outputs
    return [*shown, *document.chips, *(part for tab in events.tabs for part in tab.outputs)]


def _header(site: Site) -> str:
    again = '<button type="button" id="show-recording">Recorded run and tour</button>' if site.first_light.run else ""
    return f'<header data-upload-limit="{site.upload_limit}"><h1>{TITLE}</h1><p>{TAGLINE}</p>{again}</header>'


def _ready(site: Site) -> str:
    loaded = site.shelf.loaded(site.start.model)
    if loaded is None:
        return "Ready. The model is loaded at the first run."
    return f"Ready. {loaded.layers} layers on {loaded.device_name}, {loaded.dtype_name}."
