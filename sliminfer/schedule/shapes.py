"""ModelShape: the dimensions of a decoder, and what they imply in parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ModelShape:
    """Dimensions of a decoder with grouped-query attention.

    Attributes:
        intermediate: width of the MLP, which has three matrices.
        context: longest sequence in tokens.
        tied: whether embeddings and head share their weights.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    context: int
    tied: bool

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def layer_matrix_params(self) -> int:
        """Weights in the matrices of one layer: q, k, v, o and the MLP's three."""
        attention = 2 * self.hidden * self.query_width + 2 * self.hidden * self.kv_width
        return attention + 3 * self.hidden * self.intermediate

    @property
    def params(self) -> int:
        """All parameters: matrices, two norms a layer and a last one, embeddings once or twice."""
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return self.layers * (self.layer_matrix_params + 2 * self.hidden) + self.hidden + embeddings

    @classmethod
    def of(cls, config: Any) -> ModelShape:
        """The shape in the config of a decoder with a gated MLP in every layer."""
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            vocab=config.vocab_size,
            context=config.max_position_embeddings,
            tied=bool(config.tie_word_embeddings),
        )
