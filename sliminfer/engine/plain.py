"""Plain data: what every reader of JSON accepts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(data: Any) -> Any:
    """`data` with mappings as dicts and sequences, arrays and tensors as lists; NaN and infinity become None.

    Anything else is left as it is.
    """
    if isinstance(data, Mapping):
        return {str(key): plain(value) for key, value in data.items()}
    if hasattr(data, "tolist"):  # of numpy or torch, a single number too
        data = data.tolist()
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
