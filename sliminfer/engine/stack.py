"""A model's decoder layers as the loop runs them: one call over one sequence, layer by layer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache

from sliminfer.engine.masks import attention_mask
from sliminfer.engine.meters import Stopwatch
from sliminfer.engine.sequence import Rows, Sequence
from sliminfer.model.attention import check_attention
from sliminfer.model.families import family_of, find_decoder, rotary_switch, rotary_varies, sliding_window
from sliminfer.model.fused import FusedLayer, fused_layers
from sliminfer.model.projection import project_keys, project_queries
from sliminfer.ops.compat import attention_backend
from sliminfer.schedule.config import PruneStep
from sliminfer.selectors import Attention, PruneView, Selection

Look: TypeAlias = Callable[[PruneView], None]

# The rows whose states a call gives: those that are left after the last layer, the last alone, or every one that came.
Result = Literal["kept", "last", "all"]


@dataclass(frozen=True)
class LayerTick:
    """One layer has run: its index, the tokens alive in it, and what was pruned before it, if anything."""

    layer: int
    alive: int
    selection: Selection | None


@dataclass
class Call:
    """One call of the loop: its rows on their way through the layers, and what they belong to.

    Attributes:
        rows: the tokens that enter the next layer.
        depth: layers to run.
        result: the rows whose states are asked for, see `Result`.
        steps: prune steps that are due, by layer.
        stopwatch: collects the time of scoring and pruning under "select".
        look: is shown the state before each prune layer of a prefill.
        tail: the last rows' hidden states as they entered the layer just run [1, window, hidden].
    """

    sequence: Sequence
    cache: Cache
    rows: Rows
    stopwatch: Stopwatch
    depth: int
    result: Result = "kept"
    look: Look | None = None
    steps: dict[int, PruneStep] = field(default_factory=dict)
    tail: Tensor | None = None


# A rotary module that sets its factors by the length of a call keeps them: between that and their use no other call.
_ROTARY_TURN = threading.Lock()


class Stack:
    """The decoder layers of one model. Nothing about a run is kept here, so that threads may share it.

    Attributes:
        decoder: the model's decoder.
        layers: its layers.
        windows: the sliding window of each in tokens, None for full attention.
        rotary_switch: tokens after which all are rotated by other factors, see `model.families`.
        embedding_scale: what token embeddings are multiplied by on their way to layer 0.
        backend: transformers' name of the attention backend.
    """

    def __init__(self, model: nn.Module) -> None:
        """Raises ModelError where the model's family or its attention backend is not supported."""
        self.decoder: Any = find_decoder(model)
        self.layers = list(self.decoder.layers[: self.decoder.config.num_hidden_layers])
        # Looked up once: a config's attribute costs a microsecond, and a decoded token passes every layer.
        self.windows = [sliding_window(self.decoder.config, i) for i in range(len(self.layers))]
        self.rotary_switch = rotary_switch(self.decoder.config)
        varies = rotary_varies(self.decoder.config)
        self._rotary_turn: AbstractContextManager[Any] = _ROTARY_TURN if varies else nullcontext()
        self.embedding_scale = family_of(self.decoder.config).embedding_scale(self.decoder.config)
        self.backend = attention_backend(self.decoder.config)
        check_attention(self.backend)
        self.fused: list[FusedLayer | None] = fused_layers(self.layers)

    @property
    def depth(self) -> int:
        """Layers that the model runs now: an assistant that exits early has it run fewer for a while."""
        return min(len(self.layers), int(self.decoder.config.num_hidden_layers))

    @property
    def stale(self) -> bool:
        """Whether the model was given another attention backend since."""
        return attention_backend(self.decoder.config) != self.backend

    def enter(self, embedded: Tensor, positions: Tensor, rotary: Tensor) -> Rows:
        """Rows of token embeddings [1, n, hidden] as they enter layer 0; see `rows`."""
        hidden = embedded if self.embedding_scale == 1.0 else embedded * self.embedding_scale
        return self.rows(hidden, positions, rotary)

    def rows(self, hidden: Tensor, positions: Tensor, rotary: Tensor) -> Rows:
        """Rows of `hidden` [1, n, hidden] at `positions`, rotated by `rotary`, int64 [n] each."""
        with self._rotary_turn:
            cos, sin = self.decoder.rotary_emb(hidden, position_ids=rotary[None])
        return Rows(hidden, cos, sin, positions)

    def run(self, call: Call, index: int, prefill: bool) -> None:
        """Layer `index` reads the call's rows and leaves its own in their place."""
        rows, sequence, mask = call.rows, call.sequence, None
        if self._needs_mask(index, len(rows), prefill):
            keys = sequence.rotary(sequence.key_positions(index))
            mask = self._mask(index, sequence.rotary(rows.positions), keys, rows.hidden)
        call.rows = self.step(index, rows, mask, call.cache, call.result == "last" and index == call.depth - 1)

    def alone(self, index: int, rows: Rows) -> Rows:
        """`rows` as they leave layer `index` when it reads them alone, with no cache behind."""
        mask = None
        if self._needs_mask(index, len(rows), prefill=True):
            mask = self._mask(index, rows.positions, rows.positions, rows.hidden)
        return self.step(index, rows, mask, DynamicCache())

    def step(self, index: int, rows: Rows, mask: Tensor | None, cache: Cache, last_row: bool = False) -> Rows:
        """`rows`, or the last of them, as they leave layer `index`, whose keys and values went to `cache`."""
        fused = self.fused[index]
        if fused is not None and fused.serves(rows.hidden):
            return rows.with_hidden(fused(rows.hidden, mask, (rows.cos, rows.sin), cache, last_row))
        out = self.layers[index](
            rows.hidden,
            attention_mask=mask,
            position_embeddings=(rows.cos, rows.sin),
            position_ids=None,
            past_key_values=cache,
            use_cache=True,
        )
        return rows.with_hidden(out[0] if isinstance(out, tuple) else out)

    def _needs_mask(self, index: int, rows: int, prefill: bool) -> bool:
        causal = rows == 1 or (prefill and self.backend != "eager")
        return not causal or self.windows[index] is not None

    def _mask(self, index: int, queries: Tensor, keys: Tensor, hidden: Tensor) -> Tensor | None:
        return attention_mask(self.backend, queries.to(keys.device), keys, self.windows[index], hidden.dtype)

    def queries(self, index: int, rows: Rows, window: int, entered: Tensor | None = None) -> Tensor:
        """Queries of layer `index` for the last `window` of `rows` [heads, window, head_dim].

        `entered` are the states of the last rows as they entered that layer, where `rows` are beyond it.
        """
        states = (rows.hidden if entered is None else entered)[:, -window:]
        last = slice(-states.shape[1], None)
        return project_queries(self.layers[index], states, rows.cos[:, last], rows.sin[:, last])

    def just_run(self, call: Call, index: int) -> Attention:
        """What layer `index`, which has just run, attended with."""
        rows, tail, store = call.rows, call.tail, call.sequence.store
        keys: Callable[[], Tensor] = lambda: store.keys(index)  # noqa: E731
        return Attention(lambda window: self.queries(index, rows, window, tail), keys)

    def about_to_run(self, call: Call, index: int) -> Attention:
        """What layer `index`, which is about to run, would attend with."""
        rows, layer = call.rows, self.layers[index]
        return Attention(
            lambda window: self.queries(index, rows, window),
            lambda: project_keys(layer, rows.hidden, rows.cos, rows.sin),
        )

    def observe(self, call: Call, index: int) -> None:
        """Show the cache the last queries that layer `index` is about to use, if it asks for them."""
        if call.sequence.store.wants_query(index):
            window = call.sequence.prompt.blocks.window
            call.sequence.store.observe_query(index, self.queries(index, call.rows, window))

    def set_aside(self, call: Call) -> None:
        """Remember the states of the last rows, which score, as they enter the layer before a prune layer."""
        sequence = call.sequence
        assert sequence.selector is not None
        window = sequence.selector.query_window(sequence.config, sequence.prompt.blocks)
        call.tail = call.rows.hidden[:, -max(1, window) :].clone()

    def normed(self, hidden: Tensor) -> Tensor:
        """States after the decoder's last norm."""
        normed: Tensor = self.decoder.norm(hidden)
        return normed
