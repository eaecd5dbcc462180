"""What the layer loop asks of the cache behind a sequence, and the answer of a plain transformers cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from sliminfer.cache.kept import Kept
from sliminfer.cache.state import StateLayer
from sliminfer.errors import ConfigError


@runtime_checkable
class PromptStore(Protocol):
    """Where the KV of one sequence lives. Layers write to it by transformers' own `update`."""

    @property
    def target(self) -> Cache:
        """What the layers write to."""

    @property
    def whole(self) -> bool:
        """Whether nothing of the prompt waits on the host."""

    def hold(self, layer: int, kept: Kept) -> None:
        """Layer `layer` is about to read the prompt's tokens `kept`, which later calls add to."""

    def keys(self, layer: int) -> Tensor:
        """All keys of `layer` after RoPE, in the order of `Kept.of_keys` [kv_heads, keys, head_dim]."""

    def key_positions(self, layer_idx: int) -> Tensor | None:
        """Positions of the prompt's resident keys in their order, int64 [resident]; None for all that are kept."""

    def wants_query(self, layer_idx: int) -> bool:
        """Whether `observe_query` is due before layer `layer_idx` of the call under way."""

    def observe_query(self, layer_idx: int, query: Tensor) -> None:
        """The queries after RoPE that the layer is about to use [q_heads, tokens, head_dim]."""

    def finish_prefill(self, positions: Sequence[Tensor]) -> None:
        """The prompt is complete; each layer holds the tokens at its ascending `positions`. Later calls do nothing."""

    def begin_step(self) -> None:
        """Tokens are about to be appended."""

    def forget(self) -> None:
        """Drop everything held."""


class KeptLayer(DynamicLayer):
    """A layer of a DynamicCache that knows which tokens its keys are of."""

    kept: Kept | None = None

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def get_seq_length(self) -> int:
        """Tokens read, dropped ones included: what `generate` has to know to go on."""
        return super().get_seq_length() if self.kept is None else self.kept.seen

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        # Only the stock model asks: the layer loop makes its masks by position.
        if self.kept is not None:
            self.kept.check_stock()
        return super().get_mask_sizes(query_length)

    def reset(self) -> None:
        super().reset()
        self.kept = None

    def crop(self, tokens_to_remove: int) -> None:
        if self.kept is None or tokens_to_remove >= 0:
            super().crop(tokens_to_remove)
            return
        stay = self.kept.cut(-tokens_to_remove)
        states = self.keys, self.values
        self.keys, self.values = (each[..., :stay, :] for each in states if each is not None)


class PlainStore:
    """A DynamicCache as it comes from `generate` or from a user: everything stays where it is."""

    def __init__(self, cache: Cache, attending: Sequence[bool]) -> None:
        """Take over the empty `cache`; its layers, which attend or have a state, learn which tokens they hold.

        Raises:
            ConfigError: the cache is of a kind whose layers cannot differ in length.
        """
        check_plain(cache)
        # A sliding layer counts kept tokens, and lets go of those that its window passed; our masks go by position.
        self._cache = cache
        self._layers = [KeptLayer() if attends else StateLayer() for attends in attending]
        cache.layers = [*self._layers]

    @property
    def target(self) -> Cache:
        return self._cache

    @property
    def whole(self) -> bool:
        return True

    def hold(self, layer: int, kept: Kept) -> None:
        self._layers[layer].kept = kept

    def keys(self, layer: int) -> Tensor:
        held = self._layers[layer]
        assert isinstance(held, KeptLayer)
        assert held.keys is not None
        return held.keys[0]

    def key_positions(self, layer_idx: int) -> Tensor | None:
        return None

    def wants_query(self, layer_idx: int) -> bool:
        return False

    def observe_query(self, layer_idx: int, query: Tensor) -> None:
        """Nothing is chosen by it."""

    def finish_prefill(self, positions: Sequence[Tensor]) -> None:
        """Nothing moves."""

    def begin_step(self) -> None:
        """Nothing is due."""

    def forget(self) -> None:
        self._cache.reset()


def check_plain(cache: Cache) -> None:
    """Raise ConfigError where `cache` is of a kind whose layers cannot differ in length."""
    if type(cache) is not DynamicCache or cache.offloading:
        raise ConfigError(
            f"A {_name(cache)} cannot hold layers of different lengths: leave cache_implementation out, or pass a "
            "DynamicCache."
        )


def _name(cache: Cache) -> str:
    return f"{type(cache).__name__} with offloading" if cache.offloading else type(cache).__name__
