"""Fused steps for the decoder layers of a stock model.

A layer of a known family computes, between its matrix products and attention, only RMSNorm, RoPE, SwiGLU and
two residual additions. A `FusedLayer` does these in place and in one pass each (`sliminfer.ops.dispatch`), and runs the
MLP in slices of tokens so that its wide intermediate results never exist for a whole long prompt. It reads the layer's
weights and changes nothing about it: whoever calls the model itself gets the stock layer. On a CPU the result has the
stock layer's bits as long as the prompt fits one slice and attention stays torch's own (`sliminfer.ops.row_attention`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.cache_utils import Cache
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sliminfer.model.attention import SDPA, cudnn_where_it_pays
from sliminfer.model.families import FAMILIES
from sliminfer.ops import dispatch as ops
from sliminfer.ops.compat import attention_backend, forward_hooks, has_amx
from sliminfer.ops.linear import is_plain, linear
from sliminfer.ops.row_attention import row_attention, runs_by_rows
from sliminfer.ops.workspace import Workspace
from sliminfer.schedule.memory import MLP_SLICES

# Attention in place of the model's: queries [heads, tokens, head_dim], keys and values [kv_heads, tokens, head_dim] and
# the scale of their products, to [tokens, heads, head_dim].
Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def fused_layers(layers: Sequence[nn.Module]) -> list[FusedLayer | None]:
    """The fused steps of each of a decoder's `layers`, None for a layer of a form that is not known."""
    workspace = Workspace()
    return [FusedLayer(layer, workspace, None, len(layers)) if is_known(layer) else None for layer in layers]


def is_known(layer: nn.Module) -> bool:
    """Whether `layer` and its parts are the unmodified classes of a known family, with SiLU gating."""
    home = type(layer).__module__
    prefix = _prefix(layer)
    if prefix is None or home != f"transformers.models.{prefix.lower()}.modeling_{prefix.lower()}":
        return False
    parts: dict[str, nn.Module | None] = {
        "DecoderLayer": layer,
        "Attention": getattr(layer, "self_attn", None),
        "MLP": getattr(layer, "mlp", None),
        "RMSNorm": getattr(layer, "input_layernorm", None),
    }
    stock = all(
        type(part).__name__ == prefix + name and type(part).__module__ == home and "forward" not in vars(part)
        for name, part in parts.items()
    )
    if not stock or type(layer.post_attention_layernorm) is not type(layer.input_layernorm):
        return False
    activation = getattr(layer.mlp, "act_fn", None) or getattr(layer.mlp, "activation_fn", None)
    return isinstance(activation, nn.SiLU) or type(activation).__name__ == "SiLUActivation"


def is_known_norm(norm: nn.Module) -> bool:
    """Whether `norm` is the unmodified RMSNorm of a known family, with nothing attached."""
    prefix = _prefix(norm)
    known = prefix is not None and type(norm).__name__ == f"{prefix}RMSNorm"
    return known and "forward" not in vars(norm) and not any(forward_hooks(norm))


def shared_attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Masked attention on a CPU whose query heads share keys where they lie: transformers copies these for each head.

    The bits are the same. A question of 32 tokens behind 8,192 takes 6.2 ms a layer instead of 19.1 on a core of a
    Xeon, in bf16 with 14 heads of 64 over 2 KV heads; with 32 heads of 128 over 8, 28 instead of 94.

    Args:
        query: `[1, heads, rows, head_dim]`, after RoPE; `keys`, `values`: `[1, kv_heads, keys, head_dim]`.
        mask: which keys each row sees, bool `[1, 1, rows, keys]`.

    Returns:
        `[1, rows, heads, head_dim]`.
    """
    shared = query.shape[1] > keys.shape[1]
    return F.scaled_dot_product_attention(query, keys, values, mask, scale=scale, enable_gqa=shared).transpose(1, 2)


class FusedLayer:
    """One decoder layer of a known family, step by step."""

    def __init__(self, layer: nn.Module, workspace: Workspace, mlp_slice: int | None, layers: int) -> None:
        """The steps of `layer`, one of `layers`; its MLP takes `mlp_slice` tokens at once, or the device's default."""
        self.layer: Any = layer
        self.workspace = workspace
        self.mlp_slice = mlp_slice
        self.layers = layers
        # Looked up once: an attribute of a module or of a config costs a microsecond, and a decoded token passes
        # every layer.
        self.norm_before: Any = layer.input_layernorm
        self.attention: Any = layer.self_attn
        self.norm_after: Any = layer.post_attention_layernorm
        self.mlp: Any = layer.mlp
        self.implementation, self.interface, self.window = _backend(layer.self_attn)
        parts: tuple[Any, ...] = (layer, self.norm_before, self.attention, self.norm_after, self.mlp)
        self._hooks = [hooks for part in parts for hooks in forward_hooks(part)]

    def serves(self, hidden: Tensor) -> bool:
        """Whether these steps stand for the layer now: one row, no gradient, no dropout, no hook on it or inside."""
        alone = hidden.shape[0] == 1 and not torch.is_grad_enabled() and not self.layer.training
        return alone and not any(self._hooks)

    def __call__(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None,
        position_embeddings: tuple[Tensor, Tensor],
        past_key_values: Cache | None,
        last_row: bool = False,
        attend: Attend | None = None,
    ) -> Tensor:
        """The stock layer's result `[1, tokens, hidden]`; never changes its input.

        Args:
            last_row: only the last token's result is needed, `[1, 1, hidden]`. Keys and values of all tokens go to
                the cache as ever.
            attend: how a whole prompt attends, other than by the model's own backend.
        """
        norm = self.norm_before
        attended = self._attend(
            ops.rms_norm(hidden_states, norm.weight, norm.variance_epsilon),
            attention_mask,
            position_embeddings,
            past_key_values,
            last_row,
            attend,
        )
        return self._add_mlp(attended, hidden_states[:, -1:] if last_row else hidden_states)

    def decode(
        self, normed: Tensor, residual: Tensor, rotary: tuple[Tensor, Tensor], store: Tensor, row: Tensor, after: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One token on a buffer that `row` names, see `ops.append_rotated`, in launches that know no length.

        Args:
            normed, residual: the token's states `[1, 1, hidden]`, after this layer's first norm and before it.
            rotary: its tables `[1, 1, rotary_dim]`.
            store, row: the layer's keys and values.
            after: the norm that follows: the next layer's first, or the decoder's last.

        Returns:
            The states after `after` and before it, and this layer's queries after RoPE `[q_heads, head_dim]`. The
            stock layer's bits, as from calling the layer, up to attention's own sums.
        """
        attention, norm = self.attention, self.norm_after
        query, key, value = (part[0, 0] for part in self._project(normed))
        ops.append_rotated(query, key, value, rotary[0][0, 0], rotary[1][0, 0], store, row)
        out = ops.attend_row(query, store, row, attention.scaling)
        attended = linear(attention.o_proj, out.view(1, 1, -1))
        normed, summed = ops.rms_norm_residual(attended, residual, norm.weight, norm.variance_epsilon)
        normed, summed = ops.rms_norm_residual(
            self._mlp(normed[0])[None], summed, after.weight, after.variance_epsilon
        )
        return normed, summed, query

    def is_plain(self) -> bool:
        """Whether every product of the layer is of a weight that lies there as it is, with nothing attached."""
        inside = [*self.attention.named_children(), *self.mlp.named_children()]
        return all(is_plain(module) for name, module in inside if name.endswith("_proj"))

    def _attend(
        self,
        normed: Tensor,
        mask: Tensor | None,
        rotary: tuple[Tensor, Tensor],
        cache: Cache | None,
        last_row: bool,
        attend: Attend | None,
    ) -> Tensor:
        attention = self.attention
        query, key, value = self._project(normed)
        del normed  # a prompt's worth of memory that attention does not need
        ops.apply_rope(query[0], key[0], rotary[0][0], rotary[1][0])
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        if cache is not None:
            key, value = cache.update(key, value, attention.layer_idx)
        if last_row:
            query, mask = query[:, :, -1:], None if mask is None else mask[:, :, -1:]
        causal = mask is None and self.implementation == SDPA
        if attend is not None and not last_row:
            out = attend(query[0], key[0], value[0], attention.scaling)[None]
        elif causal and query.shape[2] == 1 and _packs(query):
            out = ops.decode_attention(query[0, :, 0], key[0], value[0], attention.scaling)[None, None]
        elif causal and runs_by_rows(query, key):
            out = row_attention(query[0], key[0], value[0], attention.scaling, self.workspace)[None]
        elif mask is not None and self.implementation == SDPA and query.device.type == "cpu" and query.shape[2] > 1:
            out = shared_attention(query, key, value, mask, attention.scaling)
        else:
            out = self._stock_attention(query, key, value, mask)
        del query, key, value
        return linear(attention.o_proj, out.reshape(*out.shape[:2], -1))

    def _stock_attention(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """The model's own attention backend, `[1, heads, tokens, head_dim]` to `[1, tokens, heads, head_dim]`."""
        switch = cudnn_where_it_pays(query, key, self.layers) if self.implementation == SDPA else nullcontext()
        with switch:
            out: Tensor = self.interface(
                self.attention,
                query,
                key,
                value,
                mask,
                dropout=0.0,
                scaling=self.attention.scaling,
                sliding_window=self.window,
            )[0]
        return out

    def _project(self, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values before RoPE, each `[1, tokens, heads, head_dim]`."""
        attention = self.attention
        if hasattr(attention, "qkv_proj"):
            together = linear(attention.qkv_proj, normed)
            keys = attention.num_key_value_heads * attention.head_dim
            flat = torch.split(together, [together.shape[-1] - 2 * keys, keys, keys], -1)
        else:
            flat = (
                linear(attention.q_proj, normed),
                linear(attention.k_proj, normed),
                linear(attention.v_proj, normed),
            )
        shape = (1, normed.shape[1], -1, attention.head_dim)
        query, key, value = (part.view(shape) for part in flat)
        if hasattr(attention, "q_norm"):
            query = ops.rms_norm(query, attention.q_norm.weight, attention.q_norm.variance_epsilon)
            key = ops.rms_norm(key, attention.k_norm.weight, attention.k_norm.variance_epsilon)
        return query, key, value

    def _add_mlp(self, attended: Tensor, residual: Tensor) -> Tensor:
        """`x + mlp(norm(x))` with `x = attended + residual`, written over `attended`."""
        norm = self.norm_after
        limit = self.mlp_slice or _mlp_slice(attended.is_cuda)
        for x, skipped in zip(attended[0].split(limit), residual[0].split(limit)):
            normed, x = ops.rms_norm_residual(x, skipped, norm.weight, norm.variance_epsilon)
            x.add_(self._mlp(normed))
        return attended

    def _mlp(self, normed: Tensor) -> Tensor:
        """The gated MLP of `[tokens, hidden]`."""
        mlp = self.mlp
        if hasattr(mlp, "gate_up_proj"):
            gate, up = linear(mlp.gate_up_proj, normed, self.workspace, "gate_up").chunk(2, -1)
        else:
            gate = linear(mlp.gate_proj, normed, self.workspace, "gate")
            up = linear(mlp.up_proj, normed, self.workspace, "up")
        return linear(mlp.down_proj, ops.swiglu(gate, up), self.workspace, "down")


def _prefix(module: nn.Module) -> str | None:
    """What the class names of the known family in whose file `module` is defined begin with."""
    family = FAMILIES.get(type(module).__module__.rpartition(".modeling_")[2])
    return None if family is None else family.fused


@cache
def _mlp_slice(on_gpu: bool) -> int:
    if on_gpu:
        return MLP_SLICES["cuda"]
    return MLP_SLICES["amx" if has_amx() else "cpu"]


def _packs(query: Tensor) -> bool:
    """Whether one token's attention runs faster with the query heads of a group packed into one matrix.

    On two cores of an AMD EPYC, in bf16 with 14 heads of 64 over 2 KV heads: 0.36 ms for 8,200 keys, where
    torch's kernel reads the keys once for every query head and takes 5.0. In fp32 it would be twice as fast
    only, and the stock model's bits are worth more there.
    """
    if ops.runs_triton("decode_attention", query.device):
        return True
    return query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16)


def _backend(attention: Any) -> tuple[str, Any, int | None]:
    """The name of the attention backend of a layer's `attention`, its function, and the sliding window."""
    name = attention_backend(attention.config)
    eager = sys.modules[type(attention).__module__].eager_attention_forward
    window = getattr(attention, "sliding_window", getattr(attention.config, "sliding_window", None))
    return name, ALL_ATTENTION_FUNCTIONS.get_interface(name, eager), window
