"""The mechanism: an explicit loop over a stock model's own layers that drops prompt tokens on the way.

`slim(model, config)` puts the loop in place of the decoder's forward on that one instance and takes it out
again, so `model(...)` and `model.generate(...)` work inside it and nothing is patched globally.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPast

from sliminfer.blocks import BlockMap, Span
from sliminfer.cache import SlimCache
from sliminfer.config import PruneStep, SlimConfig
from sliminfer.errors import ConfigError, ModelError
from sliminfer.fused import fuse_layer_ops
from sliminfer.masks import attention_mask
from sliminfer.meters import Stopwatch
from sliminfer.ops import use_kernels
from sliminfer.projection import project_keys, project_queries
from sliminfer.selectors import PromptView, PruneView, Selection, make_selector, selector_class

SUPPORTED = ("llama", "qwen2", "qwen3", "mistral", "phi3")


@dataclass(frozen=True)
class LayerTick:
    """One layer has run: its index, the tokens alive in it, and what was pruned before it, if anything."""

    layer: int
    alive: int
    selection: Selection | None


@dataclass
class Sequence:
    """What the loop remembers of one cache between calls.

    Attributes:
        prompt: the prompt's blocks and question.
        positions: for each layer, the original positions of the prompt tokens it keeps [n].
        next_position: position of the next token to come.
    """

    prompt: PromptView
    positions: list[Tensor]
    next_position: int

    def key_positions(self, layer: int, resident: Tensor | None) -> Tensor:
        """Original positions of all keys of `layer`, those of the tokens now being run included.

        `resident` are the prompt's keys that attention reads where they are not all that the layer keeps.
        """
        kept = self.positions[layer] if resident is None else resident
        later = torch.arange(self.prompt.tokens, self.next_position, device=kept.device)
        return torch.cat([kept, later])


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
        selector_class(config.method)
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

    def run(self, hidden: Tensor, cache: Cache) -> Generator[LayerTick, None, Tensor]:
        """Run all layers over `hidden` [1, tokens, hidden], yielding after each; returns the normed states.

        The first call on an empty cache is the prefill and may prune; later calls append to the sequence.
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
        slim_cache = cache if isinstance(cache, SlimCache) else None
        if slim_cache is not None and not prefill:
            self.place(slim_cache)
            slim_cache.begin_step()
        steps = {step.layer: step for step in self.config.steps} if prefill else {}
        selector = make_selector(self.config, sequence.prompt) if steps else None
        first = sequence.next_position
        sequence.next_position = first + hidden.shape[1]
        alive = torch.arange(first, sequence.next_position, device=hidden.device)
        cos, sin = self.decoder.rotary_emb(hidden, position_ids=alive[None])
        tail: Tensor | None = None
        for index, layer in enumerate(self.layers):
            selection = None
            if selector is not None and index in steps:
                with self.stopwatch.span("select"):
                    view = self._view(index, steps[index], sequence, hidden, tail, (cos, sin), alive, cache)
                    selection = selector.select(view)
                    if selection is not None:
                        hidden, cos, sin, alive = _take(selection.kept, hidden, cos, sin, alive)
            if selector is not None and index + 1 in steps:
                tail = hidden[:, -selector.query_window :].clone()
            if prefill:
                sequence.positions.append(alive)
            if slim_cache is not None and slim_cache.wants_query(index):
                last = slice(-self.config.query_window, None)
                slim_cache.observe_query(index, project_queries(layer, hidden[:, last], cos[:, last], sin[:, last]))
            hidden = self._step(index, layer, hidden, cos, sin, alive, sequence, cache, prefill)
            yield LayerTick(index, len(alive), selection)
        normed: Tensor = self.decoder.norm(hidden)
        return normed

    def place(self, cache: SlimCache) -> None:
        """Give the survivors of a prefill that is over their places; the first decode step does it otherwise."""
        if not cache.prefilled:
            cache.finish_prefill(self._sequences[cache].positions)

    def kept_positions(self, cache: Cache) -> list[Tensor]:
        """For each layer, the original positions of the prompt tokens in `cache`."""
        return self._sequences[cache].positions

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
        sequence = Sequence(self.prompt, [], 0)
        self._sequences[cache] = sequence
        return sequence

    def _step(
        self,
        index: int,
        layer: nn.Module,
        hidden: Tensor,
        cos: Tensor,
        sin: Tensor,
        alive: Tensor,
        sequence: Sequence,
        cache: Cache,
        prefill: bool,
    ) -> Tensor:
        window = _sliding_window(self.decoder.config, index)
        implementation = self.decoder.config._attn_implementation
        causal = prefill and implementation != "eager"
        if window is None and (causal or len(alive) == 1):
            mask = None
        else:
            resident = cache.key_positions(index) if isinstance(cache, SlimCache) else None
            keys = sequence.key_positions(index, resident)
            mask = attention_mask(implementation, alive.to(keys.device), keys, window, hidden.dtype)
        out = layer(
            hidden,
            attention_mask=mask,
            position_embeddings=(cos, sin),
            position_ids=None,
            past_key_values=cache,
            use_cache=True,
        )
        result: Tensor = out[0] if isinstance(out, tuple) else out
        return result

    def _view(
        self,
        index: int,
        step: PruneStep,
        sequence: Sequence,
        hidden: Tensor,
        tail: Tensor | None,
        rotary: tuple[Tensor, Tensor],
        alive: Tensor,
        cache: Cache,
    ) -> PruneView:
        own = self.config.score_layer == "own"
        scoring = self.layers[index if own else index - 1]
        cos, sin = rotary

        def queries(window: int) -> Tensor:
            states = hidden if own or tail is None else tail
            states = states[:, -window:]
            count = states.shape[1]
            return project_queries(scoring, states, cos[:, -count:], sin[:, -count:])

        def keys() -> Tensor:
            if own:
                return project_keys(scoring, hidden, cos, sin)
            before: Any = cache.layers[index - 1]
            stored: Tensor = before.keys[0]
            return stored

        return PruneView(step, sequence.prompt, alive, queries, keys)


def _take(kept: Tensor, hidden: Tensor, cos: Tensor, sin: Tensor, alive: Tensor) -> tuple[Tensor, ...]:
    index = torch.searchsorted(alive, kept)
    return (
        hidden.index_select(1, index.to(hidden.device)),
        cos.index_select(1, index.to(cos.device)),
        sin.index_select(1, index.to(sin.device)),
        kept,
    )


def _sliding_window(config: Any, layer: int) -> int | None:
    """The sliding window of `layer` in tokens, None for full attention."""
    window: int | None = getattr(config, "sliding_window", None)
    if window is None:
        return None
    types = getattr(config, "layer_types", None)
    return window if types is None or types[layer] == "sliding_attention" else None


def find_decoder(model: nn.Module) -> Any:
    """The decoder stack inside `model`; raises ModelError where its family is not supported."""
    outer: Any = model
    decoder: Any = outer.get_decoder() if hasattr(outer, "get_decoder") else outer
    family = getattr(getattr(decoder, "config", None), "model_type", type(model).__name__)
    if family not in SUPPORTED or not hasattr(decoder, "layers"):
        raise ModelError(f"Models of type {family!r} are not supported: use one of {', '.join(SUPPORTED)}.")
    return decoder


@contextlib.contextmanager
def slim(
    model: nn.Module,
    config: SlimConfig,
    question: Span | None = None,
    evidence: tuple[Span, ...] = (),
    kernels: str = "auto",
) -> Iterator[LayerLoop]:
    """Within the block, prefills of `model` prune by `config`; afterwards the model is as it was.

    The elementwise steps of known layers run fused meanwhile (`sliminfer.fused`), pruned or not.

    Args:
        model: a transformers causal language model of a supported family, on any device or several.
        config: the pruning schedule.
        question: half-open token span of the question in the prompts to come, always kept.
        evidence: token spans that hold the answer, read by the oracle method only.
        kernels: "auto" (Triton on a GPU, torch elsewhere), "torch" or "triton".

    Raises:
        ConfigError: the schedule does not fit the model, or the model is inside another `slim`, or Triton is
            asked for where it cannot run.
        ModelError: the model's family is not supported.
    """
    loop = LayerLoop(model, config, question, evidence)
    decoder = loop.decoder
    if isinstance(getattr(decoder.__dict__.get("forward"), "__self__", None), LayerLoop):
        raise ConfigError("This model is already inside slim(): leave the outer block first.")
    own_forward = decoder.__dict__.get("forward")
    decoder.forward = loop.forward
    try:
        with use_kernels(kernels), fuse_layer_ops(model):
            yield loop
    finally:
        if own_forward is None:
            del decoder.forward
        else:
            decoder.forward = own_forward
