"""A linear module's product by the fastest route on a CPU: into memory that is there, or as matrix times vector.

On a GPU, and for modules that are more than a weight and a bias, the module's own forward runs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sliminfer.ops.compat import forward_hooks, has_amx
from sliminfer.ops.workspace import Workspace

# Below this many rows a buffer that outlives the call gains nothing.
_REUSE_FROM = 128


def is_plain(module: Any) -> bool:
    """Whether `module` is a stock linear layer that nothing is attached to, and its weight a stock tensor.

    Quantised weights come as other modules (bitsandbytes, GPTQ, AWQ, fp8), or as a tensor of another type in a stock
    one (torchao): those compute as only they know.
    """
    if type(module) is not nn.Linear or type(module.weight) is not nn.Parameter:
        return False
    return "forward" not in vars(module) and not any(forward_hooks(module))


def linear(module: Any, x: Tensor, workspace: Workspace | None = None, name: str = "") -> Tensor:
    """`module(x)`, to the rounding of one bf16 sum where `x` is one row in bf16, with the same bits otherwise.

    Args:
        module: a linear module, `[columns]` to `[width]`.
        x: `[..., columns]`.
        workspace: where given, the result of many rows lies in its buffer `name`, until it is asked for again.

    Returns:
        `[..., width]`.
    """
    if not x.is_cpu or not is_plain(module):
        result: Tensor = module(x)
        return result
    weight, bias = module.weight, module.bias
    rows = x.numel() // x.shape[-1]
    if rows == 1 and x.dtype is torch.bfloat16 and vectors_pay():
        row = x.reshape(-1)
        single = torch.mv(weight, row) if bias is None else torch.addmv(bias, weight, row)
        return single.view(*x.shape[:-1], -1)
    if workspace is None or rows < _REUSE_FROM:
        return F.linear(x, weight, bias)
    out, flat = workspace.take(name, rows, len(weight), x.dtype), x.reshape(rows, -1)
    if bias is None:
        torch.mm(flat, weight.t(), out=out)
    else:
        torch.addmm(bias, flat, weight.t(), out=out)
    return out.view(*x.shape[:-1], -1)


def vectors_pay() -> bool:
    """Whether this CPU reads bf16 weights faster as matrix times vector than as a product of one row.

    Torch sends the former to a kernel of its own, the latter to oneDNN. On two cores of an Intel Xeon with AMX
    4,864 x 896 weights from memory take 0.42 and 0.70 ms, a head of 151,936 x 896 10.1 and 15.2. On one and two of an
    AMD EPYC without AMX they take 1.15 and 0.53, and 0.53 and 0.37 ms.
    """
    return has_amx()
