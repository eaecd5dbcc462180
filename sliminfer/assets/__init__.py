"""The door to the files that ship with the project: the demo model, examples, styles, scripts, stored results.

A wheel carries them inside this package; in a checkout they are the top-level `assets/`.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

_HERE = Path(str(files(__name__)))
_INSTALLED = (_HERE / "demo_model").is_dir()
_CHECKOUT = _HERE.parents[1]

ASSETS = _HERE if _INSTALLED else _CHECKOUT / "assets"
SPACEFILE = (_HERE if _INSTALLED else _CHECKOUT) / "Spacefile"
