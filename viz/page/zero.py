"""ZeroGPU: the engine of a process that is lent a GPU for one call at a time.

The model is loaded by the page's process, which never touches the GPU; a call of `_lent` runs in a worker forked
from it, which finds the engine in `_ENGINES`. Arguments and events cross between the two by pickle, and the device
is looked at in the worker only. Anywhere else `spaces.GPU` changes nothing and the same code runs in place.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Literal

import gradio as gr

try:
    from spaces import GPU
except ImportError:  # the page also runs where this package of the Hub's is not installed

    def GPU(task=None, *, duration=None, size=None):  # type: ignore[no-untyped-def]
        """`spaces.GPU` as it is outside ZeroGPU: no change."""
        return task if task is not None else lambda task: task


from sliminfer.engine import RunRequest, SlimEngine
from sliminfer.errors import SlimError
from sliminfer.events import Event, Side, Stopped
from sliminfer.limits import NO_LIMITS, RunLimits
from sliminfer.models import LoadedModel
from sliminfer.prompts import Prompt

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

    def compare(self, request: RunRequest, stop: threading.Event | None = None) -> Iterator[Event]:
        return self._borrowed("both", request, self.prepare(request), stop)

    def run(
        self,
        request: RunRequest,
        side: Side = "pruned",
        stop: threading.Event | None = None,
        prompt: Prompt | None = None,
    ) -> Iterator[Event]:
        return self._borrowed(side, request, self.prepare(request, prompt), stop)

    def on_device(self, what: What, request: RunRequest, prompt: Prompt) -> Iterator[Event]:
        """The run itself; only in the worker that holds the GPU."""
        return super().compare(request) if what == "both" else super().run(request, what, prompt=prompt)

    def loan_seconds(self, tokens: int, new_tokens: int, sides: int) -> float:
        """How long to borrow the GPU for `sides` runs of `tokens` prompt tokens and up to `new_tokens` of answer."""
        one = 2 * self.loaded.shape.params * tokens / PREFILL_FLOPS_PER_S + TOKEN_S * new_tokens
        return min(START_S + sides * one, self.limits.seconds or LONGEST_S)

    def _borrowed(
        self, what: What, request: RunRequest, prompt: Prompt, stop: threading.Event | None
    ) -> Iterator[Event]:
        items = _lent(self.loaded.name, what, request, prompt)
        try:
            for item in items:
                if isinstance(item, SlimError):
                    raise item
                yield item
                if stop is not None and stop.is_set():
                    yield Stopped(item.side, item.at, "")
                    return
        except gr.Error as error:  # a quota that is used up, or a worker that died
            raise GpuLoanError(f"No GPU could be borrowed ({error.message}): try again later.") from error
        finally:
            items.close()  # type: ignore[attr-defined]


def _seconds(name: str, what: What, request: RunRequest, prompt: Prompt) -> int:
    """Duration of the loan for a call of `_lent` with these arguments."""
    sides = 2 if what == "both" else 1
    return round(_ENGINES[name].loan_seconds(len(prompt), request.max_new_tokens, sides))


@GPU(duration=_seconds)
def _lent(name: str, what: What, request: RunRequest, prompt: Prompt) -> Iterator[Event | SlimError]:
    """Events of a run by the engine of model `name`, in the worker that holds the GPU.

    A refusal comes as the last item, since an exception would reach the page without its words.
    """
    try:
        yield from _ENGINES[name].on_device(what, request, prompt)
    except SlimError as error:
        yield error
