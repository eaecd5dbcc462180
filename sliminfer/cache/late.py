"""A few values on their way from a device to the host, which goes on meanwhile."""

from __future__ import annotations

import torch
from torch import Tensor


class Late:
    """The values of a small tensor as they are when the device comes to this point of what it was given."""

    def __init__(self, values: Tensor) -> None:
        self._host, self._arrived = values, None
        if values.is_cuda:
            self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._host.copy_(values, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(values.device))

    def read(self) -> Tensor:
        """The values on the host, once they are there; what the device was given later is not waited for."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host
