"""What transformers calls under `slim`: the model's and the decoder's forward, with their arguments and results."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache

from sliminfer.engine.batch import Batch, batch_of
from sliminfer.engine.layout import check_positions, row_spans
from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.errors import ConfigError
from sliminfer.model.recognise import family_of

# How many of the last positions the model above the decoder makes logits of; 0 for all.
_logits_of: ContextVar[int] = ContextVar("logits_of", default=0)


class ModelForward:
    """The forward of the model above the decoder: as it was, but it tells the decoder which positions it reads."""

    def __call__(self, stock: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """As the model's own."""
        keep = kwargs.get("logits_to_keep", 0)
        some = isinstance(keep, int) and kwargs.get("labels") is None and len(args) <= _BEFORE_LABELS
        before = _logits_of.get()
        _logits_of.set(keep if some else 0)
        try:
            return stock(*args, **kwargs)
        finally:
            _logits_of.set(before)


# input_ids, attention_mask, position_ids, past_key_values, inputs_embeds come before labels.
_BEFORE_LABELS = 5


class DecoderForward:
    """The decoder's forward: same arguments, same result, fewer tokens behind the prune layers."""

    def __init__(self, loop: LayerLoop) -> None:
        self._loop = loop

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # lengths differ from layer to layer: nothing to gain
    def __call__(
        self,
        stock: Callable[..., Any],
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """As the decoder's own. Rows of a batch run one after another, each without its padding.

        Where the model above reads the last `k` positions alone (`logits_to_keep=k`), a pruned prompt ends where the
        first of them is predicted, and what follows is appended to it, as an assistant's drafts are. Otherwise
        the whole is the prompt, and dropped tokens have the states of the dense model that masks them as keys.

        Raises:
            ConfigError: something is asked for that a pruned model does not have, or cannot be told.
        """
        decoder = self._loop.decoder
        self._check(kwargs)
        use_cache = decoder.config.use_cache if use_cache is None else use_cache
        if (input_ids is None) == (inputs_embeds is None):
            raise ConfigError("Give either input_ids or inputs_embeds.")
        hidden = decoder.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = DynamicCache() if past_key_values is None else past_key_values
        states = self._states(hidden, cache, attention_mask, position_ids)
        output: Any = family_of(decoder.config).output
        found = output(last_hidden_state=states, past_key_values=cache if use_cache else None)
        return found if kwargs.get("return_dict", decoder.config.return_dict) else found.to_tuple()

    def _states(self, hidden: Tensor, cache: Cache, mask: Tensor | None, position_ids: Tensor | None) -> Tensor:
        rows, tokens = hidden.shape[:2]
        if not tokens:
            raise ConfigError("The prompt is empty: give it at least one token.")
        batch = batch_of(cache)
        if batch is not None and not batch.seen:  # reset: it may hold anything now
            batch = None
        held = None if batch is None else [row.start for row in batch.rows]
        seen = cache.get_seq_length()
        spans = row_spans(mask, rows, tokens, seen, held)
        check_positions(position_ids, spans, tokens, seen)
        keep = _logits_of.get()
        if rows == 1 and held is None and spans[0] == (0, seen + tokens):
            return self._row(hidden, cache, keep)
        if rows > 1 and mask is None and position_ids is None and self._loop.config.steps:
            raise ConfigError(
                "Several prompts at once need an attention_mask, ones for tokens and zeros for padding: without it "
                "padding would be taken for the prompt."
            )
        if batch is None:
            batch = Batch.begin(cache, spans, self._loop.stack.depth)
        padded = any(end < seen + tokens for _, end in spans)
        return batch.run(hidden, spans, lambda states, own: self._row(states, own, 0 if padded else keep))

    def _row(self, hidden: Tensor, cache: Cache, keep: int) -> Tensor:
        """States of the last `keep` tokens of one row, or of all [1, keep or tokens, hidden]."""
        loop, tokens = self._loop, hidden.shape[1]
        prunes = loop.begins(cache) and bool(loop.config.steps)
        if not keep or not prunes:
            # Not "last": where nothing is dropped the result has the stock model's bits.
            states = exhaust(loop.run(hidden, cache, "kept" if keep == 1 else "all"))
            return states[:, -keep:] if keep else states
        prompt = max(1, tokens - keep + 1)
        first = exhaust(loop.run(hidden[:, :prompt], cache))[:, -1:]
        if prompt == tokens:
            return first
        return torch.cat([first, exhaust(loop.run(hidden[:, prompt:], cache))], 1)

    def _check(self, kwargs: dict[str, Any]) -> None:
        config = self._loop.decoder.config
        for name in ("output_hidden_states", "output_attentions"):
            asked = kwargs.get(name)
            if getattr(config, name, False) if asked is None else asked:
                raise ConfigError(
                    "Hidden states and attentions have another length in each layer of a pruned model: "
                    f"ask for them outside slim() ({name} is set)."
                )
        layer = self._loop.layers[0]
        if layer.training and getattr(layer, "gradient_checkpointing", False):
            raise ConfigError(
                "Gradient checkpointing keeps no keys to score by: call model.gradient_checkpointing_disable() or "
                "model.eval() first."
            )
        packed = sorted(name for name in kwargs if name.startswith(("cu_seq_lens", "cu_seqlens", "max_length_")))
        if packed:
            raise ConfigError(f"Prompts packed into one row ({packed[0]}) cannot be pruned: give each its own row.")
