"""`slim(model, config)`: within the block, calls of a transformers model from this thread go through the layer loop.

`model(...)` and `model.generate(...)` work as ever, and nothing is patched globally: doors at the instance's own
methods let the block's own context in, and send everybody else to the stock model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import Tensor, nn
from transformers import PreTrainedModel

from sliminfer.engine.doors import Handler, inside
from sliminfer.engine.forward import DecoderForward, ModelForward
from sliminfer.engine.guards import ELSEWHERE, Generate, refuse_elsewhere
from sliminfer.engine.loop import LayerLoop
from sliminfer.model.decoder import decoder_of
from sliminfer.ops.dispatch import use_kernels
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.marks import Marks


@contextlib.contextmanager
def slim(
    model: nn.Module,
    config: SlimConfig,
    question: Span | None = None,
    evidence: tuple[Span, ...] = (),
    kernels: str = "auto",
    keep: tuple[Span, ...] = (),
    drop: tuple[Span, ...] = (),
    outside: Tensor | None = None,
) -> Iterator[LayerLoop]:
    """Within the block, prefills of `model` prune by `config`; outside it the model is as it was.

    The block belongs to the thread or task that entered it: others see the stock model, unless they enter a block of
    their own or run in a copy of this context (`contextvars.copy_context().run`). The elementwise steps of
    known layers run fused inside it (`sliminfer.model.fused`), pruned or not.

    Args:
        model: a transformers causal language model of a supported family, on any device or several.
        config: the pruning schedule.
        question: half-open token span of the question in the prompts to come, always kept; `question_span` gives it
            for a chat.
        evidence: token spans that hold the answer, read by the oracle method only.
        outside: score of each token of the prompt to come by somebody else than the model, fp32 [N], read by methods
            that prune before layer 0.
        kernels: "auto" (Triton on a GPU, torch elsewhere), "torch" or "triton".
        keep: half-open token spans that no prune step drops, such as the system prompt or tool definitions.
        drop: token spans that go no further than the first prune step, for experiments; see `Marks`.

    Raises:
        ConfigError: the schedule does not fit the model, or the model is inside another `slim`, or Triton is
            asked for where it cannot run.
        ModelError: the model's family is not supported.
    """
    loop = LayerLoop(model, config, question, evidence, Marks(keep, drop), outside)
    doors: list[tuple[nn.Module, str, Handler]] = [(loop.decoder, "forward", DecoderForward(loop))]
    for above in _above(model, loop.decoder):
        doors.append((above, "forward", ModelForward()))
        if hasattr(above, "generate"):
            doors.append((above, "generate", Generate(above, config)))
        doors.extend((above, name, refuse_elsewhere) for name in ELSEWHERE if hasattr(above, name))
    with inside(loop.decoder, doors), use_kernels(kernels):
        yield loop


def _above(model: nn.Module, decoder: nn.Module) -> list[PreTrainedModel]:
    """The transformers model around `decoder`, whatever wraps it in turn; nothing where `decoder` stands alone."""
    around = (each for each in model.modules() if isinstance(each, PreTrainedModel) and each is not decoder)
    return [each for each in around if decoder_of(each) is decoder][:1]
