"""A layer whose prompt lives on the host; each decode step brings the chosen tokens' keys and values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sliminfer.cache.layers import LayerBytes, RaggedLayer


class SearchedLayer(RaggedLayer):
    """Static tokens and the tail on the device, all survivors on the host.

    Attention reads the tokens chosen for this step, a different set in each KV head, then the static ones, then
    the tail. Keys carry their rotary positions, so a lone query needs no mask. Where several tokens are
    appended at once, everything is read in ascending order and masked as usual.

    Attributes:
        host: survivors' keys and values [2, kv_heads, survivors, head_dim].
        static: ascending ids of the survivors that never leave the device, int64 [static].
        searched: ascending ids of the others.
        wanted: how many of `searched` a step attends to, in each KV head.
        search_bytes_device, search_bytes_host: what the policy's search structures of this layer take.
    """

    whole = False
    in_place = False

    def __init__(self, prompt: RaggedLayer, static: Tensor, wanted: int) -> None:
        """Take over the survivors of `prompt`, a layer as prefill left it."""
        super().__init__(prompt.reserve)
        self.kept = prompt.kept
        source = prompt.store
        assert source is not None
        survivors = source[:, :, : prompt.length]
        self.host = survivors.to("cpu", copy=True)
        self.static = static
        free = torch.ones(prompt.length, dtype=torch.bool).index_fill_(0, static, False)
        self.searched = free.nonzero()[:, 0]
        self.wanted = wanted
        self.search_bytes_device = self.search_bytes_host = 0
        self._chosen: Tensor | None = None
        self.lazy_initialization(source[0:1], source[1:2])
        self.length = self.prompt_length = len(static)
        store = self._room(self.length, survivors[0:1, :, : self.length])
        store[:, :, : self.length] = survivors.index_select(2, static.to(source.device))

    def choose(self, tokens: Tensor) -> None:
        """Attend to these survivors in the coming step, int64 [kv_heads, wanted]."""
        self._chosen = tokens.cpu()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append to the tail; returns what this step attends to, [1, kv_heads, tokens, head_dim] each."""
        end = self.length + key_states.shape[2]
        store = self._room(end, key_states)
        store[0, :, self.length : end] = key_states[0]
        store[1, :, self.length : end] = value_states[0]
        self.length = end
        chosen, self._chosen = self._chosen, None
        if chosen is None or key_states.shape[2] > 1:
            both = torch.cat([self.host.to(store.device), store[:, :, self.prompt_length : end]], 2)
        else:
            rows = chosen[None, :, :, None].expand(2, -1, -1, self.host.shape[3])
            both = torch.cat([self.host.gather(2, rows).to(store.device), store[:, :, :end]], 2)
        return both[0:1], both[1:2]

    def all_keys(self) -> Tensor:
        """Keys of all survivors and the tail, ascending [kv_heads, survivors + tail, head_dim]."""
        assert self.store is not None
        return torch.cat([self.host[0].to(self.device), self.store[0, :, self.prompt_length : self.length]], 1)

    def get_seq_length(self) -> int:
        """The logical length: survivors and the tail."""
        return self.host.shape[2] + self.length - self.prompt_length if self.kept is None else self.kept.seen

    def reset(self) -> None:
        super().reset()
        self.host = self.host[:, :, :0].clone()
        self.search_bytes_device = self.search_bytes_host = 0

    def bytes(self) -> LayerBytes:
        held = super().bytes()
        return LayerBytes(
            prompt=held.prompt,
            tail=held.tail,
            units=self.search_bytes_device,
            slack=held.slack,
            host=self.host.nbytes + self.search_bytes_host,
        )
