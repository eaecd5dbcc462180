"""Prefill: the prompt goes through the layers, and at the prune layers only what was chosen goes on."""

from __future__ import annotations

from collections.abc import Generator

import torch

from sliminfer.engine.stack import Call, LayerTick, Stack
from sliminfer.schedule.config import PruneStep
from sliminfer.selectors import PruneView, Selection, Selector


class Prefill:
    """The first call over a prompt."""

    def __init__(self, stack: Stack, call: Call) -> None:
        self.stack, self.call, self.sequence = stack, call, call.sequence
        self.config = call.sequence.config
        if self.sequence.selector is not None:
            call.steps = {step.layer: step for step in self.config.steps}

    def run(self) -> Generator[LayerTick, None, None]:
        """All layers, yielding after each."""
        selector = self.sequence.selector
        if selector is not None and selector.two_pass:
            yield from self._two_passes(selector)
        else:
            yield from self._layers(0)

    def _layers(
        self, first: int, end: int | None = None, selection: Selection | None = None
    ) -> Generator[LayerTick, None, None]:
        """Run layers `first` to `end - 1`; `selection` was made before the first of them."""
        call = self.call
        for index in range(len(self.stack.layers))[first:end]:
            if index in call.steps:
                selection = self._prune(index)
            if index + 1 in call.steps:
                self.stack.set_aside(call)
            self.sequence.hold(index, call.rows.positions)
            self.stack.observe(call, index)
            alive = len(call.rows)
            self.stack.run(call, index, prefill=True)
            yield LayerTick(index, alive, selection)
            selection = None

    def _two_passes(self, selector: Selector) -> Generator[LayerTick, None, None]:
        """Run the layers before the prune step on everything, then all layers on what the step keeps."""
        call = self.call
        ((layer, step),) = call.steps.items()
        embedded = call.rows
        yield from self._layers(0, layer)
        with call.stopwatch.span("select"):
            selection = selector.select(self._view(layer, step))
        call.steps = {}
        if selection is None:
            yield from self._layers(layer)
            return
        self.sequence.renumber(selection.kept)
        chosen = embedded.at(selection.kept)
        del embedded
        call.rows = self.stack.rows(chosen.hidden, chosen.positions, self.sequence.rotary(chosen.positions))
        del chosen
        yield from self._layers(0, selection=selection)

    def _prune(self, index: int) -> Selection | None:
        """Drop rows before layer `index`."""
        call, selector = self.call, self.sequence.selector
        assert selector is not None
        with call.stopwatch.span("select"):
            selection = selector.select(self._view(index, call.steps[index]))
            if selection is None:
                return None
            kept = torch.searchsorted(call.rows.positions, selection.kept)
            if selector.revives:
                chosen = torch.zeros(len(call.rows), dtype=torch.bool, device=kept.device).index_fill_(0, kept, True)
                call.rows, self.sequence.waiting[index] = call.rows.split(chosen, len(kept))
            else:
                call.rows = call.rows.at(kept)
            return selection

    def _view(self, index: int, step: PruneStep) -> PruneView:
        previous, own = self.stack.just_run(self.call, index - 1), self.stack.about_to_run(self.call, index)
        read = {"previous": (previous,), "own": (own,), "both": (previous, own)}[self.config.score_layer]
        view = PruneView(step, self.sequence.prompt, self.call.rows.positions, read)
        if self.call.look is not None:
            self.call.look(view)
        return view
