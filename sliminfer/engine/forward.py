"""The decoder's forward under `slim`: transformers' arguments in, transformers' result out."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast

from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.errors import ConfigError


class Forward:
    """The decoder's forward: same arguments, same result, fewer tokens behind the prune layers."""

    def __init__(self, loop: LayerLoop) -> None:
        self.loop = loop

    def __call__(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """As the decoder's own. `position_ids` are not read: positions follow from the cache."""
        if kwargs.get("output_attentions") or kwargs.get("output_hidden_states"):
            raise ConfigError(
                "Hidden states and attentions have another length in each layer of a pruned model: "
                "ask for them outside slim()."
            )
        if attention_mask is not None and (attention_mask.dim() != 2 or not bool(attention_mask.all())):
            raise ConfigError("A pruned run takes one unpadded prompt: leave attention_mask out.")
        decoder = self.loop.decoder
        use_cache = decoder.config.use_cache if use_cache is None else use_cache
        if (input_ids is None) == (inputs_embeds is None):
            raise ConfigError("Give either input_ids or inputs_embeds.")
        hidden = decoder.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = DynamicCache() if past_key_values is None else past_key_values
        states = exhaust(self.loop.run(hidden, cache))
        return BaseModelOutputWithPast(last_hidden_state=states, past_key_values=cache if use_cache else None)
