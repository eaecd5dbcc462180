"""A model's decoder layers as the loop runs them: one call over one sequence, layer by layer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache

from sliminfer.engine.angles import Angles
from sliminfer.engine.masks import attention_mask
from sliminfer.engine.meters import Stopwatch
from sliminfer.engine.sequence import Rows, Sequence
from sliminfer.model.attention import check_attention, check_backend
from sliminfer.model.families import rotary_switch, rotary_varies, sliding_window
from sliminfer.model.fused import Attend, FusedLayer, fused_layers
from sliminfer.model.layer_call import call_layer, rotary_kinds, rotary_tables
from sliminfer.model.projection import project_keys, project_queries
from sliminfer.model.recognise import family_of, find_decoder
from sliminfer.ops.compat import attention_backend
from sliminfer.ops.softmax import PLAIN, Softmax
from sliminfer.schedule.config import PruneStep
from sliminfer.schedule.sight import Scorers, scorers_of, seeing_layers
from sliminfer.selectors import Attention, PruneView, Selection
from sliminfer.sparse.reader import SparseReader

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
        scorers: who scores each of them.
        behind: the layers before each of them that its method reads besides.
        tails: by layer, the last rows as they entered it, of the layers that score.
        masks: of this prefill's layers with a window, by window and the number of rows, which tells the rows.
        reader: the attention of the layers that read sparsely; None where all of them read densely.
    """

    sequence: Sequence
    cache: Cache
    rows: Rows
    stopwatch: Stopwatch
    depth: int
    result: Result = "kept"
    look: Look | None = None
    steps: dict[int, PruneStep] = field(default_factory=dict)
    scorers: dict[int, Scorers] = field(default_factory=dict)
    behind: dict[int, tuple[int, ...]] = field(default_factory=dict)
    tails: dict[int, Rows] = field(default_factory=dict)
    masks: dict[tuple[int, int], Tensor | None] = field(default_factory=dict)
    reader: SparseReader | None = None


# A rotary module that sets its factors by the length of a call keeps them: between that and their use no other call.
_ROTARY_TURN = threading.Lock()


class Stack:
    """The decoder layers of one model. Nothing about a run is kept here, so that threads may share it.

    Attributes:
        decoder: the model's decoder.
        layers: its layers.
        rotary: its module that makes angles of positions.
        windows: the sliding window of each in tokens, None for full attention.
        attending: whether each attends, rather than mixing tokens in another way.
        seeing: the layers whose attention reaches the whole prompt, None for all.
        rotary_switch: tokens after which all are rotated by other factors, see `model.families`.
        rotary_varies: whether the rotary factors are set anew by the length of each call.
        embedding_scale: what token embeddings are multiplied by on their way to layer 0.
        backend: transformers' name of the attention backend.
    """

    def __init__(self, model: nn.Module) -> None:
        """Raises ModelError where the model's family or its attention backend is not supported."""
        self.decoder: Any = find_decoder(model)
        self.family = family_of(self.decoder.config)
        self.family.check(self.decoder.config)
        self.layers = list(self.decoder.layers[: self.decoder.config.num_hidden_layers])
        # Looked up once: a config's attribute costs a microsecond, and a decoded token passes every layer.
        self.windows = [sliding_window(self.decoder.config, i) for i in range(len(self.layers))]
        self.attending = [hasattr(layer, "self_attn") for layer in self.layers]
        self.seeing = seeing_layers(self.windows, self.attending)
        self.rotary: Any = getattr(self.decoder, self.family.rotary)
        self._kinds, self._kind = rotary_kinds(self.rotary, self.decoder.config, len(self.layers))
        self.rotary_switch = rotary_switch(self.decoder.config)
        self.rotary_varies = rotary_varies(self.decoder.config)
        self._rotary_turn: AbstractContextManager[Any] = _ROTARY_TURN if self.rotary_varies else nullcontext()
        self.embedding_scale = self.family.embedding_scale(self.decoder.config)
        self.backend = attention_backend(self.decoder.config)
        check_attention(self.backend)
        check_backend(self.family, self.backend)
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
            tables = rotary_tables(self.rotary, self._kinds, hidden, rotary)
        return Rows(hidden, Angles(tables, rotary), positions)

    def table(self, index: int, rows: Rows) -> tuple[Tensor, Tensor]:
        """The cosines and sines by which layer `index` rotates `rows`."""
        return rows.angles.tables[self._kind[index]]

    def run(self, call: Call, index: int, prefill: bool) -> None:
        """Layer `index` reads the call's rows and leaves its own in their place."""
        rows, sequence, mask = call.rows, call.sequence, None
        if self.reads_sparsely(call, index):
            assert call.reader is not None
            call.rows = self.step(index, rows, None, call.cache, attend=partial(call.reader.attend, index))
            return
        if self._needs_mask(index, len(rows), prefill):
            found = (self.windows[index] or 0, len(rows))
            if not prefill or found not in call.masks:
                keys = sequence.rotary(sequence.key_positions(index))
                mask = self._mask(index, sequence.rotary(rows.positions), keys, rows.hidden)
                if prefill:
                    call.masks[found] = mask
            else:
                mask = call.masks[found]
                mask = mask if mask is None else mask.to(rows.hidden.device)
        call.rows = self.step(index, rows, mask, call.cache, call.result == "last" and index == call.depth - 1)

    def reads_sparsely(self, call: Call, index: int) -> bool:
        """Whether layer `index` attends to chosen blocks of the whole prompt."""
        if call.reader is None or index >= min(call.steps, default=call.depth):
            return False
        if not call.reader.chooses(len(call.rows)):
            return False
        if call.result == "last" and index == call.depth - 1:
            return False  # the last token's row alone is computed, and it asks
        fused = self.fused[index]
        if fused is None or not fused.serves(call.rows.hidden):
            return False
        return self.windows[index] is None and self.softmax(index).plain

    def alone(self, index: int, rows: Rows, cache: Cache | None = None, last_row: bool = False) -> Rows:
        """`rows`, or the last of them, as they leave layer `index` when it reads them alone.

        `cache` holds what it has read before them, all positions from 0 on, and takes them up; None for nothing.
        """
        behind, mask = 0 if cache is None else cache.get_seq_length(index), None
        if self._needs_mask(index, len(rows), prefill=not behind):
            before = torch.arange(behind, device=rows.positions.device)
            mask = self._mask(index, rows.positions, torch.cat([before, rows.positions]), rows.hidden)
        return self.step(index, rows, mask, cache, last_row)

    def step(
        self,
        index: int,
        rows: Rows,
        mask: Tensor | None,
        cache: Cache | None,
        last_row: bool = False,
        attend: Attend | None = None,
    ) -> Rows:
        """`rows`, or the last of them, as they leave layer `index`, whose keys and values went to `cache`.

        `attend` takes the place of attention in a layer that runs by fused steps.
        """
        fused = self.fused[index]
        if fused is not None and fused.serves(rows.hidden):
            return rows.with_hidden(fused(rows.hidden, mask, self.table(index, rows), cache, last_row, attend))
        table, positions = self.table(index, rows), rows.angles.positions
        layer = self.layers[index]
        return rows.with_hidden(call_layer(layer, self.family, rows.hidden, mask, table, positions, cache))

    def _needs_mask(self, index: int, rows: int, prefill: bool) -> bool:
        if not self.attending[index]:
            return False
        causal = rows == 1 or (prefill and self.backend != "eager")
        return not causal or self.windows[index] is not None

    def _mask(self, index: int, queries: Tensor, keys: Tensor, hidden: Tensor) -> Tensor | None:
        return attention_mask(self.backend, queries.to(keys.device), keys, self.windows[index], hidden.dtype)

    def queries(self, index: int, rows: Rows, window: int) -> Tensor:
        """Queries of layer `index` for the last `window` of `rows`, which enter it [heads, window, head_dim]."""
        last = rows.between(slice(-window, None))
        return project_queries(
            self.layers[index], last.hidden, *self.table(index, last), last.angles.positions, self.family
        )

    def keys(self, index: int, rows: Rows) -> Tensor:
        """Keys of layer `index` for `rows`, which enter it [kv_heads, rows, head_dim]."""
        return project_keys(self.layers[index], rows.hidden, *self.table(index, rows), self.family)

    def softmax(self, index: int) -> Softmax:
        """What layer `index` does to its scores."""
        return self.family.softmax(self.layers[index].self_attn) if self.attending[index] else PLAIN

    def has_run(self, call: Call, index: int, alive: Tensor) -> Attention:
        """What layer `index`, which has run, attended with, as far as it holds the tokens at `alive`."""
        tails, sequence = call.tails, call.sequence

        def keys() -> Tensor:
            held = sequence.store.keys(index)
            if held.shape[1] == len(alive):
                return held
            found = sequence.key_positions(index)
            return held.index_select(1, torch.searchsorted(found, alive).to(held.device))

        return Attention(lambda window: self.queries(index, tails[index], window), keys, self.softmax(index))

    def about_to_run(self, call: Call, index: int) -> Attention:
        """What layer `index`, which is about to run, would attend with."""
        rows = call.rows
        return Attention(
            lambda window: self.queries(index, rows, window), lambda: self.keys(index, rows), self.softmax(index)
        )

    def observe(self, call: Call, index: int) -> None:
        """Show the cache the last queries that layer `index` is about to use, if it asks for them."""
        if call.sequence.store.wants_query(index):
            window = call.sequence.prompt.blocks.window
            call.sequence.store.observe_query(index, self.queries(index, call.rows, window))

    def due(self, call: Call, steps: tuple[PruneStep, ...]) -> None:
        """From now on those of `steps` that its layers reach are due in `call`."""
        config, selector = call.sequence.config, call.sequence.selector
        assert selector is not None
        reads = selector.query_window(config, call.sequence.prompt.blocks) > 0
        seeing = self.seeing if reads else None  # whoever asks no queries can choose anywhere
        if selector.reads_keys and not reads and not all(self.attending):
            seeing = tuple(index for index, attends in enumerate(self.attending) if attends)
        call.steps = {step.layer: step for step in steps if step.layer < call.depth}
        call.scorers = {layer: scorers_of(layer, seeing, config.score_layer) for layer in call.steps}
        last = 0
        for layer in call.steps:
            back = selector.looks_back(config, layer)
            # A layer before the step before holds more than is alive now.
            before = [each for each in (range(layer) if seeing is None else seeing) if last <= each < layer]
            call.behind[layer] = tuple(before[-back:] if back else ())
            last = layer

    def set_aside(self, call: Call, index: int) -> None:
        """Remember the last rows, which score, as they enter layer `index`, if a step to come is scored by it."""
        sequence = call.sequence
        if all(index not in self._scoring(call, layer) for layer in call.steps):
            return
        assert sequence.selector is not None
        window = sequence.selector.query_window(sequence.config, sequence.prompt.blocks)
        last = call.rows.between(slice(-max(1, window), None))
        call.tails[index] = last.with_hidden(last.hidden.clone())

    def _scoring(self, call: Call, layer: int) -> tuple[int | None, ...]:
        """The layers before prune layer `layer` that are read for it."""
        return (call.scorers[layer].before, *call.behind[layer])

    def keep_tails(self, call: Call, index: int, kept: Tensor) -> None:
        """After the prune step at `index`, of the last rows that score later steps leave those at positions `kept`."""
        later = {scorer for layer in call.steps if layer > index for scorer in self._scoring(call, layer)}
        for scorer in call.tails.keys() & later:
            tail = call.tails[scorer]
            call.tails[scorer] = tail.at(torch.isin(tail.positions, kept).nonzero()[:, 0])

    def normed(self, hidden: Tensor) -> Tensor:
        """States after the decoder's last norm."""
        normed: Tensor = getattr(self.decoder, self.family.last_norm)(hidden)
        return normed

