"""One decoded token through a whole model in the same launches every time: what a CUDA graph can hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sliminfer.cache.layers import RaggedLayer
from sliminfer.cache.table import KVTable
from sliminfer.engine.sequence import Rows
from sliminfer.engine.stack import Stack
from sliminfer.model.head import logits_of
from sliminfer.ops import dispatch as ops

# Called before the layers of a part are: whatever they wait for.
Before = Callable[[range], None]


class StaticStep:
    """One token through the decoder layers and the head, reading all that differs from step to step on the device.

    Attributes:
        stack: the model's layers.
        parts: the layers between which a caller may have something to wait for.
        ids: the token to be read, int64 [1, 1].
        rotary: the position it is rotated by, int64 [1]; each step counts it up.
        table: where the layers' keys and values are; each step counts its token.
        logits: what followed from the last step [vocabulary].
        queries: those of each layer's last step, after RoPE [q_heads, head_dim].
    """

    logits: Tensor
    _normed: Tensor
    _residual: Tensor
    _rows: Rows

    def __init__(self, model: nn.Module, stack: Stack, bounds: Sequence[int]) -> None:
        """The step of `model`, divided before the layers `bounds`, rising, into parts that may be waited for."""
        self._model, self.stack = model, stack
        self._device = stack.decoder.embed_tokens.weight.device
        with torch.inference_mode(False):
            self.ids = torch.zeros(1, 1, dtype=torch.int64, device=self._device)
            self.rotary = torch.zeros(1, dtype=torch.int64, device=self._device)
        self.table = KVTable(stack.depth, self._device)
        self.parts = [range(*pair) for pair in pairwise([0, *bounds, stack.depth])]
        self.queries: list[Tensor] = []

    @property
    def step(self) -> StaticStep:
        """Itself: launched part by part it is one of the `Steps`."""
        return self

    def begin(self, layers: Sequence[RaggedLayer], rotary: int, token: int, tokens: int) -> None:
        """`token` comes next, rotated by position `rotary`, behind what `layers` hold; `tokens` come in all."""
        self.table.name_layers(layers, tokens)
        self.ids.fill_(token)
        self.rotary.fill_(rotary)

    def run(self, before: Before) -> None:
        """All parts, launched one by one."""
        for layers in self.parts:
            before(layers)
            self.part(layers)

    def part(self, layers: range) -> None:
        """Launch `layers`, and what comes before the first and after the last of all."""
        stack, table = self.stack, self.table
        if not layers.start:
            self._enter()
        for index in layers:
            fused, after = stack.fused[index], self._norm(index + 1)
            assert fused is not None
            angles, store = stack.table(index, self._rows), table.stores[index]
            self._normed, self._residual, query = fused.decode(
                self._normed, self._residual, angles, store, table.row(index), after
            )
            self.queries.append(query)
        if layers.stop == stack.depth:
            self.logits = logits_of(self._model, self._normed[:, -1])[0]
            table.count()
            self.rotary.add_(1)

    def _enter(self) -> None:
        stack, first = self.stack, self._norm(0)
        self._rows = stack.enter(stack.decoder.embed_tokens(self.ids), self.rotary, self.rotary)
        self.queries = []
        self._residual = self._rows.hidden
        self._normed = ops.rms_norm(self._residual, first.weight, first.variance_epsilon)

    def _norm(self, index: int) -> Any:
        """The norm that states pass on their way to layer `index`, or behind the last one."""
        if index == self.stack.depth:
            return self.stack.decoder.norm
        fused = self.stack.fused[index]
        assert fused is not None
        return fused.norm_before


class Steps(Protocol):
    """Something that runs a step: one launch after the other, or graphs of them."""

    @property
    def step(self) -> StaticStep:
        """What is run."""

    def run(self, before: Before) -> None:
        """One token more."""
