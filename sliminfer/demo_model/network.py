"""The forward pass of training: Transformers' LlamaForCausalLM weights over flattened rows.

Everything but attention works on [rows * length, width], whose size is the same in every step, so that one
compiled graph serves all lengths and layers. A test compares the result with the stock forward.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM

from sliminfer.demo_model.batches import Batch
from sliminfer.demo_model.rows import Kind
from sliminfer.demo_model.tokenizer import BOS, EOS, MAX_POSITIONS, PAD, VOCABULARY_SIZE

Function = TypeVar("Function", bound=Callable[..., object])

ROPE_THETA = 500_000.0
# Of nothing, prose, copies, answers and answers that follow a chain: a quotation has to be right 25 times in a row.
KIND_WEIGHTS = (0.0, 0.5, 2.0, 1.0, 1.0)


@dataclass(frozen=True)
class Shape:
    """The size of the model. `retrieval_layers` is after how many layers retrieval is supervised."""

    layers: int = 12
    width: int = 384
    heads: int = 6
    kv_heads: int = 3
    hidden: int = 896
    retrieval_layers: int = 4
    vocabulary: int = VOCABULARY_SIZE

    def config(self) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.width,
            intermediate_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.width // self.heads,
            max_position_embeddings=MAX_POSITIONS,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
            tie_word_embeddings=True,
            rms_norm_eps=1e-6,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
        )


def new_model(shape: Shape, seed: int) -> LlamaForCausalLM:
    """A freshly initialised model in fp32."""
    torch.manual_seed(seed)
    model: LlamaForCausalLM = LlamaForCausalLM(shape.config()).float()
    return model


def on_device(model: LlamaForCausalLM, device: torch.device) -> LlamaForCausalLM:
    """The same model, its weights moved to `device` in place."""
    torch.nn.Module.to(model, device)
    return model


def head_size(config: LlamaConfig) -> int:
    """The width of one head."""
    return config.head_dim or config.hidden_size // config.num_attention_heads


def rotary_tables(config: LlamaConfig, rows: int, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position, [rows * length, 1, head_dim] in fp32."""
    size = head_size(config)
    half = torch.arange(0, size, 2, device=device, dtype=torch.float32) / size
    angles = torch.arange(length, device=device, dtype=torch.float32)[:, None] / ROPE_THETA**half
    angles = torch.cat((angles, angles), dim=1).repeat(rows, 1)[:, None, :]
    return angles.cos(), angles.sin()


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()
    return (weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps))).to(x.dtype)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.float().chunk(2, dim=-1)
    return (torch.cat((first, second), -1) * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


def _before_attention(
    x: Tensor, norm: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, cos: Tensor, sin: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """x: [tokens, width] -> queries and keys after RoPE, values; [tokens, heads, head_dim] each.

    Keys and values are repeated for their query heads: every attention backend takes them so, and next to the
    rest of a step at this width it costs nothing.
    """
    normed = _norm(x, norm, eps)
    size = cos.shape[-1]
    q = F.linear(normed, wq.to(x.dtype)).unflatten(-1, (-1, size))
    k = F.linear(normed, wk.to(x.dtype)).unflatten(-1, (-1, size))
    v = F.linear(normed, wv.to(x.dtype)).unflatten(-1, (-1, size))
    k = _rotate(k, cos, sin)
    k, v = (each[:, :, None].expand(-1, -1, q.shape[1] // k.shape[1], -1).flatten(1, 2) for each in (k, v))
    return _rotate(q, cos, sin), k, v


def _after_attention(
    x: Tensor, mixed: Tensor, wo: Tensor, norm: Tensor, gate: Tensor, up: Tensor, down: Tensor, eps: float
) -> Tensor:
    """Residual, then the SwiGLU block. x: [tokens, width], mixed: [tokens, heads * head_dim]."""
    x = x + F.linear(mixed, wo.to(x.dtype))
    normed = _norm(x, norm, eps)
    inner = F.silu(F.linear(normed, gate.to(x.dtype))) * F.linear(normed, up.to(x.dtype))
    return x + F.linear(inner, down.to(x.dtype))


def _token_losses(x: Tensor, norm: Tensor, head: Tensor, targets: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each chosen position and whether its arg-max is right, both [chosen] in fp32."""
    logits = F.linear(_norm(x, norm, eps), head.to(x.dtype)).float()
    right = (logits.argmax(-1) == targets).float()
    return F.cross_entropy(logits, targets, reduction="none"), right


def _compiled(function: Function) -> Function:
    return cast(Function, torch.compile(function, dynamic=False))


@dataclass(frozen=True)
class Losses:
    """`total` is what is minimised; `loss` and `right` are means by kind at the output, [5] each; `early_right`
    the same after the retrieval layers. A kind that does not occur has nan."""

    total: Tensor
    loss: Tensor
    right: Tensor
    early_right: Tensor


class Trainee:
    """A model with its training forward. `dtype` is the compute type; the weights stay in fp32."""

    def __init__(self, model: LlamaForCausalLM, retrieval_layers: int, dtype: torch.dtype, compiled: bool) -> None:
        self.model = model
        self.config = model.config
        self.retrieval_layers = retrieval_layers
        self.dtype = dtype
        self._before = _compiled(_before_attention) if compiled else _before_attention
        self._after = _compiled(_after_attention) if compiled else _after_attention
        self._losses = _compiled(_token_losses) if compiled else _token_losses
        self._weights = torch.tensor(KIND_WEIGHTS, device=model.device)
        self._early_weights = self._weights.clone()
        self._early_weights[Kind.PROSE] = 0.0
        self._tables: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def hidden(self, inputs: Tensor, kept: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """inputs: [rows, length] -> hidden states after the retrieval layers and after all, [tokens, width].

        The first of `kept` says which positions go on after the retrieval layers, as ascending indices into the
        flattened rows, equally many for each row; the next one which of those after as many layers again.
        """
        rows, length = inputs.shape
        if (rows, length) not in self._tables:
            self._tables[rows, length] = rotary_tables(self.config, rows, length, inputs.device)
        cos, sin = self._tables[rows, length]
        eps = self.config.rms_norm_eps
        x = F.embedding(inputs.reshape(-1), self.model.model.embed_tokens.weight).to(self.dtype)
        early = x
        for index, layer in enumerate(self.model.model.layers):
            attention, mlp = layer.self_attn, layer.mlp
            drop = index // self.retrieval_layers - 1 if index % self.retrieval_layers == 0 else -1
            if 0 <= drop < len(kept):
                x, cos, sin = (each.index_select(0, kept[drop]) for each in (x, cos, sin))
            q, k, v = self._before(
                x,
                layer.input_layernorm.weight,
                attention.q_proj.weight,
                attention.k_proj.weight,
                attention.v_proj.weight,
                cos,
                sin,
                eps,
            )
            q, k, v = (each.unflatten(0, (rows, -1)).transpose(1, 2) for each in (q, k, v))
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(len(x), -1)
            x = self._after(
                x,
                mixed,
                attention.o_proj.weight,
                layer.post_attention_layernorm.weight,
                mlp.gate_proj.weight,
                mlp.up_proj.weight,
                mlp.down_proj.weight,
                eps,
            )
            if index + 1 == self.retrieval_layers:
                early = x
        return early, x

    def token_losses(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and correctness of chosen hidden states [chosen, width], through the final norm and head."""
        norm, head = self.model.model.norm.weight, self.model.model.embed_tokens.weight
        return self._losses(x, norm, head, targets, self.config.rms_norm_eps)

    def arg_max(self, x: Tensor) -> Tensor:
        """The most likely next token of each hidden state [chosen, width], through the final norm and head."""
        norm, head = self.model.model.norm.weight, self.model.model.embed_tokens.weight
        return F.linear(_norm(x, norm, self.config.rms_norm_eps), head.to(x.dtype)).float().argmax(-1)

    def losses(self, batch: Batch, early_weight: float) -> Losses:
        """The kinds weigh `KIND_WEIGHTS`, however many tokens there are of each; after the retrieval layers all but
        prose, times `early_weight` (deep supervision, so that pruning above is harmless)."""
        early, last = self.hidden(batch.inputs, batch.kept)
        loss, right = self.token_losses(last.index_select(0, batch.last_places), batch.targets)
        early_loss, early_right = self.token_losses(early.index_select(0, batch.places), batch.targets)
        members = F.one_hot(batch.kinds.long(), len(Kind)).float()
        shares = members / members.sum(0).clamp(min=1.0)
        by_kind, early_by_kind = loss @ shares, early_loss @ shares
        total = by_kind @ self._weights + early_weight * (early_by_kind @ self._early_weights)
        absent = members.sum(0) == 0
        means = (by_kind.detach(), right @ shares, early_right @ shares)
        return Losses(total, *(each.masked_fill(absent, torch.nan) for each in means))


def fastest_attention(config: LlamaConfig, device: torch.device) -> list[SDPBackend]:
    """The attention backends in the order to try. On CUDA, timed forward and backward at 8,192 positions."""
    if device.type != "cuda":
        return [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH]
    shape = (4, 8192, config.num_attention_heads, head_size(config))
    q, k, v = (
        torch.randn(shape, device=device, dtype=torch.bfloat16).transpose(1, 2).requires_grad_() for _ in range(3)
    )
    gradient = torch.randn_like(q)
    times: dict[SDPBackend, float] = {}
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        try:
            with sdpa_kernel(backend):
                for repeat in range(4):
                    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                    start.record()
                    F.scaled_dot_product_attention(q, k, v, is_causal=True).backward(gradient)
                    end.record()
                    end.synchronize()
                    if repeat:
                        times[backend] = min(times.get(backend, float("inf")), start.elapsed_time(end))
        except RuntimeError:
            # A backend that this build or card lacks is no error: the other one serves.
            continue
    return [*sorted(times, key=times.__getitem__), SDPBackend.MATH]
