"""A reading: what is kept of tokens that were read, so that any question about them need not read them again.

The layers before the first prune step see every token before it and nothing of the question, so their keys and values,
and the hidden states that enter the step, are the same for all questions. What comes after is chosen anew for each.

Where these layers read sparsely, a reading's whole blocks choose what they read, by what comes up to them, and the rest
of it reads everything, as does the question. A prompt that is read afresh does the same up to the block in which its
question begins, so that both are alike; what of a reading is not as the prompt would read it is read again, see
`Reading.alike`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from sliminfer.cache.store import PlainStore
from sliminfer.engine.meters import Stopwatch
from sliminfer.engine.prefill import Prefill
from sliminfer.engine.request import RunRequest
from sliminfer.engine.rule import why_dense
from sliminfer.engine.sequence import Sequence as Held
from sliminfer.engine.stack import Call, LayerTick, Stack
from sliminfer.errors import ConfigError
from sliminfer.model.families import rotary_limit, rotary_switch
from sliminfer.schedule.blocks import MOST_QUERIES, BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import LayerRead, read_flops
from sliminfer.schedule.reading import Grid, SparseReading
from sliminfer.schedule.shapes import ModelShape
from sliminfer.selectors import PromptView, selector_class
from sliminfer.sparse import chooser_class
from sliminfer.sparse.reader import SparseReader


@dataclass(frozen=True)
class Reading:
    """The first tokens of a prompt, as far as no question bears on them.

    Attributes:
        ids: the tokens [n].
        layer: the layer that was not run any more: the first prune step's, or the number of layers where none is.
        keys, values: of each layer before it, after RoPE [1, kv_heads, n, head_dim].
        hidden: states that enter `layer` [1, n, hidden]; of no token where there is no such layer.
        tail: states of the last tokens as they enter the layer that scores it [1, tail, hidden], see `tail_layer`.
        sparse: how the layers that can do so read sparsely, None where all read densely.
        choosing: the first tokens, whose blocks chose what they read; those that follow read everything.
        counts: of each layer that read sparsely, how many blocks of keys each of their blocks read, on the host
            [tables, blocks].
        request: what was to be read, where it came as a document's text.
    """

    ids: tuple[int, ...]
    layer: int
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    hidden: Tensor
    tail: Tensor
    sparse: SparseReading | None = None
    choosing: int = 0
    counts: Mapping[int, Tensor] = field(default_factory=dict)
    request: RunRequest | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __deepcopy__(self, memo: dict[int, Any]) -> Reading:
        # Nothing writes to it: copies of a cache share what was read.
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors held."""
        return sum(each.nbytes for each in self._tensors)

    @property
    def _tensors(self) -> tuple[Tensor, ...]:
        return (*self.keys, *self.values, self.hidden, self.tail, *self.counts.values())

    def shared(self, ids: Sequence[int]) -> int:
        """How many of the first tokens are those of `ids`."""
        return shared(self.ids, ids)

    def first(self, tokens: int) -> Reading:
        """The reading of the first `tokens` alone, in views of the same tensors."""
        if tokens == len(self):
            return self
        cut = len(self) - tokens
        return replace(
            self,
            ids=self.ids[:tokens],
            keys=tuple(each[:, :, :tokens] for each in self.keys),
            values=tuple(each[:, :, :tokens] for each in self.values),
            hidden=self.hidden[:, :tokens],
            tail=self.tail[:, : max(0, self.tail.shape[1] - cut)],
            counts={} if self.sparse is None else {
                layer: counts[:, : tokens // self.sparse.block] for layer, counts in self.counts.items()
            },
        )

    def alike(self, choosing: int) -> Reading:
        """What of it a prompt would read alike whose first `choosing` tokens choose what they read, block by block.

        Nothing is left of a block of which one chooses and the other reads everything, nor of one that chooses and is
        not whole.
        """
        if self.sparse is None or (choosing == self.choosing and choosing <= len(self)):
            return self
        return self.first(min(len(self), choosing, self.choosing) // self.sparse.block * self.sparse.block)

    def for_prompt(self, blocks: BlockMap) -> Reading:
        """What of it can be gone on from in the prompt that `blocks` describes, see `alike`."""
        return self if self.sparse is None else self.alike(Grid.of(self.sparse, blocks).choosing)

    def flops(self, shape: ModelShape) -> float:
        """FLOPs of reading it, all of it at once, by a model of that shape."""
        if self.sparse is None:
            return read_flops(shape, len(self), self.layer)
        grid, products = Grid.of_document(self.sparse, len(self)), chooser_class(self.sparse.chooser).products
        rest = range(grid.dense_from + 1, len(grid) + 1)
        read = {
            layer: LayerRead(grid.pairs([*counts.double().mean(0).tolist(), *rest]), products(grid))
            for layer, counts in self.counts.items()
        }
        return read_flops(shape, len(self), self.layer, read)

    def part(self, ids: Sequence[int]) -> Reading:
        """The reading of those first tokens that are also the first of `ids`, as questions of one document share them.

        Raises:
            ConfigError: fewer than half are: it is a reading of something else.
        """
        shared = self.shared(ids)
        if 2 * shared < min(len(self), len(ids)) or not shared:
            raise ConfigError(
                f"Of this reading's {len(self):,} tokens the prompt begins with {shared:,} only: read its own document."
            )
        return self.first(shared)

    def to(self, device: torch.device | str) -> Reading:
        """The same on another device, such as the host."""
        return replace(
            self,
            keys=tuple(each.to(device) for each in self.keys),
            values=tuple(each.to(device) for each in self.values),
            hidden=self.hidden.to(device),
            tail=self.tail.to(device),
        )


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def reading_layer(config: SlimConfig, layers: int) -> int:
    """The layer up to which a reading for `config` goes on a model of `layers` layers.

    Raises:
        ConfigError: the method reads the prompt in a way that no reading can stand for.
    """
    if config.steps and selector_class(config.method).two_pass:
        raise ConfigError(
            f"Method {config.method} runs what it kept again from layer 0, so that a reading saves it nothing: ask "
            "afresh, or choose another method."
        )
    if config.steps:
        method, first = selector_class(config.method), config.steps[0].layer
        if not first or method.looks_back(config, first):
            raise ConfigError(
                f"Method {config.method} reads more than a reading holds, scores from outside the model or of several "
                "layers: ask afresh, or choose another method."
            )
    sparse = asked_for(config)
    if sparse is not None and (chooser_class(sparse.chooser).looks_ahead or sparse.agree <= 1.0):
        raise ConfigError(
            "The blocks that are read sparsely are chosen by the whole prompt, its question too, by the chooser "
            "vertical_slash and where layers may agree: ask afresh, or take another chooser with agree above 1."
        )
    return config.steps[0].layer if config.steps else layers


def reading_bytes(shape: ModelShape, layer: int, tokens: int, bytes_per_value: int) -> int:
    """Bytes of a reading of `tokens` tokens up to `layer`, its last tokens' states and counts of blocks left out."""
    widths = sum(2 * shape.layer(index).kv_width for index in range(layer))
    return bytes_per_value * tokens * (widths + (shape.hidden if layer < shape.layers else 0))


def asked_for(config: SlimConfig) -> SparseReading | None:
    """How `config` asks for sparse reading, None where it does not."""
    return SparseReading.of(config) if config.reading == "sparse" else None


class Reader:
    """A call that reads tokens up to a layer and prunes nothing."""

    def __init__(self, stack: Stack, config: SlimConfig, ids: Sequence[int], earlier: Reading | None = None) -> None:
        """`ids` are all tokens to read; those of `earlier`, if any, are the first of them and were read before.

        Raises:
            ConfigError: a layer does not attend, the method reads the prompt in a way that no reading stands for, or
                `earlier` is one of another layer or rotated by other factors.
        """
        self.stack, self.config, self.ids, self.earlier = stack, config, tuple(ids), earlier
        self.layer = reading_layer(config, stack.depth)
        if not all(stack.attending[: self.layer]):
            raise ConfigError("Some layers of this model have a state and no keys, which no reading keeps: ask afresh.")
        if earlier is not None:
            if earlier.layer != self.layer:
                raise ConfigError(
                    f"The earlier reading ends at layer {earlier.layer}, and this one at layer {self.layer}: give one "
                    "of the same schedule and side, or none."
                )
            check_rotation(stack, len(earlier), len(self.ids))

    def run(self, hidden: Tensor) -> Generator[LayerTick, None, Reading]:
        """The layers, yielding after each, over the embeddings of what was not read before [1, tokens, hidden].

        Raises:
            ConfigError: the earlier reading was read densely and this one is not, or by other options.
        """
        stack, count = self.stack, len(self.ids)
        sparse = None if why_dense(self.config, stack, count, hidden.device) else asked_for(self.config)
        reader, earlier = None, self.earlier
        if earlier is not None and earlier.sparse != sparse:
            raise ConfigError(
                "The earlier reading was read densely and this one is not, or by other options of sparse reading: give "
                "one that was read alike, or none."
            )
        if sparse is not None:
            grid = Grid.of_document(sparse, count)
            if earlier is not None:
                hidden, earlier = go_back(stack, hidden, earlier, earlier.alike(grid.choosing))
            reader = SparseReader(sparse, grid, {} if earlier is None else earlier.counts)
        known = 0 if earlier is None else len(earlier)
        cache = DynamicCache()
        prompt = PromptView(BlockMap.of(count, self.config))
        sequence = Held(prompt, self.config, None, PlainStore(cache, stack.attending[: stack.depth]))
        sequence.begin(count, stack.depth)
        positions = torch.arange(known, count, device=hidden.device)
        everything = torch.arange(count, device=hidden.device)
        rows, watch = stack.enter(hidden, positions, positions), Stopwatch(hidden.device)
        # Of a last layer nothing but its keys and values is kept.
        call = Call(sequence, cache, rows, watch, stack.depth, "last", reader=reader)
        tail = call.rows.hidden
        for index in range(self.layer):
            sequence.hold(index, everything)
            if earlier is not None and known:
                recall(stack, earlier, call, index)
            if index == tail_layer(stack, self.layer):
                tail = call.rows.hidden[:, -most_queries(self.config) :].clone()
            stack.run(call, index, prefill=not known)
            yield LayerTick(index, count, None)
        states = call.rows.hidden if self.layer < stack.depth else call.rows.hidden[:, :0]
        if earlier is not None:
            states = torch.cat([earlier.hidden.to(states.device), states], 1)
            tail = torch.cat([earlier.tail.to(tail.device), tail], 1)[:, -most_queries(self.config) :]
        held = [(layer.keys, layer.values) for layer in cast(list[DynamicLayer], cache.layers[: self.layer])]
        return Reading(
            self.ids,
            self.layer,
            tuple(keys.contiguous() for keys, _ in held if keys is not None),
            tuple(values.contiguous() for _, values in held if values is not None),
            states.contiguous(),
            tail.contiguous(),
            sparse,
            0 if reader is None else reader.grid.choosing,
            {} if reader is None else {
                layer: counts[:, : reader.grid.dense_from] for layer, counts in reader.read().items()
            },
        )


class Asked(Prefill):
    """A prefill whose first tokens were read before."""

    def __init__(self, stack: Stack, call: Call, reading: Reading) -> None:
        """`call` has the rows of the other tokens.

        Raises:
            ConfigError: the reading ends behind the first prune step, was read sparsely otherwise than is asked for, or
                is rotated by other factors than the prompt.
        """
        super().__init__(stack, call)
        self.reading = reading
        layer = reading_layer(self.config, call.depth)
        if layer < reading.layer:
            raise ConfigError(
                f"This reading is for a first prune step at layer {reading.layer} or later, not {layer}: read the "
                "document for this schedule."
            )
        if reading.sparse is not None and reading.sparse != asked_for(self.config):
            raise ConfigError(
                "This reading was read sparsely, and the request asks for dense reading or for other options of it: "
                "read the document for this request."
            )
        if self.beside is not None:
            raise ConfigError("A reading has no logits of its tokens: pass logits_to_keep=1.")
        check_rotation(stack, len(reading), call.sequence.seen)

    def run(self) -> Generator[LayerTick, None, Tensor]:
        """All layers, yielding after each; returns the states of the prompt's last rows [1, rows, hidden]."""
        call, reading, stack = self.call, self.reading, self.stack
        count = call.sequence.seen
        everything = torch.arange(count, device=call.rows.positions.device)
        for index in range(reading.layer):
            call.sequence.hold(index, everything)
            recall(stack, reading, call, index)
            self._set_aside(index)
            self._observe(index)
            stack.run(call, index, prefill=False)
            yield LayerTick(index, count, None)
        if reading.layer < call.depth:
            before = everything[: len(reading)]
            states = reading.hidden.to(call.rows.hidden.device)
            call.rows = stack.rows(states, before, before).join(call.rows)
            yield from self._layers(reading.layer)
        return call.rows.hidden

    def _set_aside(self, index: int) -> None:
        """As `Stack.set_aside`, with the last tokens of the reading where the queries asked for reach into it."""
        self.stack.set_aside(self.call, index)
        if index not in self.call.tails:
            return
        assert self.sequence.selector is not None
        window = max(1, self.sequence.selector.query_window(self.config, self.sequence.prompt.blocks))
        short = window - len(self.call.rows)
        if short > 0:
            count, here = len(self.reading), index == tail_layer(self.stack, self.reading.layer)
            held = self.reading.tail[:, -short:] if here else self.reading.tail[:, :0]
            if held.shape[1] < min(short, count):
                raise ConfigError(
                    f"The last {window} queries score, and this reading has kept the states of fewer: say which tokens "
                    "ask, or read the document afresh."
                )
            own = self.call.tails[index]
            places = torch.arange(count - held.shape[1], count, device=own.positions.device)
            self.call.tails[index] = self.stack.rows(held.to(own.hidden.device), places, places).join(own)

    def _observe(self, index: int) -> None:
        """As `Stack.observe`; raises ConfigError where it would show fewer queries than a whole prefill."""
        window = self.sequence.prompt.blocks.window
        if self.sequence.store.wants_query(index) and window > len(self.call.rows):
            raise ConfigError(
                f"Decode chooses by the last {window} queries, and the question has {len(self.call.rows)} tokens: set "
                "query_window to at most that, or leave active out."
            )
        self.stack.observe(self.call, index)


def go_back(stack: Stack, hidden: Tensor, reading: Reading, part: Reading) -> tuple[Tensor, Reading]:
    """The embeddings `hidden` of what follows `reading`, as those of what follows its first `part`, and that part."""
    if len(part) == len(reading):
        return hidden, part
    again = torch.tensor([reading.ids[len(part) :]], dtype=torch.long, device=hidden.device)
    return torch.cat([stack.decoder.embed_tokens(again), hidden], 1), part


def recall(stack: Stack, reading: Reading, call: Call, index: int) -> None:
    """Layer `index` of the call's cache gets what `reading`, which may be on the host, has of it."""
    device = next(stack.layers[index].parameters()).device
    call.cache.update(reading.keys[index].to(device), reading.values[index].to(device), index)


def tail_layer(stack: Stack, layer: int) -> int:
    """The last layer before `layer` that sees the whole prompt, or else the one before it."""
    return max((each for each in stack.seeing or () if each < layer), default=layer - 1)


def most_queries(config: SlimConfig) -> int:
    """Last tokens of a reading whose states a question may need for its queries."""
    return max(MOST_QUERIES, config.query_window or 0)


def rotates_otherwise(config: Any, read: int, tokens: int) -> bool:
    """Whether a model of `config` rotates the first `read` of `tokens` tokens by other factors than these alone."""
    switch, limit = rotary_switch(config), rotary_limit(config)
    crosses = switch is not None and (read > switch) != (tokens > switch)
    return crosses or (limit is not None and tokens > limit)


def check_rotation(stack: Stack, read: int, tokens: int) -> None:
    """Raise ConfigError where `tokens` tokens are rotated by other factors than the first `read` of them were."""
    if rotates_otherwise(stack.decoder.config, read, tokens):
        raise ConfigError(
            f"This model rotates a prompt of {tokens:,} tokens by other factors than the {read:,} that were read: ask "
            "afresh."
        )
