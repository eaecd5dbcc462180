"""Decoders that no family file describes: what they are is found out on a tiny random copy, and put to the test there.

The copy has the config's kinds of layers and few, narrow ones of each. Its layers, called as the layer loop calls them,
must give what the stock model gives; with tokens dropped half way, what the stock model gives with these masked as
keys; and the queries and keys projected for scoring must give the layer's own attention. What passes runs as any family
that has no fused steps; anything else is refused with what differed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from sliminfer.errors import ModelError
from sliminfer.model.decoder import decoder_of
from sliminfer.model.families import FAMILIES, sliding_window
from sliminfer.model.families.base import Family, always, plain_softmax, uncapped
from sliminfer.model.families.counted import counted
from sliminfer.model.layer_call import call_layer, rotary_kinds, rotary_tables
from sliminfer.model.projection import project_keys, project_queries
from sliminfer.model.tiny_copy import small_copy
from sliminfer.model.windows import within
from sliminfer.ops.softmax import Softmax, softmax_beside

_TOKENS = 40
_TOLERANCE = 1e-4
_INPUT_NORMS = ("input_layernorm", "operator_norm", "attention_norm", "attention_layernorm", "ln_1", None)
_LAST_NORMS = ("norm", "final_layernorm", "final_layer_norm", "embedding_norm", "ln_f")
_ROTARY = ("rotary_emb", "pos_emb", "rotary_pos_emb")
_QUERY_NORMS = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"), ("query_layernorm", "key_layernorm"))


@dataclass(frozen=True)
class SelfTest:
    """What the self-test of a family found.

    Attributes:
        family: as it was found to be.
        difference: the largest one between a pruned run of the tiny copy and the dense oracle.
    """

    family: Family
    difference: float


def self_test(config: Any) -> SelfTest:
    """The self-test of the decoder that `config` describes, known or not; run once for each kind of config.

    Raises:
        ModelError: it has another form than the layer loop runs, or does not pass.
    """
    return _tested(json.dumps(small_copy(config), sort_keys=True, default=str))


@cache
def _tested(described: str) -> SelfTest:
    said = json.loads(described)
    name = said.pop("model_type")
    try:
        config = AutoConfig.for_model(name, **said)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
            for weight in model.parameters():
                noise = torch.randn_like(weight)
                weight.data = 0.15 * noise if weight.dim() > 1 else weight.data + 0.05 * noise
            ids = torch.randint(3, config.vocab_size, (1, _TOKENS))
    except Exception as error:  # whatever a config that nobody here knows may run into
        raise _refusal(name, f"no tiny copy of it can be made ({_first_line(error)})") from error
    try:
        with torch.inference_mode():
            return _Trial(name, model, ids).run()
    except ModelError:
        raise
    except Exception as error:
        raise _refusal(name, f"its layers cannot be called one by one ({_first_line(error)})") from error


class _Trial:
    """The test of one tiny model."""

    def __init__(self, name: str, model: Any, ids: Tensor) -> None:
        self.name, self.model, self.ids = name, model, ids
        self.config = model.config
        self.decoder = decoder_of(model)
        if not hasattr(self.decoder, "layers") or not hasattr(self.decoder, "embed_tokens"):
            raise _refusal(name, "its decoder has no layers, or no embeddings, where others have them")
        self.layers = list(self.decoder.layers)
        self.attending = [hasattr(layer, "self_attn") for layer in self.layers]
        self.positions = torch.arange(ids.shape[1])

    def run(self) -> SelfTest:
        """All parts of the test."""
        entered, attention = self._watched()
        if not all(self.attending):
            raise _refusal(self.name, "some of its layers do not attend, and what that means is not known here")
        family = FAMILIES.get(self.name) or self._looks()
        self._check_entry(family, entered[0])
        self._check_head(family)
        drop = torch.zeros(_TOKENS, dtype=torch.bool)
        drop[6:26] = True
        whole = self._difference(family, torch.zeros_like(drop))
        if whole > _TOLERANCE:
            raise _refusal(self.name, f"its layers give something else when they are called one by one ({whole:.1e})")
        difference = self._difference(family, drop)
        if difference > _TOLERANCE:
            raise _refusal(self.name, f"pruned it differs from the dense model with masked keys by {difference:.1e}")
        return SelfTest(self._scoring(family, entered, attention), difference)

    def _watched(self) -> tuple[list[Tensor], list[Tensor]]:
        """The states that enter each layer in a stock run, and each layer's attention weights [heads, n, n]."""
        entered: list[Tensor] = []
        attention: list[Tensor] = []
        handles = [
            layer.register_forward_pre_hook(
                lambda _, args, kwargs: entered.append(_states(args, kwargs)), with_kwargs=True
            )
            for layer in self.layers
        ]
        for layer, attends in zip(self.layers, self.attending, strict=True):
            if attends:
                handles.append(layer.self_attn.register_forward_hook(lambda _, args, out: attention.append(out[1][0])))
        try:
            self.output = self.decoder(self.ids, use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return entered, attention

    def _looks(self) -> Family:
        """The family as its modules look, but for what scoring needs to know."""
        attention = self.layers[0].self_attn
        if not (hasattr(attention, "q_proj") or hasattr(attention, "qkv_proj")) or not hasattr(attention, "scaling"):
            raise _refusal(self.name, "its attention has no projections of queries and keys of the known form")
        rotary = next((each for each in _ROTARY if hasattr(self.decoder, each)), None)
        last = next((each for each in _LAST_NORMS if hasattr(self.decoder, each)), None)
        if rotary is None or last is None:
            raise _refusal(self.name, "its decoder makes no angles of positions, or norms its states elsewhere")
        cap = getattr(self.config, "final_logit_softcapping", None)
        return Family(
            self.name,
            self.name,
            backends=("sdpa",) if _has_sdpa(self.config) else (),
            last_norm=last,
            rotary=rotary,
            logit_cap=uncapped if cap is None else lambda config: float(config.final_logit_softcapping),
            shape=counted,
            output=type(self.output),
            tested=True,
        )

    def _check_entry(self, family: Family, first: Tensor) -> None:
        scale = family.embedding_scale(self.config)
        if not torch.allclose(first, self.decoder.embed_tokens(self.ids) * scale, atol=_TOLERANCE):
            raise _refusal(self.name, "something happens to its embeddings before the first layer")

    def _check_head(self, family: Family) -> None:
        scale, cap = family.logit_scale(self.config), family.logit_cap(self.config)
        logits = self.model.get_output_embeddings()(self.output.last_hidden_state) * scale
        logits = logits if cap is None else (logits / cap).tanh() * cap
        if not torch.allclose(self.model(self.ids, use_cache=False).logits, logits, atol=_TOLERANCE):
            raise _refusal(self.name, "something happens to its logits behind the head")

    def _tables(self, family: Family, index: int, hidden: Tensor) -> tuple[Tensor, Tensor]:
        rotary = getattr(self.decoder, family.rotary)
        kinds, kind = rotary_kinds(rotary, self.config, len(self.layers))
        table: tuple[Tensor, Tensor] = rotary_tables(rotary, kinds, hidden, self.positions)[kind[index]]
        return table

    def _visible(self, index: int) -> Tensor:
        """Which keys each position sees in layer `index`, bool [n, n]."""
        place, window = self.positions, sliding_window(self.config, index)
        seen = place[None, :] <= place[:, None]
        return seen if window is None else seen & within(window, place, place)

    def _difference(self, family: Family, drop: Tensor) -> float:
        """Largest difference in the last state, with `drop` [n] cut half way, to the stock run with it masked there."""
        half = len(self.layers) // 2
        stays = (~drop).nonzero()[:, 0]
        hidden = self.decoder.embed_tokens(self.ids) * family.embedding_scale(self.config)
        place = self.positions
        for index, layer in enumerate(self.layers):
            if index == half:
                hidden, place = hidden[:, stays], stays
            cos, sin = self._tables(family, index, hidden)
            mask = _additive(self._visible(index)[place][:, place])
            hidden = call_layer(layer, family, hidden, mask, (cos[:, place], sin[:, place]), place, None)
        found = getattr(self.decoder, family.last_norm)(hidden)[:, -1]
        return float((found - self._masked(drop, half)[:, -1]).abs().max())

    def _masked(self, drop: Tensor, half: int) -> Tensor:
        """States of a stock run in which from layer `half` on nobody sees `drop` [n]."""

        def masking(index: int) -> Callable[[nn.Module, Any, Any], Any]:
            seen = self._visible(index) & ~(drop if index >= half else torch.zeros_like(drop))[None, :]
            seen |= torch.eye(len(seen), dtype=torch.bool)
            return lambda _, args, kwargs: (args, kwargs | {"attention_mask": _additive(seen)})

        if not drop.any():  # the stock model's own masks
            states: Tensor = self.output.last_hidden_state
            return states
        handles = [
            layer.register_forward_pre_hook(masking(index), with_kwargs=True) for index, layer in enumerate(self.layers)
        ]
        try:
            states = self.decoder(self.ids, use_cache=False).last_hidden_state
        finally:
            for handle in handles:
                handle.remove()
        return states

    def _scoring(self, family: Family, entered: list[Tensor], attention: list[Tensor]) -> Family:
        """The family with the first way to project queries and keys that gives each layer's own attention."""
        for tried in (family,) if not family.tested else _ways(family, self.layers[0]):
            if all(self._gives(tried, *each) for each in zip(range(len(self.layers)), entered, attention, strict=True)):
                return tried
        raise _refusal(self.name, "its attention is not that of the queries and keys which its projections give")

    def _gives(self, family: Family, index: int, hidden: Tensor, attention: Tensor) -> bool:
        layer, table = self.layers[index], self._tables(family, index, hidden)
        try:
            queries = project_queries(layer, hidden, *table, self.positions, family)
            keys, softmax = project_keys(layer, hidden, *table, family), family.softmax(layer.self_attn)
            grouped = queries.unflatten(0, (len(keys), -1)) @ keys[:, None].mT / keys.shape[-1] ** 0.5
        except (RuntimeError, AttributeError):
            return False
        scores = softmax.capped(grouped.flatten(0, 1)).masked_fill(~self._visible(index), -torch.inf)
        sinks = softmax.packed(1, _TOKENS)
        found = softmax_beside(scores, None if sinks is None else sinks.view(-1, _TOKENS))
        return found.shape == attention.shape and torch.allclose(found, attention, atol=_TOLERANCE)


def _ways(family: Family, layer: Any) -> Iterator[Family]:
    """The ways that projections may be normed and rotated in a layer with the modules of `layer`."""
    attention = layer.self_attn
    norms = [name for name in _INPUT_NORMS if name is None or hasattr(layer, name)]
    pairs = [pair for pair in _QUERY_NORMS if hasattr(attention, pair[0])] or [_QUERY_NORMS[0]]
    places = ("heads", "rows", "width", "rotated") if hasattr(attention, pairs[0][0]) else ("heads",)
    softmaxes = (plain_softmax, _with_sinks, _capped)
    gated = (False, True) if hasattr(attention, "q_proj") else (False,)
    turns = (always, _by_switch, _by_window)
    for norm, pair, place, softmax, gate, rotates in product(norms, pairs, places, softmaxes, gated, turns):
        yield replace(
            family,
            input_norm=norm,
            query_norm=pair[0],
            key_norm=pair[1],
            normed=place,
            softmax=softmax,
            gated_queries=gate,
            rotates=rotates,
        )


def _with_sinks(attention: Any) -> Softmax:
    return Softmax(sinks=getattr(attention, "sinks", None))


def _capped(attention: Any) -> Softmax:
    return Softmax(cap=getattr(attention, "attn_logit_softcapping", None))


def _by_switch(attention: Any) -> bool:
    return bool(getattr(attention, "use_rope", True))


def _by_window(attention: Any) -> bool:
    return getattr(attention, "sliding_window", None) is not None


def _states(args: Any, kwargs: Any) -> Tensor:
    states: Tensor = args[0] if args else kwargs["hidden_states"]
    return states


def _additive(visible: Tensor) -> Tensor:
    """A mask for eager attention [1, 1, q, k] from bool [q, k]."""
    return torch.where(visible, 0.0, torch.finfo(torch.float32).min)[None, None]


def _has_sdpa(config: Any) -> bool:
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    except ValueError:
        return False
    return True


def _refusal(name: str, reason: str) -> ModelError:
    return ModelError(f"Models of type {name!r} are not supported: {reason}; use one of {', '.join(FAMILIES)}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
