"""SlimInfer Studio: `python app.py` serves the page on this machine; `python app.py --help` for the rest."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):  # on a ZeroGPU Space it must come before anything that touches CUDA
    import spaces  # noqa: F401

from viz.page.start import run

if __name__ == "__main__":
    run()
