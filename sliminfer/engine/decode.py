"""Decode: tokens that come after the prompt go through the layers, each seeing what prefill left there."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from sliminfer.engine.stack import Call, LayerTick, Stack
from sliminfer.selectors import PruneView


class Decode:
    """A call that appends to a sequence."""

    def __init__(self, stack: Stack, call: Call) -> None:
        self.stack, self.call, self.sequence = stack, call, call.sequence
        self.config = call.sequence.config
        if self.sequence.revives:
            stack.due(call, self.config.steps)

    def run(self) -> Generator[LayerTick, None, Tensor]:
        """All layers, yielding after each; returns the states of the new tokens [1, tokens, hidden]."""
        call, sequence, count = self.call, self.sequence, len(self.call.rows)
        sequence.place()
        sequence.store.begin_step()
        for index in range(call.depth):
            if index in call.steps:
                self._revive(index)
            self.stack.set_aside(call, index)
            if sequence.waiting:
                sequence.kept[index].append(call.rows.positions)
            self.stack.observe(call, index)
            alive = len(call.rows)
            self.stack.run(call, index, prefill=False)
            yield LayerTick(index, alive, None)
        return call.rows.hidden[:, -count:]  # rows that were brought back come before the new ones

    def _revive(self, index: int) -> None:
        """Bring back before layer `index` the dropped tokens that are wanted after all."""
        call, sequence = self.call, self.sequence
        if index not in sequence.waiting:
            return
        assert sequence.selector is not None
        with call.stopwatch.span("select", call.rows.hidden.device):
            # The rows are the new tokens; the prompt's keys are in the cache alone.
            before = call.scorers[index].before
            assert before is not None  # a method that brings tokens back is scored by a layer that has run
            alive = sequence.key_positions(before)
            view = PruneView(
                call.steps[index], sequence.prompt, alive, (self.stack.has_run(call, before, alive),)
            )
            with torch.no_grad():
                wanted = sequence.selector.revive(view)
            call.rows = sequence.exchange(index, call.rows, wanted)
