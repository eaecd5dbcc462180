"""One side of one request, from token ids to the last word, as events."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from sliminfer.cache import HostPool, SlimCache
from sliminfer.decode_policies import make_cache
from sliminfer.engine.answer import Answer
from sliminfer.engine.events import (
    BlocksPruned,
    CacheNews,
    Event,
    Finished,
    FirstToken,
    LayerDone,
    PromptReady,
    ScoredOutside,
    Side,
    Token,
)
from sliminfer.engine.graphs import DecodeGraphs
from sliminfer.engine.loop import LayerLoop, LayerTick
from sliminfer.engine.meters import PeakMemory, Stopwatch, synchronize
from sliminfer.engine.metrics import KeptAtLayer, KVBytes, RunMetrics
from sliminfer.engine.outside import Outside
from sliminfer.engine.reading import Reading
from sliminfer.engine.request import PromptRequest
from sliminfer.engine.sampling import Detokenizer, Sampler
from sliminfer.model.head import logits_of
from sliminfer.model.loading import LoadedModel
from sliminfer.ops import dispatch as ops
from sliminfer.schedule.blocks import BlockMap, to_ranges
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.flops import LayerRead, prefill_flops, read_flops
from sliminfer.schedule.sight import as_scored, scorers_of
from sliminfer.selectors import selector_class


@dataclass(frozen=True)
class _SparseReading:
    """What a prefill read sparsely: of each layer what it computed and its share of the blocks, or why it was off."""

    reads: Mapping[int, LayerRead] = field(default_factory=dict)
    shares: tuple[float, ...] = ()
    off: str = ""


class SideRun:
    """The state of one side while it runs; `events` may be consumed once."""

    def __init__(
        self,
        loaded: LoadedModel,
        request: PromptRequest,
        side: Side,
        warm: bool,
        pool: HostPool,
        outside: Outside,
        graphs: DecodeGraphs,
        reading: Reading | None = None,
    ) -> None:
        self.loaded, self.request, self.side, self.warm, self.graphs = loaded, request, side, warm, graphs
        self.prompt, self.sampling = prompt, sampling = request.prompt, request.sampling
        self.config = request.pruning.config if side == "pruned" else SlimConfig(method="full")
        self.outside, self.outside_s = outside, 0.0
        self.note = outside.why_not(request, self.config)
        if self.note:
            self.config = self.config.with_changes(steps=())
        blocks = BlockMap.of(len(prompt), self.config, prompt.question, request.pruning.marks)
        self.reading = None if reading is None else reading.for_prompt(blocks)
        self.read_tokens = 0 if self.reading is None else len(self.reading)
        self.reading = self.reading if self.read_tokens else None
        self.cache = make_cache(
            self.config,
            loaded.shape.layers,
            blocks,
            # What comes after the first update of a layer: the answer, and what no reading gives.
            reserve=sampling.max_new_tokens + (len(prompt) - self.read_tokens if self.read_tokens else 0),
            pool=pool,
            attending=loaded.shape.attending,
            seeing=loaded.shape.seeing,
        )
        self.started, self.paused = time.perf_counter(), 0.0
        self.detokenizer = Detokenizer(loaded.tokenizer)
        self.ticks: list[LayerTick] = []
        self.stopwatch = Stopwatch(loaded.device)
        self.kernels_ran: ops.Record = {}

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.detokenizer.text

    def elapsed(self) -> float:
        """Seconds since the prompt's ids were ready on the device, without the listener's share on a CPU."""
        return time.perf_counter() - self.started - self.paused

    def release(self) -> None:
        """Let go of everything the run held on the device."""
        self.cache.close()
        self.ticks.clear()

    @torch.inference_mode()
    def events(self) -> Generator[Event, None, None]:
        """Prefill and decode, yielding after every layer and every token.

        Between two events nothing of the run is in force: the listener, and the thread that asks for the next event,
        may do what they like with the model.
        """
        self.loop = self._loop()
        with contextlib.closing(self._events()) as run:
            while True:
                with ops.use_kernels(self.request.kernels, self.kernels_ran):
                    event = next(run, None)
                if event is None:
                    return
                left = time.perf_counter()
                yield event
                # A CPU does nothing for us while the listener has the turn; a GPU works on, so there it counts.
                if self.loaded.device.type == "cpu":
                    self.paused += time.perf_counter() - left

    def _loop(self, scores: Tensor | None = None) -> LayerLoop:
        pruning = self.request.pruning
        return LayerLoop(self.loaded.model, self.config, self.prompt.question, pruning.evidence, pruning.marks, scores)

    def _events(self) -> Generator[Event, None, None]:
        device = self.loaded.device
        memory = PeakMemory(*self.loaded.devices)
        ids = torch.tensor([self.prompt.ids], device=device)
        synchronize(device)
        self.started, self.paused = time.perf_counter(), 0.0
        yield PromptReady(self.side, 0.0, self.prompt, self.request.tokenize_s, len(self.loop.layers))
        yield from self._scored_outside()
        logits = self._logits((yield from self._prefill(ids)))
        sampler = Sampler(self.sampling.temperature, self.sampling.top_p, self.sampling.seed)
        token = sampler(logits)
        tokens, token_at = [token], [self.elapsed()]
        first_logits = logits.float().cpu().numpy()
        if self._reads_back_late:
            yield from self._all_pruned()
        yield FirstToken(self.side, token_at[0], token, self.detokenizer.add(token))
        self.loop.place(self.cache)
        prompt_kv = self._held()
        yield from self._cache_news()
        decoding = ""
        if self.sampling.max_new_tokens > 1 and not self._ends(token):
            answer = Answer(self.loaded, self.loop, self.cache, sampler, self.stopwatch, self.graphs)
            with contextlib.closing(answer.after(token, self.sampling.max_new_tokens - 1)) as following:
                for token in following:
                    tokens.append(token)
                    token_at.append(self.elapsed())
                    yield Token(self.side, token_at[-1], len(tokens) - 1, token, self.detokenizer.add(token))
                    yield from self._cache_news()
                    if self._ends(token):
                        break
            decoding = answer.how
        metrics = self._metrics(tokens, token_at, first_logits, prompt_kv, memory.bytes(), decoding)
        yield Finished(self.side, self.elapsed(), self.text, "eos" if self._ends(token) else "length", metrics)

    def _scored_outside(self) -> Generator[Event, None, None]:
        """Scores that the method takes from outside the model, within the clock of the time to first token."""
        if self.outside.source(self.config) is None:
            return
        began, running = self.elapsed(), self.outside.scores(self.request, self.config)
        while True:
            try:
                done, total = next(running)
            except StopIteration as finished:
                self.loop = self._loop(finished.value)
                break
            yield ScoredOutside(self.side, self.elapsed(), done, total)
        synchronize(self.loaded.device)
        self.outside_s = self.elapsed() - began

    @property
    def _reads_back_late(self) -> bool:
        # Reading a selection back to the host in mid-prefill would make a GPU wait for it.
        return self.loaded.device.type == "cuda"

    def _prefill(self, ids: Tensor) -> Generator[Event, None, Tensor]:
        hidden = self.loop.decoder.embed_tokens(ids[:, self.read_tokens :])
        run = self.loop.run(hidden, self.cache, "last", self.stopwatch, reading=self.reading)
        while True:
            try:
                tick = next(run)
            except StopIteration as done:
                states: Tensor = done.value
                return states
            self.ticks.append(tick)
            if tick.selection is not None and not self._reads_back_late:
                yield self._pruned(len(self.ticks) - 1)
            yield LayerDone(self.side, self.elapsed(), tick.layer, len(self.loop.layers), tick.alive)

    def _logits(self, states: Tensor) -> Tensor:
        return logits_of(self.loaded.model, states[:, -1])[0]

    def _ends(self, token: int) -> bool:
        return token in self.loaded.eos and not self.sampling.ignore_eos

    def _cache_news(self) -> Generator[Event, None, None]:
        for change in self.cache.drain_events():
            yield CacheNews(self.side, self.elapsed(), change)

    def _all_pruned(self) -> Generator[Event, None, None]:
        for index, tick in enumerate(self.ticks):
            if tick.selection is not None:
                yield self._pruned(index)

    def _pruned(self, index: int) -> BlocksPruned:
        tick, before = self.ticks[index], self._before(index)
        assert tick.selection is not None
        scores, threshold = tick.selection.scores, tick.selection.threshold
        return BlocksPruned(
            self.side,
            self.elapsed(),
            tick.layer,
            before,
            tick.selection.kept.cpu().numpy().astype(np.int32),
            self.config.block_size,
            None if scores is None else scores.float().cpu().numpy(),
            math.nan if threshold is None else float(threshold),
            self.loop.prompt_of(self.cache).blocks.forced,
        )

    @property
    def _saved_flops(self) -> float:
        reading = self.reading
        return 0.0 if reading is None else read_flops(self.loaded.shape, len(reading), reading.layer)

    def _before(self, index: int) -> int:
        """Tokens that were there before the prune step at tick `index`."""
        return self.ticks[index - 1].alive if index else len(self.prompt)

    def _sparse_reading(self) -> _SparseReading:
        reader = self.loop.reader_of(self.cache)
        if reader is not None:
            shares = reader.shares()
            every = tuple(shares.get(layer, 1.0) for layer in range(len(self.loop.layers)))
            return _SparseReading(reader.reads(), every if shares else ())
        if self.config.reading == "dense":
            return _SparseReading()
        if self.reading is not None:
            return _SparseReading(off="The document was read before the question, densely.")
        return _SparseReading(off=self.loop.why_dense(len(self.prompt), self.loaded.device))

    def _held(self) -> KVBytes:
        """What the cache holds, and the hidden states that wait to be brought back at the layers they wait for."""
        held, waiting = kv_bytes(self.cache), self.loop.waiting_bytes(self.cache)
        return replace(held, device=tuple(size + waiting.get(layer, 0) for layer, size in enumerate(held.device)))

    def _metrics(
        self,
        tokens: list[int],
        token_at: list[float],
        first_logits: np.ndarray[tuple[int], np.dtype[np.float32]],
        prompt_kv: KVBytes,
        peak_bytes: int,
        decoding: str,
    ) -> RunMetrics:
        pruned = [index for index, tick in enumerate(self.ticks) if tick.selection is not None]
        runs = [tick.alive for tick in self.ticks]  # a method with two passes runs some layers twice
        method = selector_class(self.config.method)
        blocks = self.loop.prompt_of(self.cache).blocks
        steps = [self.config.steps[0].layer if method.two_pass else self.ticks[index].layer for index in pruned]
        seeing = self.loop.stack.seeing
        scored = [
            each
            for index, layer in zip(pruned, steps, strict=True)
            for each in method.scorings_at(
                layer, as_scored(self.config, layer, seeing), blocks, self._before(index)
            )
        ]
        reads = method.query_window(self.config, blocks) > 0
        by = [scorers_of(layer, seeing, self.config.score_layer).layers(layer) if reads else () for layer in steps]
        asked = {step.layer: blocks.budget(step) * blocks.block_size for step in self.config.steps}
        drafted = self.outside.source(self.config)
        beside = self.outside.weights_bytes if drafted is not None and drafted.needs_draft else 0
        # Here, not before the first token: a draft with another tokenizer cuts the whole text for it once more.
        outside_flops = self.outside.flops(self.request, self.config)
        sparse = self._sparse_reading()
        decode_s = token_at[-1] - token_at[0]
        return RunMetrics(
            method=self.config.method,
            prompt_tokens=len(self.prompt),
            new_tokens=len(tokens),
            ttft_s=token_at[0],
            tokenize_s=self.request.tokenize_s,
            select_s=self.stopwatch.seconds("select"),
            decode_tokens_per_s=(len(tokens) - 1) / decode_s if len(tokens) > 1 else math.nan,
            token_at=tuple(token_at),
            tokens_per_layer=tuple(runs[-len(self.loop.layers) :]),
            kept=tuple(
                _kept(self.ticks[index], chose, asked.get(layer, 0), blocks.tokens_in(blocks.forced))
                for index, chose, layer in zip(pruned, by, steps, strict=True)
            ),
            kv=self._held(),
            prompt_kv=prompt_kv,
            peak_bytes=peak_bytes + beside,
            weights_bytes=self.loaded.weights_bytes,
            prefill_flops=prefill_flops(self.loaded.shape, runs, scored, sparse.reads)
            - self._saved_flops
            + outside_flops,
            device=self.loaded.device_name,
            dtype=self.loaded.dtype_name,
            attention=self.loaded.attention,
            kernels="+".join(sorted(set(self.kernels_ran.values()))) or "torch",
            warm=self.warm,
            read_tokens=self.read_tokens,
            reading_bytes=0 if self.reading is None else self.reading.nbytes,
            token_ids=tuple(tokens),
            blocks_read=sparse.shares,
            dense_because=sparse.off,
            decoding=decoding,
            first_logits=first_logits,
            outside_s=self.outside_s,
            outside_flops=outside_flops,
            note=self.note,
        )


def _kept(tick: LayerTick, scored_by: tuple[int, ...], asked: int, forced: int) -> KeptAtLayer:
    assert tick.selection is not None
    ranges = tuple((start, end) for start, end in to_ranges(tick.selection.kept.tolist()))
    return KeptAtLayer(tick.layer, tick.alive, ranges, scored_by, asked, forced)


def kv_bytes(cache: SlimCache) -> KVBytes:
    """Bytes of the keys and values that `cache` holds, layer by layer."""
    layers = cache.kv_bytes()
    return KVBytes(
        device=tuple(layer.prompt + layer.tail + layer.units for layer in layers),
        host=tuple(layer.host for layer in layers),
        spare=sum(layer.slack + layer.transit for layer in layers),
    )
