"""An answer after its first token, id by id: by the layer loop, or by steps that the host need not wait for."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from sliminfer.cache import SlimCache
from sliminfer.engine.graphs import DecodeGraphs, NoGraph
from sliminfer.engine.loop import LayerLoop, exhaust
from sliminfer.engine.meters import Stopwatch
from sliminfer.engine.sampling import Sampler
from sliminfer.engine.sequence import Sequence, sequence_of
from sliminfer.engine.static_step import Steps
from sliminfer.model.head import logits_of
from sliminfer.model.loading import LoadedModel

Ids = Generator[int, None, None]


@dataclass
class Answer:
    """What follows the first token of one answer.

    Attributes:
        how: how its tokens are decoded, in words.
    """

    loaded: LoadedModel
    loop: LayerLoop
    cache: SlimCache
    sampler: Sampler
    stopwatch: Stopwatch
    graphs: DecodeGraphs
    how: str = "eager"

    def after(self, token: int, most: int) -> Ids:
        """The ids that follow `token`, at most `most`; close it where the answer ends before."""
        sequence = sequence_of(self.cache)
        assert sequence is not None
        try:
            bounds = check_cache(self.loop, self.cache, sequence, most)
            steps = self.graphs.steps(self.loop.stack, bounds)
        except NoGraph as reason:
            if self.loaded.device.type == "cuda":
                self.how = f"eager: {reason}"
            return self.eagerly(token, most)
        self.how = "graph"
        return stepwise(steps, self.cache, sequence, self.sampler, token, most)

    def eagerly(self, token: int, most: int) -> Ids:
        """As `after`, by the layer loop."""
        loop = self.loop
        for _ in range(most):
            ids = torch.tensor([[token]], device=self.loaded.device)
            states = exhaust(loop.run(loop.decoder.embed_tokens(ids), self.cache, stopwatch=self.stopwatch))
            token = self.sampler(logits_of(self.loaded.model, states[:, -1])[0])
            yield token


def check_cache(loop: LayerLoop, cache: SlimCache, sequence: Sequence, most: int) -> tuple[int, ...]:
    """The layers before which steps on `cache` must be divided, for blocks that may be on their way.

    Raises:
        NoGraph: in the next `most` steps a layer reads other keys than those that its buffer holds.
    """
    if sequence.revives:
        raise NoGraph("the method brings tokens back")
    if not all(layer.in_place for layer in cache.layers):
        raise NoGraph("the decode policy searches on the host")
    reach = sequence.seen + most
    if any(window is not None and window < reach for window in loop.stack.windows):
        raise NoGraph("the answer goes beyond a sliding window")
    return tuple(stage.first for stage in cache.stages[1:]) if cache.swaps else ()


def stepwise(
    steps: Steps, cache: SlimCache, sequence: Sequence, sampler: Sampler, token: int, most: int
) -> Ids:
    """The ids that follow `token` in the answer that `cache` holds; tokens are sampled where the model is.

    The host reads an id while the step behind it runs already. Where the answer ends, that step's work is forgotten:
    the cache has read the tokens before the last that was taken. With working sets, whose exchange is planned by
    what the last step read, each step is waited for.
    """
    sequence.place()
    step = steps.step
    place = torch.tensor([sequence.seen], device=sequence.kept[0].positions.device)
    step.begin(cache.layers, int(sequence.rotary(place)), token, most)
    ahead, taken = (0 if cache.swaps else 1), 0
    waiting: deque[_Late] = deque()
    try:
        for _ in range(most):
            cache.begin_step()
            steps.run(cache.settle)
            if cache.swaps:
                _show_queries(cache, step.queries)
            chosen = sampler.choose(step.logits)
            step.ids.copy_(chosen.view(1, 1))
            waiting.append(_Late(chosen))
            if len(waiting) > ahead:
                taken += 1
                yield waiting.popleft().read()
        for late in waiting:
            taken += 1
            yield late.read()
    finally:
        step.table.let_go()
        if taken and not cache.closed:
            sequence.begin(taken, len(cache.layers))
            for layer in cache.layers:
                layer.appended(taken)
            sequence.end()


def _show_queries(cache: SlimCache, queries: list[Tensor]) -> None:
    for layer, query in enumerate(queries):
        if cache.wants_query(layer):
            cache.observe_query(layer, query[:, None])


class _Late:
    """A token id on its way to the host."""

    def __init__(self, chosen: Tensor) -> None:
        self._host, self._arrived = chosen, None
        if chosen.is_cuda:
            self._host = torch.empty(1, dtype=chosen.dtype, pin_memory=True)
            self._host.copy_(chosen, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(chosen.device))

    def read(self) -> int:
        """The id, once it is there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return int(self._host)
