"""What a tab is: one file that implements `Tab`, named in `tabs.TABS`. Everything else about it is its own business."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

from viz.figures.export import Figure
from viz.figures.kept import kept_html
from viz.figures.table import Table
from viz.page.desk import Desk
from viz.page.session import StoredMap, Visitor
from viz.page.site import Site

Updates = dict[Any, Any]


@dataclass(frozen=True)
class Moment:
    """A run at one moment of being shown.

    Attributes:
        visitor: whose run it is; `visitor.run` holds it as far as it has come.
        figures: whether figures are due, which happens twice a second, or only what grows with every token.
        over: whether this is the last moment of the run, or all of a run that was there already.
        stored: the map of kept tokens where it is due and there is one.
    """

    visitor: Visitor
    figures: bool
    over: bool
    stored: StoredMap | None = None

    @cached_property
    def map(self) -> str:
        """The picture of `stored`, drawn once for all tabs; empty where there is none."""
        return "" if self.stored is None else kept_html(self.stored.kept, self.visitor.key)


class Tab(Protocol):
    """One tab. `build` lays it out and returns its components; the rest tells it what happens on the page.

    Updates go to components among `outputs`. A tab that subclasses this protocol says only what concerns it: nothing
    but `build` has to be written. What it remembers about a visitor is in a `gr.State` of its own where it is small,
    else in `Visitor`, which downloads read and the page bounds.

    Attributes:
        id: its name in links and in the page's HTML.
        label: its name on the page.
    """

    id: ClassVar[str]
    label: ClassVar[str]

    @classmethod
    def build(cls, site: Site, first: Visitor) -> Self:
        """Lay the tab out as a new visitor sees it, who starts as `first`."""
        ...

    @property
    def outputs(self) -> list[Any]:
        """The components that `taken`, `cleared` and `drawn` update."""
        return []

    @property
    def notes(self) -> Mapping[str, Any]:
        """The line, a `gr.HTML`, that says whose results are shown, by the name under which `Visitor.belongs` knows."""
        return {}

    def taken(self, visitor: Visitor) -> Updates:
        """The visitor has another document, or none: what is shown of the text of the one before goes."""
        return {}

    def cleared(self, visitor: Visitor) -> Updates:
        """A run was asked for and waits: what is shown of the one before goes."""
        return {}

    def drawn(self, moment: Moment) -> Updates:
        """The run has come so far; this is called many times a second."""
        return {}

    @classmethod
    def figures(cls, visitor: Visitor) -> dict[str, Figure]:
        """What goes into report and archive beside the run's own figures, by file name, if it is about its document."""
        return {}

    @classmethod
    def tables(cls, visitor: Visitor) -> dict[str, Table]:
        """Tables that go into the archive beside those that the figures bring."""
        return {}

    def wire(self, desk: Desk) -> None:
        """Wire the tab's own events and add its endpoints for programs; every tab is laid out by now."""
        return


def of_all(tabs: Sequence[Tab], said: Callable[[Tab], Updates]) -> Updates:
    """What `said` gives for each of `tabs`, as updates of the page."""
    return {part: value for tab in tabs for part, value in said(tab).items()}
