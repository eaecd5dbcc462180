"""SlimEngine: a full and a pruned run of one request, as one stream of typed events."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import replace

import torch

from sliminfer.cache import HostPool
from sliminfer.cache.stages import check_active
from sliminfer.decode_policies import check_policy
from sliminfer.engine.events import Compared, Event, Failed, Finished, Side, Stopped
from sliminfer.engine.graphs import DecodeGraphs
from sliminfer.engine.limits import NO_LIMITS, RunLimits, check_rotary
from sliminfer.engine.loop import LayerLoop, LayerTick
from sliminfer.engine.meters import synchronize
from sliminfer.engine.metrics import Comparison
from sliminfer.engine.outside import Outside
from sliminfer.engine.reading import Reading
from sliminfer.engine.request import PromptRequest, Request, RunRequest
from sliminfer.engine.side_run import SideRun
from sliminfer.engine.turn import Turn
from sliminfer.errors import ConfigError, MemoryLimitError, SlimError
from sliminfer.model.devices import free_memory
from sliminfer.model.loading import LoadedModel
from sliminfer.ops.dispatch import use_kernels
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.memory import check_memory
from sliminfer.selectors import check_method, published
from sliminfer.sparse import check_reading

__all__ = ["RunRequest", "SlimEngine"]

_log = logging.getLogger(__name__)


class SlimEngine:
    """Runs requests on one loaded model, one at a time and within `limits`, and never changes the model.

    Attributes:
        turn: whoever measures on this device besides takes it, too.
        outside: scores prompts for methods that take their scores from outside the model, with the draft model if any.
        flops_per_s: FLOPs of the last full prefill over the seconds that it took; None before any.
    """

    def __init__(
        self, loaded: LoadedModel, limits: RunLimits = NO_LIMITS, draft: LoadedModel | None = None
    ) -> None:
        self.loaded = loaded
        self.outside = Outside(loaded, draft)
        self.limits = limits
        self.turn = Turn()
        self.flops_per_s: float | None = None
        self._warm: set[Side] = set()
        self._pool = HostPool(pinned=loaded.device.type == "cuda")
        self._graphs = DecodeGraphs(loaded.model)

    def prepare(self, request: Request) -> PromptRequest:
        """`request` in tokens; raises SlimError where it cannot be run on this model."""
        self.limits.check_text(request.characters, self.loaded.shape.context)
        ready = request.tokenized(self.loaded.tokenizer)
        prompt, config, longest = ready.prompt, ready.pruning.config, ready.sampling.max_new_tokens
        config.check_model(self.loaded.shape.layers)
        check_method(config)
        check_policy(config)
        self.outside.source(config)
        check_reading(config)
        if len(prompt) + longest > self.loaded.shape.context:
            raise MemoryLimitError(
                f"The prompt has {len(prompt):,} tokens and the answer up to {longest:,}, but "
                f"{self.loaded.name} reads at most {self.loaded.shape.context:,}: shorten the document."
            )
        self.limits.check(len(prompt), longest)
        check_rotary(self.loaded, len(prompt), longest)
        check_active(config, BlockMap.of(len(prompt), config, prompt.question, ready.pruning.marks))
        return ready

    def _check_memory(self, ready: PromptRequest) -> None:
        """Raise MemoryLimitError, with the numbers, where the full side does not fit into what is free now."""
        loaded, tokens = self.loaded, len(ready.prompt) + ready.sampling.max_new_tokens
        free = sum(map(free_memory, loaded.devices))
        size = loaded.model.dtype.itemsize
        check_memory(loaded.shape, tokens, size, loaded.attention, free, loaded.device_name)

    def at_budget(self, ready: PromptRequest, config: SlimConfig, speedup: float) -> SlimConfig:
        """`config` solved for a FLOP speed-up of the prefill of `ready`, a draft's FLOPs included.

        Raises:
            ConfigError: the target is out of reach.
        """
        return self.outside.at_budget(ready, config, speedup)

    def compare(self, request: Request, stop: threading.Event | None = None) -> Iterator[Event]:
        """Events of the full run, then of the pruned run, then `Compared` if both finished.

        Closing the iterator, or setting `stop`, ends the run at the next layer boundary.

        Raises:
            SlimError: the request cannot be run at all; raised before any event.
        """
        ready = self.prepare(request)
        self._check_memory(ready)
        return self._compare(ready, stop)

    def run(self, request: Request, side: Side = "pruned", stop: threading.Event | None = None) -> Iterator[Event]:
        """Events of one side alone; see `compare`."""
        ready = self.prepare(request)
        if side == "full":  # a pruned run takes less, by how much only the run can tell
            self._check_memory(ready)
        return self._run(ready, side, stop)

    def read(
        self,
        request: Request,
        side: Side = "pruned",
        earlier: Reading | None = None,
        stop: threading.Event | None = None,
    ) -> Reading:
        """Read the prompt of `request` up to its question, once for every question about it: see `ask`.

        Args:
            side: whose layers read: those before the first prune step, or all of the full model's.
            earlier: a reading of this side whose first tokens this prompt may share, such as a system prompt.
            stop: ends the reading at the next layer boundary.

        Raises:
            SlimError: the request cannot be run, its method cannot answer from a reading, it was stopped, or there is
                no memory for it.
        """
        ready = self.prepare(request)
        if side == "full":
            self._check_memory(ready)
        with self.turn.taken():
            began = time.monotonic()
            reading = self._read(ready, side, earlier)
            try:
                while True:
                    next(reading)
                    if stop is not None and stop.is_set():
                        raise ConfigError("The reading was stopped: start it again.")
                    if self.limits.overdue(time.monotonic() - began):
                        raise self.limits.too_slow(f"Reading {len(ready.prompt):,} tokens")
            except StopIteration as done:
                made: Reading = done.value
            except Exception as error:
                if not _out_of_memory(error):
                    raise
                raise MemoryLimitError(
                    f"Reading {len(ready.prompt):,} tokens on the {side} side does not fit in memory: use a shorter "
                    "document or a smaller model."
                ) from error
        return replace(made, request=request if isinstance(request, RunRequest) else None)

    @torch.inference_mode()
    def _read(self, ready: PromptRequest, side: Side, earlier: Reading | None) -> Generator[LayerTick, None, Reading]:
        config = ready.pruning.config if side == "pruned" else SlimConfig(method="full")
        ids = ready.prompt.ids[: ready.prompt.question[0]]
        if not ids:
            raise ConfigError("Nothing stands before the question, so that there is nothing to read: ask afresh.")
        shared = 0 if earlier is None else earlier.shared(ids[:-1])
        known = earlier.first(shared) if earlier is not None and shared else None
        loop = LayerLoop(self.loaded.model, config)
        fresh = torch.tensor([ids[0 if known is None else len(known) :]], device=self.loaded.device)
        with use_kernels(ready.kernels):
            reading = yield from loop.read(loop.decoder.embed_tokens(fresh), ids, known)
        synchronize(self.loaded.device)
        return reading

    def ask(
        self, reading: Reading, question: str | Request, side: Side = "pruned", stop: threading.Event | None = None
    ) -> Iterator[Event]:
        """Events of one side, as of `run`, without reading again what `reading` holds of the prompt.

        Tokens and logits are those of asking afresh, to the rounding of sums in another order.

        Args:
            reading: from `read` on the same side, under the same first prune step.
            question: of the document that was read, or a whole request, whose prompt may begin with any part of it.

        Raises:
            SlimError: the request cannot be run at all, or the reading is not of its prompt.
        """
        if isinstance(question, str):
            if reading.request is None:
                raise ConfigError("This reading does not know its document's text: ask with a whole request.")
            question = replace(reading.request, question=question)
        ready = self.prepare(question)
        part = reading.part(ready.prompt.ids[: ready.prompt.question[0]])
        return self._run(ready, side, stop, reading=part)

    def warm_up(self, tokens: int = 512) -> None:
        """Run both sides once on a short text, so that the first real run is as fast as the next."""
        unit = self.loaded.tokenizer.decode(list(range(min(200, self.loaded.shape.vocab))), skip_special_tokens=True)
        config = SlimConfig.preset("paper", self.loaded.shape.layers, seeing=self.loaded.shape.seeing)
        request = RunRequest((unit + "\n") * (1 + tokens // 200), "What?", config, max_new_tokens=4, ignore_eos=True)
        for _ in self.compare(request):
            pass
        if self.outside.draft is not None:
            drafted = self.prepare(request).under(published("specprefill", self.loaded.shape.layers))
            for _ in self.run(drafted):
                pass

    def _compare(self, ready: PromptRequest, stop: threading.Event | None) -> Iterator[Event]:
        finished: dict[str, Finished] = {}
        sides: tuple[Side, Side] = ("full", "pruned")
        began: float | None = None
        for side in sides:
            for event in self._run(ready, side, stop, began):
                began = time.monotonic() if began is None else began
                if isinstance(event, Finished):
                    finished[side] = event
                yield event
            if began is not None and self.limits.overdue(time.monotonic() - began):
                return
        if len(finished) == 2:
            full, pruned = finished["full"].metrics, finished["pruned"].metrics
            yield Compared("pruned", finished["pruned"].at, Comparison.of(full, pruned))

    def _run(
        self,
        ready: PromptRequest,
        side: Side,
        stop: threading.Event | None,
        began: float | None = None,
        reading: Reading | None = None,
    ) -> Iterator[Event]:
        """Events of one side; `began` is when the request got the device, where this is not its first side."""
        tokens = len(ready.prompt)
        with self.turn.taken():
            began = time.monotonic() if began is None else began
            run = SideRun(
                self.loaded, ready, side, side in self._warm, self._pool, self.outside, self._graphs, reading
            )
            outcome = "stopped"
            try:
                for event in run.events():
                    if isinstance(event, Finished) and side == "full" and reading is None:
                        self.flops_per_s = event.metrics.prefill_flops / event.metrics.ttft_s
                    if self.limits.overdue(time.monotonic() - began) and not isinstance(event, Finished):
                        raise self.limits.too_slow(f"Up to the {side} run of {tokens:,} tokens, the request")
                    yield event
                    if stop is not None and stop.is_set():
                        yield Stopped(side, run.elapsed(), run.text)
                        return
                self._warm.add(side)
                outcome = "finished"
            except SlimError as error:
                outcome = "refused"
                yield Failed(side, run.elapsed(), str(error))
            except Exception as error:  # the next request must be served whatever went wrong in this one
                if _out_of_memory(error):
                    outcome = "out of memory"
                    told = (
                        f"The {side} run of {tokens:,} tokens does not fit in memory: use a shorter document, "
                        "a smaller model or prune earlier."
                    )
                else:
                    outcome = "failed"
                    told = f"The {side} run failed ({type(error).__name__}): try again; the log says where."
                    _log.exception("a %s run failed", side)
                yield Failed(side, run.elapsed(), told)
            finally:
                run.release()
                if outcome == "out of memory" and self.loaded.device.type == "cuda":
                    gc.collect()
                    torch.cuda.empty_cache()  # what is kept in pieces too small may be one that is large enough
                known = {"model": self.loaded.name, "side": side, "outcome": outcome, "prompt_tokens": tokens}
                _log.info("run", extra={**known, "seconds": round(run.elapsed(), 3)})


def _out_of_memory(error: Exception) -> bool:
    # On a CPU torch has no exception of its own for it.
    on_host = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return on_host or isinstance(error, torch.OutOfMemoryError | MemoryError)
