"""Prefill: the prompt goes through the layers, and at the prune layers only what was chosen goes on."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from sliminfer.engine.beside import Beside
from sliminfer.engine.stack import Call, LayerTick, Stack
from sliminfer.errors import ConfigError
from sliminfer.schedule.config import PruneStep
from sliminfer.selectors import PruneView, Selection, Selector


class Prefill:
    """The first call over a prompt."""

    def __init__(self, stack: Stack, call: Call) -> None:
        self.stack, self.call, self.sequence = stack, call, call.sequence
        self.config = call.sequence.config
        if self.sequence.selector is not None:
            stack.due(call, self.config.steps)
        self.beside = Beside(stack) if call.result == "all" and call.steps else None

    def run(self) -> Generator[LayerTick, None, Tensor]:
        """All layers, yielding after each; returns the states that are asked for [1, rows, hidden]."""
        selector = self.sequence.selector
        if selector is not None and selector.two_pass and self.call.steps:
            yield from self._two_passes(selector)
        else:
            yield from self._layers(0)
        return self.call.rows.hidden if self.beside is None else self.beside.with_rest(self.call.rows)

    def _layers(
        self, first: int, end: int | None = None, selection: Selection | None = None
    ) -> Generator[LayerTick, None, None]:
        """Run layers `first` to `end - 1`; `selection` was made before the first of them."""
        call = self.call
        for index in range(call.depth)[first:end]:
            if index in call.steps:
                selection = self._prune(index)
            self.stack.set_aside(call, index)
            self.sequence.hold(index, call.rows.positions)
            self.stack.observe(call, index)
            alive = len(call.rows)
            self.stack.run(call, index, prefill=True)
            if self.beside is not None:
                self.beside.read(index, call.cache, call.rows.positions)
            yield LayerTick(index, alive, selection)
            selection = None

    def _two_passes(self, selector: Selector) -> Generator[LayerTick, None, None]:
        """Run the layers before the prune step on everything, then all layers on what the step keeps."""
        call = self.call
        ((layer, step),) = call.steps.items()
        embedded = call.rows
        yield from self._layers(0, layer)
        with call.stopwatch.span("select", call.rows.hidden.device):
            selection = self._select(selector, layer, step)
        call.steps, call.scorers, call.behind = {}, {}, {}
        call.reader = None
        if selection is None:
            yield from self._layers(layer)
            return
        if self.beside is not None:
            raise ConfigError(
                f"Method {self.config.method} reads nothing but the tokens that it keeps, and the others have no "
                "logits: pass logits_to_keep=1."
            )
        self.sequence.begin_again(None if selector.keeps_positions else selection.kept)
        self.sequence.reach = self.sequence.rotated_to()
        chosen = embedded.at(selection.kept)
        del embedded
        call.rows = self.stack.rows(chosen.hidden, chosen.positions, self.sequence.rotary(chosen.positions))
        del chosen
        yield from self._layers(0, selection=selection)

    def _prune(self, index: int) -> Selection | None:
        """Drop rows before layer `index`."""
        call, selector = self.call, self.sequence.selector
        assert selector is not None
        with call.stopwatch.span("select", call.rows.hidden.device):
            selection = self._select(selector, index, call.steps[index])
            if selection is None:
                return None
            kept = torch.searchsorted(call.rows.positions, selection.kept)
            self.stack.keep_tails(call, index, selection.kept)
            if not selector.revives and self.beside is None:
                call.rows = call.rows.at(kept, selection.kept)
                return selection
            chosen = torch.zeros(len(call.rows), dtype=torch.bool, device=kept.device).index_fill_(0, kept, True)
            call.rows, dropped = call.rows.split(chosen, len(kept))
            if selector.revives:
                self.sequence.waiting[index] = dropped
            if self.beside is not None:
                self.beside.add(dropped)
            return selection

    @torch.no_grad()
    def _select(self, selector: Selector, index: int, step: PruneStep) -> Selection | None:
        # No gradient goes through a choice, and scoring works in place.
        return selector.select(self._view(index, step))

    def _view(self, index: int, step: PruneStep) -> PruneView:
        call, scorers = self.call, self.call.scorers[index]
        alive = call.rows.positions
        read = [] if scorers.before is None else [self.stack.has_run(call, scorers.before, alive)]
        if scorers.own:
            read.append(self.stack.about_to_run(call, index))
        behind = tuple(self.stack.has_run(call, layer, alive) for layer in call.behind[index])
        view = PruneView(step, self.sequence.prompt, alive, tuple(read), behind)
        if self.call.look is not None:
            self.call.look(view)
        return view
