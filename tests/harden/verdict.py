"""How every harden script ends: one line of JSON, and an exit code."""

from __future__ import annotations

import json
from typing import Any


def summarise(name: str, figures: dict[str, Any], faults: list[str]) -> int:
    """Print the verdict of script `name`: its figures and its first faults; 1 where there are any, else 0."""
    print(json.dumps({"script": name, **figures, "faults": faults[:10], "passed": not faults}))
    return 1 if faults else 0
