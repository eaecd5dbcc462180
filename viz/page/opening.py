"""A saved result, chosen or dropped on the page, opened again: read with the care that a stranger's file needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from sliminfer.documents.document import MIB
from sliminfer.errors import SlimError
from viz.door.strict_json import BadJSONError, parse
from viz.figures.fields import Fields, FileError
from viz.figures.kept_map import KeptMap
from viz.figures.run_file import RunFile
from viz.figures.stored import Study, studies_of
from viz.figures.theme import script
from viz.figures.words import plural
from viz.page.desk import QUIET, Desk
from viz.page.downloads import Downloads
from viz.page.live import LiveRun
from viz.page.methods import MethodsTab
from viz.page.panes import status
from viz.page.session import OpenedStudies, ResultStore, StoredMap, Visitor
from viz.page.setup import Setup
from viz.page.site import Site
from viz.page.subject import Subject
from viz.page.tab import Moment, Tab, Updates, of_all

MOST_BYTES = 16 * MIB
MOST_VALUES = 1_000_000
NOTES = ("run", "kept")  # the names of what a run shows
HINT = (
    '<p class="hint">A result that was saved as JSON opens here again, and so does the file of <code>sliminfer run '
    "--json</code> or <code>sliminfer eval --json</code>: choose it, or drop it anywhere on the page.</p>"
)
FOREIGN = "The file is no result: give what Data, JSON saved, or the file of sliminfer run --json or eval --json."
PRESET = "The file is a preset, not a result: give it to Load a preset file."
SEVERAL = "The file holds several questions, and one run is shown at a time: save a run of one question."


@dataclass(frozen=True)
class OpenBox:
    """The button."""

    button: gr.UploadButton

    def wire(self, desk: Desk, downloads: Downloads) -> None:
        """Open what is chosen."""
        events = OpenEvents(desk, downloads)
        self.button.upload(events.take, [desk.visitor, self.button], events.outputs, queue=False, **QUIET)


def build() -> OpenBox:
    """Lay it out; the script opens what is dropped on the page."""
    button = gr.UploadButton(
        "Open a result", file_types=[".json"], size="sm", min_width=120, scale=0, elem_id="open-result"
    )
    gr.HTML(HINT, elem_id="open-hint", apply_default_css=False, js_on_load=script("drop"))
    return OpenBox(button)


@dataclass(frozen=True)
class OpenEvents:
    """The callback of a file."""

    desk: Desk
    downloads: Downloads

    @property
    def site(self) -> Site:
        return self.desk.site

    @property
    def tabs(self) -> Sequence[Tab]:
        return self.desk.tabs

    @property
    def notes(self) -> list[gr.HTML]:
        return [part for tab in self.tabs for name, part in tab.notes.items() if name in NOTES]

    @property
    def outputs(self) -> list[Any]:
        methods = self.desk.find(MethodsTab)
        stored = [] if methods is None else methods.stored.openable
        shown = [part for tab in self.tabs for part in tab.outputs]
        return [self.desk.bar.status, *self.notes, *self.downloads.buttons, *shown, *stored]

    def take(self, visitor: Visitor, path: str | None, request: gr.Request) -> Updates:
        """A file was chosen: what it holds is shown, or the status line says why not."""
        if path is None:
            return dict(gr.skip())
        session = str(request.session_hash)
        self.site.uploads.note(session, path)
        try:
            if self.site.stops.is_running(session):
                raise FileError("A run is under way: open the file once it has ended, or stop it.")
            found = read_result(read_bytes(Path(path)))
        except SlimError as error:
            return {self.desk.bar.status: status(str(error), "error")}
        name = Path(path).name
        return self._run(visitor, found, name) if isinstance(found, RunFile) else self._studies(visitor, found, name)

    def _run(self, visitor: Visitor, file: RunFile, name: str) -> Updates:
        visitor.opened, visitor.ran, visitor.ran_evidence = file, None, ()
        visitor.run, visitor.key = LiveRun(file.run), ResultStore.new_key()
        subject = Subject(None, Setup(model=file.model, question=file.question), opened=in_words(file, name))
        visitor.belongs |= dict.fromkeys(NOTES, subject)
        prompt = file.run.pruned.prompt
        assert prompt is not None  # a file holds a whole run
        stored = StoredMap(KeptMap.from_side(file.run.pruned, file.config, file.evidence), prompt)
        self.site.results.put(visitor.key, stored)
        self.site.holdings.note(visitor)
        moment = Moment(visitor, figures=True, over=True, stored=stored)
        return {
            self.desk.bar.status: status(f"{subject.opened} Run replaces it.", "done"),
            **of_all(self.tabs, lambda tab: tab.drawn(moment)),
            **dict.fromkeys(self.notes, subject.line),
            **self.downloads.offered(visitor),
        }

    def _studies(self, visitor: Visitor, found: tuple[Study, ...], name: str) -> Updates:
        methods = self.desk.find(MethodsTab)
        if methods is None:
            raise FileError("This page shows no evaluations: open the file where there is a tab Methods.")
        visitor.studies = OpenedStudies(name, found)
        said = f"Opened {name}: {plural(len(found), 'evaluation')} of {found[0].model}, shown on the Methods tab."
        return {self.desk.bar.status: status(said, "done"), **methods.stored.opened(visitor)}


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises FileError where it is longer than any result."""
    if path.stat().st_size > MOST_BYTES:
        raise FileError(f"The file is larger than {MOST_BYTES // MIB} MiB, and no result is: give one that was saved.")
    return path.read_bytes()


def read_result(content: bytes) -> RunFile | tuple[Study, ...]:
    """The run or the evaluations in a file. Raises FileError, in one sentence, for anything else."""
    try:
        data = parse(content, MOST_VALUES)
    except BadJSONError as error:
        raise FileError(FOREIGN) from error
    if not isinstance(data, dict):
        raise FileError(FOREIGN)
    if "full" in data or "pruned" in data:
        return RunFile.read(Fields.of(data))
    if "results" in data:
        return studies_of(data)
    if "questions" in data:
        raise FileError(SEVERAL)
    raise FileError(PRESET if "steps" in data or "config" in data else FOREIGN)


def in_words(file: RunFile, name: str) -> str:
    """Where an opened run comes from: the file, the model, the day, and what it was about."""
    date = "" if file.date is None else f" on {file.date.day} {file.date:%B %Y}"
    question = " ".join(file.question.split())
    document = f" on {file.document}" if file.document else ""
    about = f", asked “{question}”{document}" if question else document
    return f"Opened from {name}, run by {file.model}{date}{about}."
