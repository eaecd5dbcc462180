"""The Triton kernels, importable as `sliminfer.kernels.<op>`; their source is the top-level `kernels/`.

The top-level folder must not be a package itself: transformers probes for the Hub package `kernels`,
and a local package of that name on `sys.path` breaks `import transformers`.
"""

from pathlib import Path

_source = Path(__file__).resolve().parents[2] / "kernels"
if _source.is_dir():
    __path__.append(str(_source))
