"""The Triton kernels, importable as `sliminfer.kernels.<op>`; their source is the top-level `kernels/`.

A wheel carries them inside this package.

The top-level folder must not be a package itself: transformers probes for the Hub package `kernels`,
and a local package of that name on `sys.path` breaks `import transformers`.
"""

from pathlib import Path

_here = Path(__file__).resolve().parent
# Where they are installed, the `kernels/` two folders up would be the Hub's package.
if not (_here / "rope.py").is_file():
    __path__.append(str(_here.parents[1] / "kernels"))
