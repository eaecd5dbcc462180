"""flash-attn for one GPU generation, from its source package and without a network, in minutes instead of an hour.

    python benchmarks/flash_attn_build.py SOURCE FOLDER

SOURCE is the package's source archive (benchmarks/flash_attn.sh fetches it), FOLDER becomes what PYTHONPATH names.
Of the 73 files that the package compiles 9 are: the forward kernels for heads of up to 64 and 128 in bf16, causal or
not, split over the keys or not. Gradients, fp16, other heads, dropout, ALiBi and soft caps are left out; asking for one
of them is an error, but for the last three, which nothing here asks for.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

HEADS = (64, 128)
LEFT_OUT = ("BACKWARD", "DROPOUT", "ALIBI", "SOFTCAP")
# The package's own switches for nvcc.
CUDA_FLAGS = [
    "-O3",
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-U__CUDA_NO_HALF2_OPERATORS__",
    "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
    "--expt-relaxed-constexpr",
    "--expt-extended-lambda",
    "--use_fast_math",
    *(f"-DFLASHATTENTION_DISABLE_{name}" for name in LEFT_OUT),
]


def unpack(source: Path, folder: Path) -> Path:
    """The tree of the archive `source`, in `folder`."""
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


def trim(tree: Path) -> list[Path]:
    """Leave everything but `HEADS` in bf16 out of what chooses a kernel; returns the files to compile.

    Raises:
        ValueError: the source is of another form than that of 2.8.3.
    """
    csrc = tree / "csrc" / "flash_attn"
    api, switches = csrc / "flash_api.cpp", csrc / "src" / "static_switch.h"
    _replace(api, r"\n *run_mha_bwd_<elem_type, kHeadDim, Is_causal>\(params, stream\);", "")
    _replace(switches, r"#define FP16_SWITCH\(.*?\n  \}\(\)\n", _macro("FP16_SWITCH(COND, ...)", _bf16()))
    _replace(switches, r"#define HEADDIM_SWITCH\(.*?\n  \}\(\)\n", _macro("HEADDIM_SWITCH(HEADDIM, ...)", _heads()))
    kernels = [
        csrc / "src" / f"flash_{kind}_hdim{heads}_bf16{causal}_sm80.cu"
        for kind in ("fwd", "fwd_split")
        for heads in HEADS
        for causal in ("", "_causal")
    ]
    missing = [kernel.name for kernel in kernels if not kernel.is_file()]
    if missing:
        raise ValueError(f"The source has no {missing[0]}: take the archive of flash-attn 2.8.3.")
    return [api, *kernels]


def _bf16() -> list[str]:
    return [
        'TORCH_CHECK(!(COND), "flash-attn was built for bf16 alone.");',
        "using elem_type = cutlass::bfloat16_t;",
        "return __VA_ARGS__();",
    ]


def _heads() -> list[str]:
    lines = []
    for heads in HEADS:
        chosen = f"constexpr static int kHeadDim = {heads};"
        lines += [f"if (HEADDIM <= {heads}) {{", chosen, "return __VA_ARGS__();", "}"]
    return [*lines, 'TORCH_CHECK(false, "flash-attn was built for heads of up to 128.");']


def _macro(name: str, lines: Sequence[str]) -> str:
    return " \\\n".join([f"#define {name}", "  [&] {", *(f"    {line}" for line in lines), "  }()"]) + "\n"


def _replace(file: Path, pattern: str, by: str) -> None:
    text, count = re.subn(pattern, lambda _: by, file.read_text(), flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"{file.name} is of another form than in flash-attn 2.8.3: take that archive.")
    file.write_text(text)


def place(tree: Path, folder: Path) -> str:
    """The package's Python part in `folder`, with what says that it is installed; returns its version."""
    shutil.copytree(tree / "flash_attn", folder / "flash_attn", dirs_exist_ok=True)
    found = re.search(r'__version__ = "([^"]+)"', (tree / "flash_attn" / "__init__.py").read_text())
    if found is None:
        raise ValueError("The source names no version: take the archive of flash-attn 2.8.3.")
    version = found.group(1)
    told = folder / f"flash_attn-{version}.dist-info"
    told.mkdir(exist_ok=True)
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: flash-attn\nVersion: {version}\n")
    (told / "top_level.txt").write_text("flash_attn\nflash_attn_2_cuda\n")
    (told / "RECORD").write_text("flash_attn/__init__.py,,\n")
    return version


def build(tree: Path, sources: Sequence[Path], folder: Path) -> None:
    """Compile `sources` into `folder`/flash_attn_2_cuda.so for the generation of this machine's GPU."""
    import torch
    from torch.utils.cpp_extension import load

    major, minor = torch.cuda.get_device_capability()
    os.environ["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
    os.environ.setdefault("MAX_JOBS", str(os.cpu_count()))
    csrc = tree / "csrc"
    load(
        "flash_attn_2_cuda",
        [str(source) for source in sources],
        extra_cflags=["-O3", *(flag for flag in CUDA_FLAGS if flag.startswith("-DFLASH"))],
        extra_cuda_cflags=CUDA_FLAGS,
        extra_include_paths=[str(csrc / "flash_attn"), str(csrc / "flash_attn" / "src"), str(csrc / "cutlass/include")],
        build_directory=str(folder),
        verbose=True,
    )


def main() -> None:
    """Build and say where."""
    source, folder = map(Path, sys.argv[1:3])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        tree = unpack(source, Path(scratch))
        sources = trim(tree)
        version = place(tree, folder)
        build(tree, sources, folder)
    print(f"flash-attn {version} is in {folder}: set PYTHONPATH={folder}")


if __name__ == "__main__":
    main()
