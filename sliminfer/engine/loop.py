"""The mechanism: an explicit loop over a stock model's own layers that drops prompt tokens on the way."""

from __future__ import annotations

from collections.abc import Generator
from collections.abc import Sequence as Tokens
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicCache

from sliminfer.cache.store import PlainStore, PromptStore, check_plain
from sliminfer.decode_policies import check_policy, make_cache
from sliminfer.engine.decode import Decode
from sliminfer.engine.meters import Stopwatch
from sliminfer.engine.prefill import Prefill
from sliminfer.engine.reading import Asked, Reader, Reading, asked_for, go_back
from sliminfer.engine.rule import why_dense
from sliminfer.engine.sequence import Rows, Sequence, attach, sequence_of
from sliminfer.engine.stack import Call, LayerTick, Look, Result, Stack
from sliminfer.errors import ConfigError, ModelError
from sliminfer.schedule.blocks import BlockMap, Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.marks import NO_MARKS, Marks
from sliminfer.schedule.reading import Grid
from sliminfer.selectors import PromptView, check_method, make_selector, selector_class
from sliminfer.sparse import check_reading
from sliminfer.sparse.reader import SparseReader

Found = TypeVar("Found")

__all__ = ["LayerLoop", "LayerTick", "exhaust"]


class LayerLoop:
    """The layer loop of one model under one configuration.

    It holds nothing about a run: a sequence lives on its cache. So calls of several threads, each with a cache of its
    own, do not meet.
    """

    def __init__(
        self,
        model: nn.Module,
        config: SlimConfig,
        question: Span | None = None,
        evidence: tuple[Span, ...] = (),
        marks: Marks = NO_MARKS,
        outside: Tensor | None = None,
    ) -> None:
        self._model = model
        self.outside = outside
        self.config = config
        self.question = question
        self.evidence = evidence
        self.marks = marks
        for what, span in (("question", question), *(("evidence", span) for span in evidence)):
            if span is not None and not 0 <= span[0] <= span[1]:
                raise ConfigError(f"The {what} is {span}: give the first token and the one after the last.")
        check_method(config)
        check_policy(config)
        check_reading(config)
        self._stack = self._fitting()
        self.decoder, self.layers = self._stack.decoder, self._stack.layers
        config.check_model(len(self.layers))
        if config.decode != "blocks" and any(self._stack.windows):
            raise ConfigError(
                f"Decode policy {config.decode} chooses tokens whatever their distance, but this model has "
                "sliding-window layers: use decode blocks."
            )

    @property
    def stack(self) -> Stack:
        """The model's layers as they are now: `set_attn_implementation` may have been called since the last look."""
        if self._stack.stale:
            self._stack = self._fitting()
        return self._stack

    def _fitting(self) -> Stack:
        stack = Stack(self._model)
        if selector_class(self.config.method).revives and self.config.steps and not all(stack.attending):
            raise ModelError(
                f"Method {self.config.method} brings tokens back behind later ones, but linear layers read in order: "
                "choose another method for this model."
            )
        if selector_class(self.config.method).revives and stack.seeing is not None:
            blind = [step.layer for step in self.config.steps if step.layer <= stack.seeing[0]]
            if blind:
                raise ConfigError(
                    f"Method {self.config.method} ranks by a layer that has run, but none before layer {blind[0]} "
                    f"reads the whole prompt: prune at layer {stack.seeing[0] + 1} or later."
                )
        if selector_class(self.config.method).revives and self.config.steps and "flash" in stack.backend:
            raise ModelError(
                f"Method {self.config.method} brings tokens back behind later ones, which flash attention cannot mask: "
                'load the model with attention "sdpa".'
            )
        return stack

    def run(
        self,
        hidden: Tensor,
        cache: Cache,
        result: Result = "kept",
        stopwatch: Stopwatch | None = None,
        look: Look | None = None,
        reading: Reading | None = None,
    ) -> Generator[LayerTick, None, Tensor]:
        """Run all layers over the embeddings `hidden` [1, tokens, hidden], yielding after each; returns normed states.

        The first call on an empty cache is the prefill and may prune; later calls append to the sequence.

        Args:
            result: whose states are returned. "kept": of the tokens left after the last prune step [1, kept, hidden].
                "last": at least the last one's, as the first token of an answer needs; the last layer then leaves
                out what no other state depends on. "all": of every token [1, tokens, hidden]; dropped ones
                go on to read what is kept, which saves nothing: the dense model with those tokens masked as keys.
            stopwatch: collects the time of scoring and pruning under "select".
            look: is shown what the method sees before each prune layer of a prefill, for measurements.
            reading: of the tokens before `hidden`, where this is a prefill whose first tokens were read before.
        """
        count, stack = hidden.shape[1], self.stack
        if not count:
            raise ConfigError("The prompt is empty: give it at least one token.")
        asked, sequence = count, sequence_of(cache)
        opened = self.opened(cache)
        reading = reading if opened is None else opened
        prefill = self.begins(cache)
        if sequence is None or prefill:
            known = 0 if reading is None else len(reading)
            whole = None if sequence is None or opened is None else sequence.reading
            sequence = self._start(known + count, cache, stack.depth, known if opened is not None else 0)
            if reading is not None:
                hidden, reading = go_back(stack, hidden, reading, reading.for_prompt(sequence.prompt.blocks))
                known, count = len(reading), hidden.shape[1]
                reading = reading if known else None
            sequence.seen, sequence.reading = known, whole
        first = sequence.begin(count, stack.depth)
        self._check_rotary(sequence, prefill)
        positions = torch.arange(first, first + count, device=hidden.device)
        rows = stack.enter(hidden, positions, sequence.rotary(positions))
        del hidden  # a prompt's worth of memory that no layer after the first needs
        watch = stopwatch or Stopwatch(positions.device)
        call = Call(sequence, sequence.store.target, rows, watch, stack.depth, result, look)
        if prefill:
            sequence.reader = call.reader = self._reader(sequence, reading, positions.device)
        del rows
        states = yield from (self._prefill(call, reading) if prefill else Decode(stack, call)).run()
        sequence.end()
        return stack.normed(states[:, -asked:] if result == "all" else states)

    def _reader(self, sequence: Sequence, reading: Reading | None, device: torch.device) -> SparseReader | None:
        """What attends sparsely to a prompt: afresh where its length lets it, after a reading where that was sparse."""
        sparse = None if reading is None else reading.sparse
        if reading is None and not self.why_dense(sequence.prompt.tokens, device):
            sparse = asked_for(self.config)
        if sparse is None:
            return None
        known = {} if reading is None else reading.counts
        return SparseReader(sparse, Grid.of(sparse, sequence.prompt.blocks), known)

    def _prefill(self, call: Call, reading: Reading | None) -> Prefill:
        return Prefill(self._stack, call) if reading is None else Asked(self._stack, call, reading)

    def read(
        self, hidden: Tensor, ids: Tokens[int], earlier: Reading | None = None
    ) -> Generator[LayerTick, None, Reading]:
        """Read tokens for questions to come, yielding after each layer before the first prune step.

        Args:
            hidden: embeddings of those of `ids` that `earlier` does not hold [1, tokens, hidden].
            ids: all tokens from the prompt's first on.
            earlier: a reading of the first of them under the same configuration.

        Raises:
            ConfigError: the method reads a prompt in a way that no reading can stand for.
        """
        return Reader(self.stack, self.config, ids, earlier).run(hidden)

    def why_dense(self, tokens: int, device: torch.device) -> str:
        """Why the layers before the first prune step read a prompt of `tokens` tokens densely; empty where they do not.

        See `engine.rule`.
        """
        return why_dense(self.config, self.stack, tokens, device)

    def reader_of(self, cache: Cache) -> SparseReader | None:
        """What attended sparsely to the prompt that `cache` was filled with, None where nothing did."""
        return self._known(cache).reader

    def read_once(self, ids: Tensor) -> DynamicCache:
        """A cache in which token ids [1, n] were read once, for questions that go on from there.

        Give each a `copy.deepcopy` of it, with the whole prompt to `generate` or what comes after the document to the
        model; or crop it to the document's end, or before, after each. Every question is answered as if asked afresh.

        Raises:
            ConfigError: see `read`.
        """
        with torch.inference_mode():
            reading = exhaust(self.read(self.decoder.embed_tokens(ids), ids[0].tolist()))
        cache, tokens = DynamicCache(), len(reading)
        prompt = PromptView(BlockMap.of(tokens, self.config))
        store = PlainStore(cache, self.stack.attending[: self.stack.depth])
        sequence = Sequence(prompt, self.config, None, store, reading=reading)
        sequence.seen = tokens
        for layer in range(self.stack.depth):  # they say how far the cache has read; the reading has the rest
            sequence.hold(layer, torch.arange(0 if layer else tokens))
        attach(cache, sequence)
        return cache

    def opened(self, cache: Cache) -> Reading | None:
        """What was read once of all that `cache` holds; None where it holds more, or was filled otherwise."""
        sequence, seen = sequence_of(cache), cache.get_seq_length()
        known = None if sequence is None else sequence.reading
        return known.first(seen) if known is not None and 0 < seen <= len(known) else None

    def begins(self, cache: Cache) -> bool:
        """Whether the next call on `cache` is a prefill, all of the prompt or what comes after a reading."""
        return sequence_of(cache) is None or cache.get_seq_length() == 0 or self.opened(cache) is not None

    def _check_rotary(self, sequence: Sequence, prefill: bool) -> None:
        switch, reach = self._stack.rotary_switch, sequence.rotated_to()
        if prefill:
            sequence.reach = reach
        elif switch is not None and (reach > switch) != (sequence.reach > switch):
            raise ConfigError(
                f"This model rotates texts of more than {switch:,} tokens by other factors, so that a cache of fewer "
                "cannot be gone on with: give the whole text to an empty cache."
            )

    def enter(self, ids: Tensor) -> Rows:
        """The rows of token ids [1, n] as they enter layer 0, at positions 0 to n - 1."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.stack.enter(self.decoder.embed_tokens(ids), positions, positions)

    def through(self, index: int, rows: Rows) -> Rows:
        """`rows` as they leave layer `index` when it reads them alone; nothing is pruned or remembered."""
        return self.stack.alone(index, rows)

    def window(self, index: int) -> int | None:
        """The sliding window of layer `index` in tokens, None for full attention."""
        return self.stack.windows[index]

    def place(self, cache: Cache) -> None:
        """Give the survivors of a prefill that is over their places; the first decode step does it otherwise."""
        self._known(cache).place()

    def prompt_of(self, cache: Cache) -> PromptView:
        """The prompt that `cache` was filled with."""
        return self._known(cache).prompt

    def kept_positions(self, cache: Cache) -> list[Tensor]:
        """For each layer, the original positions of the prompt tokens in `cache`."""
        return self._known(cache).prompt_positions()

    def waiting_bytes(self, cache: Cache) -> dict[int, int]:
        """Bytes of the dropped hidden states that wait before each prune layer for a method that revives them."""
        return {layer: rows.nbytes for layer, rows in self._known(cache).waiting.items()}

    def _known(self, cache: Cache) -> Sequence:
        sequence = sequence_of(cache)
        if sequence is None:
            raise ConfigError("This cache holds no prompt yet: run one on it inside slim() first.")
        return sequence

    def _start(self, tokens: int, cache: Cache, depth: int, read: int = 0) -> Sequence:
        """A sequence for the prompt of `tokens` tokens that is about to fill `depth` layers of `cache`.

        Of these `read` are those that the cache stands for, as `read_once` left it.
        """
        seen = cache.get_seq_length() - read
        for what, span in (("question", self.question), *(("evidence", span) for span in self.evidence)):
            if span is not None and span[1] > tokens:
                raise ConfigError(
                    f"The {what}, tokens {span[0]} to {span[1]}, is not in the prompt of {tokens}: give one within it."
                )
        if seen:
            raise ConfigError(f"This cache already holds {seen} tokens from outside slim(): start from an empty cache.")
        blocks = BlockMap.of(tokens, self.config, self.question, self.marks)
        prompt = PromptView(blocks, self.question, self.evidence, self.marks, self.outside)
        selector = make_selector(self.config, prompt) if self.config.steps else None
        sequence = Sequence(prompt, self.config, selector, self._store(cache, prompt.blocks, depth))
        attach(cache, sequence)
        return sequence


    def _store(self, cache: Cache, blocks: BlockMap, depth: int) -> PromptStore:
        """What keeps the prompt behind the empty `cache`: itself where it can, else what `config.active` asks for."""
        if isinstance(cache, PromptStore):
            return cache
        if self.config.active is None:
            return PlainStore(cache, self.stack.attending[:depth])
        check_plain(cache)
        steps = tuple(step for step in self.config.steps if step.layer < depth)
        managed = make_cache(
            self.config.with_changes(steps=steps), depth, blocks, attending=self.stack.attending[:depth],
            seeing=self.stack.seeing,
        )
        cache.layers = cast(Any, managed.layers)  # the same list: a layer that moves to the host does so in both
        return managed


def exhaust(run: Generator[Any, None, Found]) -> Found:
    """What `run` returns in the end, its ticks passed over."""
    while True:
        try:
            next(run)
        except StopIteration as done:
            found: Found = done.value
            return found
