"""The cache of one layer: a plain one that keeps all its tokens, and one whose prompt lives in slots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin

from sliminfer.cache.copies import BlocksCopy, CopyEngine, TensorCopy
from sliminfer.cache.kept import Kept
from sliminfer.errors import ConfigError


@dataclass(frozen=True)
class LayerBytes:
    """Bytes of one layer's keys and values, exact to the tensors held.

    Attributes:
        prompt: the prompt's KV that is resident on the device.
        tail: KV of the tokens that came after the prompt.
        units: the stage's unit representatives, held by its first layer.
        slack: allocated on the device for tokens to come.
        transit: prefill KV that stays until its copy to the host is done.
        host: the survivors' copy on the host.
    """

    prompt: int = 0
    tail: int = 0
    units: int = 0
    slack: int = 0
    transit: int = 0
    host: int = 0

    @property
    def device(self) -> int:
        """All bytes held on the device."""
        return self.prompt + self.tail + self.units + self.slack + self.transit


class RaggedLayer(CacheLayerMixin):
    """Keys and values in one growing buffer [2, kv_heads, capacity, head_dim]; layers may differ in length.

    `update` writes into the buffer and returns views of it, so the prompt's KV is neither gathered nor
    concatenated per step. A full buffer grows by as many tokens as came after the prompt, and by `reserve`
    at least: appending stays linear in all, and a long prompt is not doubled for a short answer.
    """

    is_sliding = False
    is_croppable = True
    whole = True  # nothing of the prompt waits elsewhere
    in_place = True  # attention reads what the buffer holds, all of it and nothing else
    kept: Kept | None = None

    def __init__(self, reserve: int) -> None:
        """An empty layer with room for `reserve` tokens after its first update."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.reserve = reserve
        self.length = 0
        self.prompt_length = 0
        self.store: Tensor | None = None

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        if key_states.shape != value_states.shape:
            raise ConfigError("Keys and values of different shapes are not supported: use another model.")
        self.dtype, self.device = key_states.dtype, key_states.device
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append [1, kv_heads, tokens, head_dim]; returns all keys and values as views of that form."""
        if key_states.shape[0] != 1:
            raise ConfigError(f"Batch size {key_states.shape[0]} is not supported: run one prompt per process.")
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if self.length == 0:
            self.prompt_length = end
        store = self._room(end, key_states)
        store[0, :, self.length : end] = key_states[0]
        store[1, :, self.length : end] = value_states[0]
        self.length = end
        self.keys, self.values = store[0:1, :, :end], store[1:2, :, :end]
        return self.keys, self.values

    def make_room(self, tokens: int) -> Tensor:
        """The buffer, with room for `tokens` more; it stays where it is until they have come."""
        assert self.store is not None
        return self._room(self.length + tokens, self.store[0:1])

    def appended(self, tokens: int) -> None:
        """`tokens` were written behind what is held, by the device alone."""
        assert self.store is not None
        self.length += tokens
        self.keys, self.values = self.store[0:1, :, : self.length], self.store[1:2, :, : self.length]

    def settle(self) -> None:
        """Let the compute go on only when everything that is to be read has arrived; here nothing is on its way."""

    def end_of_prompt(self) -> None:
        """What is held now is the prompt, not the first update alone; what comes later is the tail."""
        self.prompt_length = self.length

    def prompt_keys(self) -> Tensor:
        """The prompt's resident keys after RoPE [kv_heads, tokens, head_dim]."""
        assert self.store is not None
        return self.store[0, :, : self.prompt_length]

    def all_keys(self) -> Tensor:
        """All keys after RoPE, in order of position [kv_heads, tokens, head_dim]."""
        assert self.store is not None
        return self.store[0, :, : self.length]

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last tokens: `tokens_to_remove` is their number, negative as transformers has it."""
        tokens = -tokens_to_remove
        if not self.length or not tokens:
            return
        stay = max(0, self.length - tokens)
        if self.kept is not None:
            known = self.kept.cut(tokens)
            stay = known if self.whole else stay
        assert self.store is not None
        self.length, self.prompt_length = stay, min(self.prompt_length, stay)
        self.keys, self.values = self.store[0:1, :, :stay], self.store[1:2, :, :stay]

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's key and value."""
        return 0 if self.store is None else self.store.nbytes // self.store.shape[2]

    def get_seq_length(self) -> int:
        """Tokens read, dropped ones included, where that is known; else those held."""
        return self.length if self.kept is None else self.kept.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        if self.kept is not None:  # only the stock model asks: the layer loop makes its masks by position
            self.kept.check_stock()
        return self.length + query_length, 0

    def get_max_length(self) -> int:
        return -1

    def reset(self) -> None:
        """Drop everything held."""
        self.keys = self.values = self.store = None
        self.is_initialized = False
        self.length = self.prompt_length = 0
        self.kept = None

    def bytes(self) -> LayerBytes:
        """Exact bytes held, by purpose."""
        if self.store is None:
            return LayerBytes()
        return LayerBytes(
            prompt=self.prompt_length * self.token_bytes,
            tail=(self.length - self.prompt_length) * self.token_bytes,
            slack=(self.store.shape[2] - self.length) * self.token_bytes,
        )

    def _room(self, end: int, like: Tensor) -> Tensor:
        if self.store is not None and end <= self.store.shape[2]:
            return self.store
        capacity = end + max(self.reserve, end - self.prompt_length)
        shape = (2, like.shape[1], capacity, like.shape[3])
        # An inference tensor could not be appended to outside inference mode.
        with torch.inference_mode(False):
            grown = torch.empty(shape, dtype=like.dtype, device=like.device)
        if self.store is not None:
            grown[:, :, : self.length] = self.store[:, :, : self.length]
        self.store = grown
        return grown


class SlotLayer(RaggedLayer):
    """A layer whose prompt occupies a fixed number of block slots; the other blocks wait on the host.

    The buffer holds slots, then the tail: [2, kv_heads, slots * block_size + tail, head_dim]. Keys carry
    their rotary positions, so slots may hold blocks in any order. The prompt's last block, the only one that
    may be partial, never leaves the last slot, and so no hole opens before the tail.
    """

    whole = False

    def __init__(
        self,
        prompt: RaggedLayer,
        order: Tensor,
        block_size: int,
        host: Sequence[Tensor],
        engine: CopyEngine,
        logical_length: int,
    ) -> None:
        """Take over the survivors' KV of a prefilled layer.

        Args:
            prompt: the layer as prefill left it, nothing appended yet.
            order: compacted token indices in the order of the slots, int64 [resident].
            block_size: tokens per block.
            host: bytes of the layer's blocks on the host, [blocks, block_bytes] per slab.
            engine: moves blocks of this layer's device.
            logical_length: tokens of the prompt that this layer stands for, resident or not.
        """
        super().__init__(prompt.reserve)
        self.kept = prompt.kept
        source = prompt.store
        assert source is not None
        self.block_size = block_size
        self.engine = engine
        self.logical_length = logical_length
        self.units: Tensor | None = None
        _, heads, _, width = source.shape
        # Copies to the host may run after the request's inference mode ended: no inference tensors here either.
        with torch.inference_mode(False):
            self._host = [span.view(source.dtype).view(-1, 2, heads, block_size, width) for span in host]
        self._host_tokens = prompt.length
        self._pending: int | None = None
        self._source: Tensor | None = source
        self._offload = engine.submit(self._offload_copies(source, prompt.length))
        self.lazy_initialization(source[0:1], source[1:2])
        resident = self.prompt_length = len(order)
        store = self._room(resident, source[0:1, :, :resident])
        store[:, :, :resident] = source.index_select(2, order)
        self.length = resident
        self.keys, self.values = store[0:1, :, :resident], store[1:2, :, :resident]
        self.let_go()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append to the tail; returns all slots and the tail, once every slot's block has arrived."""
        self.settle()
        return super().update(key_states, value_states)

    def load(self, loads: Sequence[tuple[int, int]]) -> int:
        """Start to copy blocks into slots, (block, slot) each; returns the bytes. `update` waits for them."""
        assert self.store is not None
        copy = BlocksCopy(self.store, tuple(self._host), tuple(loads))
        self._pending = self.engine.submit([copy])
        return copy.nbytes

    def settle(self) -> None:
        """Let the compute go on only when every load has arrived."""
        if self._pending is not None:
            self.engine.wait(self._pending)
            self._pending = None

    def let_go(self) -> None:
        """Drop the prefill's KV if its copy to the host is done."""
        if self._source is not None and self.engine.poll(self._offload):
            self._source = None

    def host_block(self, block: int) -> Tensor:
        """The host's copy of `block` [2, kv_heads, block_size, head_dim]."""
        for span in self._host:
            if block < len(span):
                return span[block]
            block -= len(span)
        raise IndexError(block)

    def get_seq_length(self) -> int:
        """The logical length: prompt tokens this layer stands for, and the tail."""
        return self.logical_length + self.length - self.prompt_length if self.kept is None else self.kept.seen

    def reset(self) -> None:
        super().reset()
        self._host, self._source, self.units, self._pending = [], None, None, None

    def bytes(self) -> LayerBytes:
        held = super().bytes()
        return LayerBytes(
            prompt=held.prompt,
            tail=held.tail,
            units=0 if self.units is None else self.units.nbytes,
            slack=held.slack,
            transit=0 if self._source is None else self._source.nbytes,
            host=sum(span.nbytes for span in self._host),
        )

    def _offload_copies(self, source: Tensor, tokens: int) -> list[TensorCopy]:
        size = self.block_size
        whole = tokens // size
        copies = []
        first = 0
        for span in self._host:
            count = min(len(span), whole - first)
            if count > 0:
                part = source[:, :, first * size : (first + count) * size]
                blocks = part.unflatten(2, (count, size)).permute(2, 0, 1, 3, 4)
                copies.append(TensorCopy(span[:count], blocks))
            first += len(span)
        if whole * size < tokens:
            copies.append(
                TensorCopy(self.host_block(whole)[:, :, : tokens % size], source[:, :, whole * size : tokens])
            )
        return copies
