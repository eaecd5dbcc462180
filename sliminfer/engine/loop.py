"""The mechanism: an explicit loop over a stock model's own layers that drops prompt tokens on the way."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPast

from sliminfer.cache import SlimCache
from sliminfer.decode_policies import SearchedLayer, check_policy
from sliminfer.engine.masks import attention_mask
from sliminfer.engine.meters import Stopwatch
from sliminfer.engine.sequence import Rows, Sequence, forget
from sliminfer.errors import ConfigError, ModelError
from sliminfer.model.families import find_decoder, sliding_window
from sliminfer.model.fused import FusedLayer
from sliminfer.model.projection import project_keys, project_queries
from sliminfer.ops.compat import attention_backend
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.selectors import Attention, PromptView, PruneView, Selection, check_method, make_selector, selector_class


@dataclass(frozen=True)
class LayerTick:
    """One layer has run: its index, the tokens alive in it, and what was pruned before it, if anything."""

    layer: int
    alive: int
    selection: Selection | None


@dataclass
class _Call:
    """One call of the loop: its rows on their way through the layers, and what they belong to.

    Attributes:
        steps: prune steps that are due, by layer.
        last_row: whether the result of the last layer is wanted for the last token only.
        tail: the last rows' hidden states as they entered the layer just run [1, window, hidden].
    """

    sequence: Sequence
    cache: Cache
    rows: Rows
    prefill: bool
    steps: dict[int, PruneStep]
    last_row: bool = False
    tail: Tensor | None = None


class LayerLoop:
    """The layer loop of one model under one configuration.

    Attributes:
        stopwatch: collects the time of scoring and pruning under "select".
        prompt: the last prompt that was started.
    """

    def __init__(
        self,
        model: nn.Module,
        config: SlimConfig,
        question: Span | None = None,
        evidence: tuple[Span, ...] = (),
    ) -> None:
        self.decoder: Any = find_decoder(model)
        self.layers = list(self.decoder.layers[: self.decoder.config.num_hidden_layers])
        config.check_model(len(self.layers))
        # Looked up once: a config's attribute costs a microsecond, and a decoded token passes every layer.
        self._windows = [sliding_window(self.decoder.config, i) for i in range(len(self.layers))]
        self._implementation: str = attention_backend(self.decoder.config)
        check_method(config)
        check_policy(config)
        if config.decode != "blocks" and any(self._windows):
            raise ConfigError(
                f"Decode policy {config.decode} chooses tokens whatever their distance, but this model has "
                "sliding-window layers: use decode blocks."
            )
        self._method = selector_class(config.method)
        if self._method.revives and config.steps and "flash" in self._implementation:
            raise ModelError(
                f"Method {config.method} brings tokens back behind later ones, which flash attention cannot mask: "
                'load the model with attention "sdpa".'
            )
        self.config = config
        self.question = question
        self.evidence = evidence
        self.stopwatch = Stopwatch(self.decoder.embed_tokens.weight.device)
        self._sequences: WeakKeyDictionary[Cache, Sequence] = WeakKeyDictionary()
        self.prompt = PromptView(BlockMap.of(0, config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """The decoder's forward: same arguments, same result, fewer tokens behind the prune layers.

        `position_ids` are not read: positions follow from the cache. Batch size 1, no padding.
        """
        if kwargs.get("output_attentions") or kwargs.get("output_hidden_states"):
            raise ConfigError(
                "Hidden states and attentions have another length in each layer of a pruned model: "
                "ask for them outside slim()."
            )
        if attention_mask is not None and (attention_mask.dim() != 2 or not bool(attention_mask.all())):
            raise ConfigError("A pruned run takes one unpadded prompt: leave attention_mask out.")
        use_cache = self.decoder.config.use_cache if use_cache is None else use_cache
        if (input_ids is None) == (inputs_embeds is None):
            raise ConfigError("Give either input_ids or inputs_embeds.")
        hidden = self.decoder.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = DynamicCache() if past_key_values is None else past_key_values
        run = self.run(hidden, cache)
        while True:
            try:
                next(run)
            except StopIteration as done:
                return BaseModelOutputWithPast(
                    last_hidden_state=done.value, past_key_values=cache if use_cache else None
                )

    def run(self, hidden: Tensor, cache: Cache, last_row: bool = False) -> Generator[LayerTick, None, Tensor]:
        """Run all layers over `hidden` [1, tokens, hidden], yielding after each; returns the normed states.

        The first call on an empty cache is the prefill and may prune; later calls append to the sequence.

        Args:
            last_row: the caller reads the last token's state only, as the first token of an answer needs. The
                last layer then leaves out what no other state depends on, and the result may be [1, 1, hidden].
        """
        if hidden.shape[0] != 1:
            raise ConfigError(
                f"Batch size {hidden.shape[0]} is not supported: run one prompt per process "
                "(accelerate launch starts several)."
            )
        sequence = self._sequences.get(cache)
        prefill = sequence is None or cache.get_seq_length() == 0
        if prefill:
            sequence = self._begin(hidden, cache)
        assert sequence is not None
        if isinstance(cache, SlimCache) and not prefill:
            self.place(cache)
            cache.begin_step()
        first, count = sequence.next_position, hidden.shape[1]
        sequence.next_position = first + count
        prunes = sequence.selector is not None and (prefill or sequence.selector.revives)
        steps = {step.layer: step for step in self.config.steps} if prunes else {}
        call = _Call(sequence, cache, self._rows(hidden, first), prefill, steps, last_row)
        del hidden  # a prompt's worth of memory that no layer after the first needs
        if prefill and self._method.two_pass and steps:
            yield from self._two_passes(call)
        else:
            yield from self._layers(call, 0)
        # In decode, rows that were brought back come before the new ones.
        normed: Tensor = self.decoder.norm(call.rows.hidden[:, -count:])
        return normed

    def _layers(
        self, call: _Call, first: int, end: int | None = None, selection: Selection | None = None
    ) -> Generator[LayerTick, None, None]:
        """Run layers `first` to `end - 1`; `selection` was made before the first of them."""
        for index, layer in enumerate(self.layers[first:end], first):
            if index in call.steps:
                selection = self._prune(call, index)
            if index + 1 in call.steps:
                window = self._method.query_window(self.config, call.sequence.prompt.blocks)
                call.tail = call.rows.hidden[:, -max(1, window) :].clone()
            if call.prefill:
                call.sequence.positions.append(call.rows.positions)
            elif call.sequence.waiting:
                before = call.sequence.later.get(index, call.rows.positions[:0])
                call.sequence.later[index] = torch.cat([before, call.rows.positions])
            self._observe(call, index)
            alive = len(call.rows)
            call.rows = call.rows.with_hidden(self._step(call, index, layer))
            yield LayerTick(index, alive, selection)
            selection = None

    def _two_passes(self, call: _Call) -> Generator[LayerTick, None, None]:
        """Run the layers before the prune step on everything, then all layers on what the step keeps."""
        ((layer, step),) = call.steps.items()
        embedded = call.rows.hidden
        yield from self._layers(call, 0, layer)
        with self.stopwatch.span("select"):
            assert call.sequence.selector is not None
            selection = call.sequence.selector.select(self._view(call, layer, step))
        call.steps = {}
        if selection is None:
            yield from self._layers(call, layer)
            return
        forget(call.cache)
        call.sequence.renumber(selection.kept)
        call.rows = self._rows(embedded.index_select(1, selection.kept.to(embedded.device)), 0)
        del embedded
        yield from self._layers(call, 0, selection=selection)

    def _prune(self, call: _Call, index: int) -> Selection | None:
        """Drop rows before layer `index`; in decode bring back those that are wanted after all."""
        selector = call.sequence.selector
        assert selector is not None
        with self.stopwatch.span("select"):
            view = self._view(call, index, call.steps[index])
            if not call.prefill:
                if index in call.sequence.waiting:
                    call.rows = call.sequence.exchange(index, call.rows, selector.revive(view))
                return None
            selection = selector.select(view)
            if selection is None:
                return None
            kept = torch.searchsorted(call.rows.positions, selection.kept)
            if self._method.revives:
                chosen = torch.zeros(len(call.rows), dtype=torch.bool, device=kept.device).index_fill_(0, kept, True)
                call.rows, call.sequence.waiting[index] = call.rows.split(chosen, len(kept))
            else:
                call.rows = call.rows.at(kept)
            return selection

    def _rows(self, hidden: Tensor, first: int) -> Rows:
        positions = torch.arange(first, first + hidden.shape[1], device=hidden.device)
        cos, sin = self.decoder.rotary_emb(hidden, position_ids=positions[None])
        return Rows(hidden, cos, sin, positions)

    def _observe(self, call: _Call, index: int) -> None:
        """Show the cache the queries that layer `index` is about to use, where it asks for them."""
        if isinstance(call.cache, SlimCache) and call.cache.wants_query(index):
            last, rows = slice(-call.sequence.prompt.blocks.window, None), call.rows
            queries = project_queries(self.layers[index], rows.hidden[:, last], rows.cos[:, last], rows.sin[:, last])
            call.cache.observe_query(index, queries)

    def enter(self, ids: Tensor) -> Rows:
        """The rows of token ids [1, n] as they enter layer 0, at positions 0 to n - 1."""
        return self._rows(self.decoder.embed_tokens(ids), 0)

    def through(self, index: int, rows: Rows) -> Rows:
        """`rows` as they leave layer `index` when it reads them alone; nothing is pruned or remembered."""
        sequence = Sequence(self.prompt, None, 0, positions=[rows.positions] * (index + 1))
        call = _Call(sequence, DynamicCache(), rows, True, {})
        return rows.with_hidden(self._step(call, index, self.layers[index]))

    def window(self, index: int) -> int | None:
        """The sliding window of layer `index` in tokens, None for full attention."""
        return self._windows[index]

    def place(self, cache: SlimCache) -> None:
        """Give the survivors of a prefill that is over their places; the first decode step does it otherwise."""
        if not cache.prefilled:
            cache.finish_prefill(self._sequences[cache].positions)

    def kept_positions(self, cache: Cache) -> list[Tensor]:
        """For each layer, the original positions of the prompt tokens in `cache`."""
        return self._sequences[cache].original_positions()

    def waiting_bytes(self, cache: Cache) -> dict[int, int]:
        """Bytes of the dropped hidden states that wait before each prune layer for a method that revives them."""
        return {layer: rows.nbytes for layer, rows in self._sequences[cache].waiting.items()}

    def _begin(self, hidden: Tensor, cache: Cache) -> Sequence:
        seen = cache.get_seq_length()
        if seen:
            raise ConfigError(f"This cache already holds {seen} tokens from outside slim(): start from an empty cache.")
        for index, layer in enumerate(cache.layers):
            if getattr(layer, "is_sliding", False):
                # A sliding cache counts kept tokens; our masks keep the window by position instead.
                cache.layers[index] = DynamicLayer()
        blocks = BlockMap.of(hidden.shape[1], self.config, self.question)
        self.prompt = PromptView(blocks, self.question, self.evidence)
        selector = make_selector(self.config, self.prompt) if self.config.steps else None
        sequence = Sequence(self.prompt, selector, self.prompt.tokens)
        self._sequences[cache] = sequence
        return sequence

    def _step(self, call: _Call, index: int, layer: nn.Module) -> Tensor:
        rows, cache = call.rows, call.cache
        window, implementation = self._windows[index], self._implementation
        causal = call.prefill and implementation != "eager"
        if window is None and (causal or len(rows) == 1):
            mask = None
        else:
            resident = cache.key_positions(index) if isinstance(cache, SlimCache) else None
            keys = call.sequence.key_positions(index, resident)
            mask = attention_mask(implementation, rows.positions.to(keys.device), keys, window, rows.hidden.dtype)
        last = call.last_row and index == len(self.layers) - 1 and isinstance(layer.forward, FusedLayer)
        out = layer(
            rows.hidden,
            attention_mask=mask,
            position_embeddings=(rows.cos, rows.sin),
            position_ids=None,
            past_key_values=cache,
            use_cache=True,
            **({"last_row": True} if last else {}),
        )
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result

    def _view(self, call: _Call, index: int, step: PruneStep) -> PruneView:
        rows, tail, cache = call.rows, call.tail, call.cache

        def queries(layer: nn.Module, states: Tensor, window: int) -> Tensor:
            states = states[:, -window:]
            count = states.shape[1]
            return project_queries(layer, states, rows.cos[:, -count:], rows.sin[:, -count:])

        def stored_keys() -> Tensor:
            layer: Any = cache.layers[index - 1]
            stored: Tensor = layer.all_keys() if isinstance(layer, SearchedLayer) else layer.keys[0]
            return stored

        before, own = self.layers[index - 1], self.layers[index]
        entered = rows.hidden if tail is None else tail
        previous = Attention(lambda window: queries(before, entered, window), stored_keys)
        if not call.prefill:  # the rows are the new tokens; the prompt's keys are in the cache alone
            resident = cache.key_positions(index - 1) if isinstance(cache, SlimCache) else None
            alive = call.sequence.key_positions(index - 1, resident)
            return PruneView(step, call.sequence.prompt, alive, (previous,))
        ahead = Attention(
            lambda window: queries(own, rows.hidden, window),
            lambda: project_keys(own, rows.hidden, rows.cos, rows.sin),
        )
        read = {"previous": (previous,), "own": (ahead,), "both": (previous, ahead)}[self.config.score_layer]
        return PruneView(step, call.sequence.prompt, rows.positions, read)


