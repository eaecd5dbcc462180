"""ModelShape: the dimensions of a decoder, and what they imply in parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sliminfer.schedule.sight import seeing_layers


@dataclass(frozen=True)
class LayerShape:
    """What one layer holds and costs.

    Attributes:
        query_width: values of a token's queries; 0 in a layer that does not attend.
        kv_width: values that a token leaves in the cache as key, and as many as value.
        passed: weights of the matrices that a token passes.
        held: all its weights.
        window: its sliding window in tokens, None for full attention.
        mixing: FLOPs a token beyond its matrices in a layer that does not attend.
    """

    query_width: int
    kv_width: int
    passed: int
    held: int
    window: int | None = None
    mixing: int = 0

    @property
    def attends(self) -> bool:
        return self.query_width > 0


@dataclass(frozen=True)
class ModelShape:
    """Dimensions of a decoder with grouped-query attention.

    Attributes:
        intermediate: width of the MLP, or of one expert.
        context: longest sequence in tokens.
        tied: whether embeddings and head share their weights.
        mlp_matrices: of an MLP or expert: with a gate three, else two.
        experts, active_experts: of each layer, and those that a token passes; 0 and 1 for one MLP.
        shared: width of an expert that every token passes beside these.
        fused: whether its layers run by the fused steps, rather than by their own forward.
        varied: each layer's own numbers, where they are not all alike; `intermediate` is then the widest that a token
            passes in one of them, all experts' together.
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
    mlp_matrices: int = 3
    experts: int = 0
    active_experts: int = 1
    shared: int = 0
    fused: bool = True
    varied: tuple[LayerShape, ...] = ()

    def layer(self, index: int) -> LayerShape:
        """The numbers of one layer."""
        if self.varied:
            return self.varied[index]
        held = self._matrices(self.experts or 1) + 2 * self.hidden
        return LayerShape(self.query_width, self.kv_width, self.layer_matrix_params, held)

    @property
    def seeing(self) -> tuple[int, ...] | None:
        """The layers whose attention reaches the whole prompt, None for all; see `schedule.sight`."""
        if not self.varied:
            return None
        return seeing_layers([each.window for each in self.varied], [each.attends for each in self.varied])

    @property
    def attending(self) -> tuple[bool, ...]:
        """Whether each layer attends, rather than mixing tokens through a state."""
        return tuple(self.layer(index).attends for index in range(self.layers))

    @property
    def windowed(self) -> bool:
        """Whether a layer has a sliding window."""
        return any(each.window is not None for each in self.varied)

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def layer_matrix_params(self) -> int:
        """Weights of one layer's matrices that a token passes: q, k, v, o, and its MLP's or experts'."""
        return self._matrices(self.active_experts)

    def _matrices(self, experts: int) -> int:
        """Weights of q, k, v, o, of `experts` experts and the shared one, and of the router."""
        attention = 2 * self.hidden * self.query_width + 2 * self.hidden * self.kv_width
        mlp = self.mlp_matrices * self.hidden * (self.intermediate * experts + self.shared)
        return attention + mlp + self.hidden * self.experts

    @property
    def params(self) -> int:
        """All parameters: matrices, all experts', two norms a layer and a last one, embeddings once or twice."""
        embeddings = self.vocab * self.hidden * (1 if self.tied else 2)
        return sum(self.layer(index).held for index in range(self.layers)) + self.hidden + embeddings

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
