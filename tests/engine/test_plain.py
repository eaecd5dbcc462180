"""Whatever a result holds becomes JSON that every reader accepts."""

from __future__ import annotations

import json
import math
from types import MappingProxyType

import numpy as np
import torch

from sliminfer.engine.plain import plain


def test_arrays_tensors_and_what_is_not_finite() -> None:
    data = {
        "array": np.array([[1.0, np.nan], [np.inf, 2.0]], np.float32),
        "number": np.float64("nan"),
        "tensor": torch.tensor([1, 2]),
        "single": torch.tensor(-math.inf),
        "nested": MappingProxyType({3: (math.nan, "text", None, True)}),
    }
    expected = {
        "array": [[1.0, None], [None, 2.0]],
        "number": None,
        "tensor": [1, 2],
        "single": None,
        "nested": {"3": [None, "text", None, True]},
    }
    assert plain(data) == expected
    assert json.loads(json.dumps(plain(data), allow_nan=False)) == expected
