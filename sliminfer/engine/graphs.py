"""CUDA graphs of a model's decode step: captured once in an engine's life, played again for every token after that."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from sliminfer.engine.stack import Stack
from sliminfer.engine.static_step import Before, StaticStep
from sliminfer.errors import SlimError
from sliminfer.model.fused import is_known_norm
from sliminfer.ops import dispatch as ops
from sliminfer.ops.compat import forward_hooks
from sliminfer.ops.linear import is_plain

_KERNELS = ("rms_norm", "rms_norm_residual", "swiglu", "append_rotated", "attend_row")
# Before a capture the step runs so often: kernels compile and libraries make their handles then.
_WARM_UPS = 2
# Before a capture torch gives back the unused memory of every device: not while another thread captures on one of them.
_CAPTURE_TURN = threading.Lock()


class NoGraph(SlimError):
    """This step cannot be captured; the message says why."""


class CapturedSteps:
    """A step whose parts are played from graphs, with no launch of their own."""

    def __init__(self, step: StaticStep, graphs: Sequence[torch.cuda.CUDAGraph]) -> None:
        self.step = step
        self._graphs = graphs

    def run(self, before: Before) -> None:
        """One token more, see `StaticStep.run`."""
        for layers, graph in zip(self.step.parts, self._graphs, strict=True):
            before(layers)
            graph.replay()


class DecodeGraphs:
    """The captured steps of one model, by where they are divided. They know of no prompt, so they serve all."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._captured: dict[tuple[int, ...], CapturedSteps] = {}
        self._weights: tuple[int, ...] = ()

    def steps(self, stack: Stack, bounds: tuple[int, ...]) -> CapturedSteps:
        """Steps through the layers of `stack`, divided before the layers `bounds`.

        Raises:
            NoGraph: something in the step cannot be captured here, or there is no memory for it.
        """
        self._check(stack)
        weights = tuple(each.data_ptr() for each in self._model.parameters())
        if weights != self._weights:  # a graph knows them by address
            self._captured.clear()
            self._weights = weights
        if bounds not in self._captured:
            self._captured[bounds] = self._capture(StaticStep(self._model, stack, bounds))
        return self._captured[bounds]

    def _check(self, stack: Stack) -> None:
        model, device = self._model, stack.decoder.embed_tokens.weight.device
        if device.type != "cuda":
            raise NoGraph("no CUDA device")
        if len({each.device for each in chain(model.parameters(), model.buffers())}) > 1:
            raise NoGraph("the model's layers lie on several devices")
        if not all(ops.runs_triton(op, device) for op in _KERNELS):
            raise NoGraph("kernels run in plain torch")
        check_step(model, stack)

    def _capture(self, step: StaticStep) -> CapturedSteps:
        device = step.ids.device
        try:
            # A capture that fails may leave its own stream current: what was current comes back.
            with _CAPTURE_TURN, torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
                return CapturedSteps(step, _capture(step, device))
        except torch.OutOfMemoryError as error:
            raise NoGraph("no memory for a CUDA graph") from error
        except Exception as error:  # whatever it is, the layer loop decodes without a graph
            raise NoGraph(f"a CUDA graph could not be captured ({' '.join(str(error).split())[:120]})") from error


def check_step(model: nn.Module, stack: Stack) -> None:
    """Raise NoGraph where a `StaticStep` of `model` would not be its decode step, or would wait for the device."""
    decoder, embedding = stack.decoder, stack.decoder.embed_tokens
    some = torch.empty(1, 1, 0)
    known = all(fused is not None and fused.serves(some) and fused.is_plain() for fused in stack.fused)
    plain = type(embedding) is nn.Embedding and not any(forward_hooks(embedding))
    head: nn.Module = model.get_output_embeddings()  # type: ignore[operator]
    if not (known and plain and is_known_norm(decoder.norm) and is_plain(head)):
        raise NoGraph("the model has layers or modules of its own")
    if stack.backend == "eager":
        raise NoGraph("attention eager was asked for")
    if stack.rotary_varies:
        raise NoGraph("the model's rotary factors change with the length")


def scratch(stack: Stack) -> list[Tensor]:
    """One small buffer as the keys and values of every layer: a step that is tried out writes there."""
    fused = stack.fused[0]
    assert fused is not None
    heads, width = fused.attention.config.num_key_value_heads, fused.attention.head_dim
    like = stack.decoder.embed_tokens.weight
    store = torch.zeros(2, heads, 2 * _WARM_UPS, width, dtype=like.dtype, device=like.device)
    return [store] * stack.depth


def _capture(step: StaticStep, device: torch.device) -> list[torch.cuda.CUDAGraph]:
    step.table.name(scratch(step.stack), [0] * step.stack.depth)
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            step.run(lambda layers: None)
    current.wait_stream(stream)
    pool = torch.cuda.graph_pool_handle()
    graphs = []
    for layers in step.parts:
        graph = torch.cuda.CUDAGraph()
        # Another thread may be at work on another device: what it does is no part of this.
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            step.part(layers)
        graphs.append(graph)
    return graphs
