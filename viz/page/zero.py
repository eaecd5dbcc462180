"""ZeroGPU: the engine of a process that is lent a GPU for one call at a time.

The model is loaded by the page's process, which never touches the GPU; a call of `_lent` runs in a worker forked
from it, which finds the engine in `_ENGINES`. Arguments and events cross between the two by pickle, and the device
is looked at in the worker only. Anywhere else `spaces.GPU` changes nothing and the same code runs in place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any, Literal

import gradio as gr

try:
    from spaces import GPU
except ImportError:  # the page also runs where this package of the Hub's is not installed

    def GPU(task=None, *, duration=None, size=None):  # type: ignore[no-untyped-def]
        """`spaces.GPU` as it is outside ZeroGPU: no change."""
        return task if task is not None else lambda task: task


from sliminfer.diffusion.plan import DiffusionPlan
from sliminfer.diffusion.probe import probe
from sliminfer.diffusion.result import DiffusionResult
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, Side, Stopped
from sliminfer.engine.limits import NO_LIMITS, RunLimits
from sliminfer.engine.request import PromptRequest, Request
from sliminfer.engine.result import RunResult
from sliminfer.errors import SlimError
from sliminfer.model.loading import LoadedModel
from sliminfer.model.prompts import Prompt
from sliminfer.schedule.blocks import Span

What = Literal["both", "full", "pruned"]

START_S = 8.0  # forking the worker and moving the weights
PREFILL_FLOPS_PER_S = 20e12  # a cautious rate: too long a loan waits longer, too short a one is cut off
TOKEN_S = 0.05  # one decode step of one side, cautiously
LONGEST_S = 120.0  # where the host sets no limit

_ENGINES: dict[str, BorrowingEngine] = {}


class GpuLoanError(SlimError):
    """ZeroGPU lent no GPU, or took it back."""


class BorrowingEngine(SlimEngine):
    """A SlimEngine whose runs are computed on a lent GPU; everything else needs none."""

    def __init__(self, loaded: LoadedModel, limits: RunLimits = NO_LIMITS) -> None:
        super().__init__(loaded, limits)
        _ENGINES[loaded.name] = self

    def compare(self, request: Request, stop: threading.Event | None = None) -> Iterator[Event]:
        return self._borrowed("both", self.prepare(request), stop)

    def run(self, request: Request, side: Side = "pruned", stop: threading.Event | None = None) -> Iterator[Event]:
        return self._borrowed(side, self.prepare(request), stop)

    def on_device(self, what: What, request: PromptRequest) -> Iterator[Event]:
        """The run itself; only in the worker that holds the GPU."""
        return super().compare(request) if what == "both" else super().run(request, what)

    def loan_seconds(self, tokens: float, new_tokens: int) -> float:
        """How long to borrow the GPU for `tokens` tokens through all layers and `new_tokens` decode steps."""
        work = 2 * self.loaded.shape.params * tokens / PREFILL_FLOPS_PER_S + TOKEN_S * new_tokens
        return min(START_S + work, self.limits.seconds or LONGEST_S)

    def _borrowed(self, what: What, request: PromptRequest, stop: threading.Event | None) -> Iterator[Event]:
        result = RunResult()
        with _loan(_lent(self.loaded.name, what, request)) as events:
            for event in events:
                result = result.after(event)
                yield event
                if stop is not None and stop.is_set():
                    yield Stopped(event.side, event.at, result.latest.text)
                    return


def probing(engine: SlimEngine, prompt: Prompt, span: Span, plan: DiffusionPlan) -> Iterator[DiffusionResult]:
    """`probe`, on a lent GPU where `engine` borrows one; it ends with what it knows when its time is up."""
    started = monotonic()
    if isinstance(engine, BorrowingEngine):
        results = _lent_probe(engine.loaded.name, prompt, span, plan)
    else:
        results = probe(engine, prompt, span, plan)
    with _loan(results) as found:
        for result in found:
            yield result
            if engine.limits.overdue(monotonic() - started):
                return


@contextmanager
def _loan(items: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """The items of a lent call, whose refusals are raised as our own; the loan ends with the block."""
    try:
        yield _without_refusals(items)
    except gr.Error as error:  # a quota that is used up, or a worker that died
        raise GpuLoanError(f"No GPU could be borrowed ({error.message}): try again later.") from error
    finally:
        items.close()  # type: ignore[attr-defined]


def _without_refusals(items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        if isinstance(item, SlimError):
            raise item
        yield item


def _seconds(name: str, what: What, request: PromptRequest) -> int:
    """Duration of the loan for a call of `_lent` with these arguments."""
    sides = 2 if what == "both" else 1
    return round(_ENGINES[name].loan_seconds(sides * len(request.prompt), sides * request.sampling.max_new_tokens))


@GPU(duration=_seconds)
def _lent(name: str, what: What, request: PromptRequest) -> Iterator[Event | SlimError]:
    """Events of a run by the engine of model `name`, in the worker that holds the GPU.

    A refusal comes as the last item, since an exception would reach the page without its words.
    """
    try:
        yield from _ENGINES[name].on_device(what, request)
    except SlimError as error:
        yield error


def _probe_seconds(name: str, prompt: Prompt, span: Span, plan: DiffusionPlan) -> int:
    """Duration of the loan for a call of `_lent_probe` with these arguments."""
    engine = _ENGINES[name]
    prefills = plan.layer_runs(engine.loaded.layers) / engine.loaded.layers
    return round(engine.loan_seconds(prefills * len(prompt), plan.answer_tokens))


@GPU(duration=_probe_seconds)
def _lent_probe(name: str, prompt: Prompt, span: Span, plan: DiffusionPlan) -> Iterator[DiffusionResult | SlimError]:
    """Results of a probe on model `name`, in the worker that holds the GPU; a refusal comes as in `_lent`."""
    engine = _ENGINES[name]
    try:
        # An engine that borrows nothing, as the GPU is here already.
        yield from probe(SlimEngine(engine.loaded, engine.limits), prompt, span, plan)
    except SlimError as error:
        yield error
