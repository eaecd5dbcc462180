"""`slim(model, config)` puts the layer loop in place of the decoder's forward on that one instance and takes it out
again, so `model(...)` and `model.generate(...)` work inside it and nothing is patched globally.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from sliminfer.engine.loop import LayerLoop
from sliminfer.errors import ConfigError
from sliminfer.model.fused import fuse_layer_ops
from sliminfer.ops.dispatch import use_kernels
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig


@contextlib.contextmanager
def slim(
    model: nn.Module,
    config: SlimConfig,
    question: Span | None = None,
    evidence: tuple[Span, ...] = (),
    kernels: str = "auto",
) -> Iterator[LayerLoop]:
    """Within the block, prefills of `model` prune by `config`; afterwards the model is as it was.

    The elementwise steps of known layers run fused meanwhile (`sliminfer.model.fused`), pruned or not.

    Args:
        model: a transformers causal language model of a supported family, on any device or several.
        config: the pruning schedule.
        question: half-open token span of the question in the prompts to come, always kept.
        evidence: token spans that hold the answer, read by the oracle method only.
        kernels: "auto" (Triton on a GPU, torch elsewhere), "torch" or "triton".

    Raises:
        ConfigError: the schedule does not fit the model, or the model is inside another `slim`, or Triton is
            asked for where it cannot run.
        ModelError: the model's family is not supported.
    """
    loop = LayerLoop(model, config, question, evidence)
    decoder = loop.decoder
    if isinstance(getattr(decoder.__dict__.get("forward"), "__self__", None), LayerLoop):
        raise ConfigError("This model is already inside slim(): leave the outer block first.")
    own_forward = decoder.__dict__.get("forward")
    decoder.forward = loop.forward
    try:
        with use_kernels(kernels), fuse_layer_ops(model):
            yield loop
    finally:
        if own_forward is None:
            del decoder.forward
        else:
            decoder.forward = own_forward
