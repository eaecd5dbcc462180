"""The last run as files to take away, each made when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sliminfer.engine.result import RunResult
from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from viz.figures.export import Figure, archive, csv_bytes, run_files, run_json
from viz.figures.picture import picture_png
from viz.figures.race import race_gif
from viz.figures.report import report_html
from viz.figures.run_file import RunFile
from viz.figures.table import Table
from viz.page.kept import token_evidence
from viz.page.session import Visitor
from viz.page.tab import Tab
from viz.page.tabs import TABS

NO_RUN = "There is no finished run to take away: press Run first."


@dataclass(frozen=True)
class Takeaway:
    """A run that both sides finished, with all that its files say.

    Attributes:
        asked: what it is about, as `run.json` says it.
        evidence: token ranges of the prompt that hold the answer, where they are known.
        figures, tables: what the tabs have on it, by file name.
    """

    run: RunResult
    config: SlimConfig
    model: str
    asked: Mapping[str, Any]
    evidence: tuple[Span, ...]
    figures: Mapping[str, Figure]
    tables: Mapping[str, Table]

    @classmethod
    def of(cls, visitor: Visitor, tabs: Sequence[type[Tab]] = TABS) -> Takeaway:
        """The visitor's run, with what `tabs` have on it. Raises ConfigError where there is none."""
        run, setup, file = visitor.run.view, visitor.ran, visitor.opened
        if file is not None:
            return cls._opened(file, Visitor(run=visitor.run, link=visitor.link), tabs)
        if setup is None or not can_be_taken(visitor):
            raise ConfigError(NO_RUN)
        prompt = run.pruned.prompt
        evidence = () if prompt is None else token_evidence(prompt, visitor.ran_evidence)
        of = visitor.belongs.get("run")
        document = visitor.document if of is None else of.document
        name = "" if document is None else document.name
        about = asked(setup.question, name, visitor.ran_at, evidence)
        return cls(run, setup.config(), setup.model, about, evidence, *on_tabs(visitor, tabs))

    @classmethod
    def _opened(cls, file: RunFile, alone: Visitor, tabs: Sequence[type[Tab]]) -> Takeaway:
        """A run from a file, of which the tabs know no more than a visitor with nothing else, `alone`, shows them."""
        date = "" if file.date is None else file.date.isoformat()
        about = asked(file.question, file.document, date, file.evidence)
        return cls(file.run, file.config, file.model, about, file.evidence, *on_tabs(alone, tabs))

    @property
    def question(self) -> str:
        return str(self.asked["question"])

    def picture(self) -> bytes:
        """The run as one PNG."""
        return picture_png(self.run, self.config, self.model, self.question, self.evidence)

    def race(self) -> bytes:
        """Both answers as an animated GIF."""
        return race_gif(self.run, self.model, self.question)

    def report(self) -> bytes:
        """The report, one page of HTML."""
        figures = tuple(self.figures.values())
        page = report_html(self.run, self.config, self.model, self.question, self.evidence, figures)
        return page.encode("utf-8")

    def data(self) -> bytes:
        """The run as JSON."""
        return run_json(self.run, self.config, self.model, self.asked)

    def bundle(self) -> bytes:
        """Picture, race, data, and every figure and table, in one ZIP."""
        files = {"picture.png": self.picture(), "race.gif": self.race()}
        files |= run_files(self.run, self.config, self.model, self.evidence, self.figures, self.asked)
        return archive(files | {f"{name}.csv": csv_bytes(table) for name, table in self.tables.items()})


@dataclass(frozen=True)
class Kind:
    """A file that a run can be taken away as: its button, its name and type, and what makes it."""

    label: str
    name: str
    type: str
    make: Callable[[Takeaway], bytes]

    @property
    def ending(self) -> str:
        return self.name.rpartition(".")[2]


KINDS = (
    Kind("Picture, PNG", "sliminfer_run.png", "image/png", Takeaway.picture),
    Kind("Race, GIF", "sliminfer_race.gif", "image/gif", Takeaway.race),
    Kind("Report, HTML", "sliminfer_report.html", "text/html", Takeaway.report),
    Kind("Data, JSON", "sliminfer_run.json", "application/json", Takeaway.data),
    Kind("Figures and tables, ZIP", "sliminfer_run.zip", "application/zip", Takeaway.bundle),
)


def can_be_taken(visitor: Visitor) -> bool:
    """Whether the visitor has a run that both sides finished."""
    known = visitor.ran is not None or visitor.opened is not None
    return known and visitor.run.view.comparison is not None


def on_tabs(visitor: Visitor, tabs: Sequence[type[Tab]]) -> tuple[dict[str, Figure], dict[str, Table]]:
    """The figures and the tables that `tabs` have on a visitor's run."""
    figures = {name: figure for tab in tabs for name, figure in tab.figures(visitor).items()}
    return figures, {name: table for tab in tabs for name, table in tab.tables(visitor).items()}


def asked(question: str, document: str, date: str, evidence: Sequence[Span]) -> dict[str, Any]:
    """What a run was about, for whoever opens its data later.

    The question, the name of the document, the moment in UTC, and the tokens of the prompt that hold the answer.
    """
    return {"question": question, "document": document, "date": date, "evidence": [list(span) for span in evidence]}
