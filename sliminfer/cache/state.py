"""The cache of a layer that does not attend: a state of fixed size in place of keys and values."""

from __future__ import annotations

from typing import Any

from transformers.cache_utils import LinearAttentionLayer

from sliminfer.cache.kept import Kept
from sliminfer.cache.layers import LayerBytes


class StateLayer(LinearAttentionLayer):
    """What a linear or convolutional layer remembers of the tokens that it has read, whichever those were."""

    whole = True  # nothing of the prompt waits elsewhere
    in_place = False
    kept: Kept | None = None
    token_bytes = 0
    length = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

    def end_of_prompt(self) -> None:
        """The state stays as it is."""

    def reset(self) -> None:
        """Drop the state."""
        super().__init__(self.number_of_states)
        self.kept = None

    def bytes(self) -> LayerBytes:
        """Exact bytes held."""
        held = (*self.conv_states.values(), *self.recurrent_states.values())
        return LayerBytes(prompt=sum(state.nbytes for state in held if state is not None))
