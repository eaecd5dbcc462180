"""What a decode policy is: it names, per KV head and step, the prompt tokens that a new token attends to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from sliminfer.decode_policies.searched import SearchedLayer
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.base import NoKnobs, read_options


class DecodePolicy(ABC):
    """A way to search a prompt's keys in decode. One instance serves one prompt.

    Attributes:
        name: the policy's name in configs and JSON.
        paper: where it comes from, as shown to users.
        knobs: frozen dataclass of the policy's own options, which checks itself.
        calibrates: whether `prepare` needs the queries of the prompt's last positions in every layer.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    knobs: ClassVar[type[Any]] = NoKnobs
    calibrates: ClassVar[bool] = False

    def __init__(self, config: SlimConfig) -> None:
        self.config = config
        self.options: Any = self.check(config)

    @classmethod
    def check(cls, config: SlimConfig) -> Any:
        """The policy's options in `config`; raises ConfigError for a wrong one."""
        return read_options(cls.knobs, config.decode_options, f"Decode policy {cls.name}")

    @abstractmethod
    def prepare(
        self, layers: Mapping[int, SearchedLayer], positions: Sequence[Tensor], queries: Mapping[int, Tensor]
    ) -> None:
        """Build what the search needs, once after prefill.

        Args:
            layers: the searched layers by index.
            positions: for each layer of the model, the ascending positions of its survivors.
            queries: by layer, those of the prompt's last positions [heads, window, head_dim], if asked for.
        """

    @abstractmethod
    def choose(self, layer: int, query: Tensor) -> Tensor:
        """Tokens for one new token's query [heads, 1, head_dim], int64 [kv_heads, layer.wanted].

        Ascending ids into the survivors of `layer`, static ones not among them, different in each row.
        """
