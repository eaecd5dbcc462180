"""Desk: what the page gives its tabs to wire their own events with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gradio as gr

from viz.page.controls import Controls
from viz.page.run_bar import RunBar
from viz.page.site import Site
from viz.page.stream import ENGINE_QUEUE

T = TypeVar("T")
Trigger = Callable[..., Any]  # an event of Gradio's, such as `button.click`

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Values of the controls come as they are in the browser: what is wrong with them is told in a sentence of ours.
AS_TYPED: dict[str, Any] = {**QUIET, "preprocess": False}


@dataclass(frozen=True)
class Desk:
    """The page once it is laid out.

    Attributes:
        site: what all visitors share.
        visitor: the state that holds each one's `Visitor`.
        controls: the column of choices.
        bar: Run, Stop and the status line.
        tabs: the tabs that are on the page, and `frames` their frames by id.
        runs: triggers that start a run besides the button, see `start_run`.
        changes: moments at which something was chosen on a tab that a run depends on.
        afterwards: what happens after a run, see `after_run`.
    """

    site: Site
    visitor: gr.State
    controls: Controls
    bar: RunBar
    tabs: tuple[Any, ...]
    frames: Mapping[str, gr.Tab]
    runs: list[Trigger] = field(default_factory=list)
    changes: list[Trigger] = field(default_factory=list)
    afterwards: list[tuple[Callable[..., Any], list[Any], list[Any]]] = field(default_factory=list)

    def find(self, kind: type[T]) -> T | None:
        """The page's tab of that class, if it has one."""
        return next((tab for tab in self.tabs if isinstance(tab, kind)), None)

    def opened(self, tab: Any) -> Trigger:
        """The event that `tab` is opened."""
        trigger: Trigger = self.frames[tab.id].select
        return trigger

    def study(self, trigger: Trigger, work: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        """On `trigger`, `work` computes on the engine: one at a time on a device.

        `work` gets the visitor, the request where it asks for it, and the values of `inputs`; it yields updates of
        `outputs` and of the bar.
        """
        shown = [self.visitor, *self.bar.outputs, *outputs]
        trigger(work, [self.visitor, *inputs], shown, concurrency_id=ENGINE_QUEUE, **AS_TYPED)

    def start_run(self, trigger: Trigger) -> None:
        """On `trigger`, a run starts, as by the button."""
        self.runs.append(trigger)

    def after_run(self, callback: Callable[..., Any], inputs: list[Any], outputs: list[Any]) -> None:
        """Whenever a run has ended, `callback` updates `outputs` from the visitor and `inputs`."""
        self.afterwards.append((callback, inputs, outputs))
