"""Compiles every kernel for one GPU generation, without a GPU, and prints what the assembler made of it.

A script of its own, run as `python compile_kernels.py 90`, because a process that interprets Triton cannot
compile it. Prints one JSON list: kernel, case, shared memory in bytes, registers, spill bytes and which
matrix instructions the machine code holds, and how wide its widest load from global memory is.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from sliminfer.kernels import (  # noqa: E402
    block_scores,
    choose_blocks,
    decode_attention,
    kept_attention,
    load_blocks,
    rms_norm_residual,
    rope,
    sparse_attention,
    swiglu,
    take_rows,
    unit_keys,
)

TYPES = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32"}
OPTIONS = ("num_warps", "num_stages")
Case = tuple[str, str, Any, dict[str, Any], dict[str, str]]


def cases(capability: int) -> Iterator[Case]:
    """(kernel, case, function, compile-time values, pointer types that differ from the tensors' type).

    Every launch configuration that models in bf16 and fp32 lead to on `capability`, with the widest shape it serves.
    """
    lists = {"list_ptr": "*i32", "count_ptr": "*i32"}
    stats = {"best_ptr": "*fp32", "mass_ptr": "*fp32", "total_ptr": "*fp32", "block_ptr": "*i64", "row_ptr": "*i64"}
    for dtype, norms, ropes, dims, windows in (
        (torch.bfloat16, ((128, False), (896, True), (4096, True), (8192, True)), ((14, 32), (32, 64)), (64, 128),
         (7, 28, 256)),
        (torch.float32, ((4096, True),), ((32, 64),), (128,), (256,)),
    ):  # fmt: skip
        name = str(dtype).removeprefix("torch.")
        for columns, add in norms:
            config = {**rms_norm_residual.launch_config(columns), "ADD": add, "dtype": dtype}
            yield "rms_norm", f"{name} {columns} add={add}", rms_norm_residual.rms_norm_kernel, config, {}
            config = {**take_rows.launch_config(columns, 128), "dtype": dtype}
            yield "take_rows", f"{name} {columns}", take_rows.take_kernel, config, {"index_ptr": "*i64"}
        for heads, half in ropes:
            config = {**rope.launch_config(heads, half), "dtype": dtype}
            yield "rope", f"{name} {heads}x{half}", rope.rope_kernel, config, {}
        yield "swiglu", name, swiglu.swiglu_kernel, {**swiglu.launch_config(), "dtype": dtype}, {}
        for dim in dims:
            config = {**unit_keys.launch_config(dim), "dtype": dtype}
            yield "unit_keys", f"{name} {dim}", unit_keys.unit_keys_kernel, config, {}
            config = {**decode_attention.launch_config(7, dim, dtype), "dtype": dtype}
            yield "decode_split", f"{name} {dim}", decode_attention.split_kernel, config, stats
            config = {**decode_attention.merge_config(64, dim), "dtype": dtype}
            yield "decode_merge", f"{name} {dim}", decode_attention.merge_kernel, config, stats
            for block in (64, 128) if dim == 128 and dtype == torch.bfloat16 else (128,):
                config = {**sparse_attention.launch_config(block, dim, dtype, capability), "dtype": dtype}
                yield "sparse", f"{name} {dim} blocks of {block}", sparse_attention.sparse_kernel, config, lists
            config = {**kept_attention.append_config(dim // 2, dim), "dtype": dtype}
            yield "row_append", f"{name} {dim}", kept_attention.append_kernel, config, stats
            config = {**decode_attention.launch_config(7, dim, dtype), "dtype": dtype}
            yield "row_split", f"{name} {dim}", kept_attention.row_split_kernel, config, stats
            config = {**kept_attention.row_merge_config(dim, int(config["TILE"])), "dtype": dtype}
            yield "row_merge", f"{name} {dim}", kept_attention.row_merge_kernel, config, stats
        for rows in windows:
            causal = rows > 7  # one decoded query sees every unit
            config = {**block_scores.launch_config(rows, 128, dtype), "CAUSAL": causal, "dtype": dtype}
            yield "block_mass", f"{name} {rows} rows", block_scores.mass_kernel, config, stats
            for mean in (False, True):
                case = {**config, "MEAN": mean, "SPLITS": 32}
                types = {**stats, "out_ptr": "*fp32" if mean else "*i32"}
                yield "block_score", f"{name} {rows} rows mean={mean}", block_scores.score_kernel, case, types


    for blocks in (128, choose_blocks.MOST_BLOCKS):
        config = {**choose_blocks.launch_config(blocks, 32, 15), "dtype": torch.float32}
        ids = {"alive_ptr": "*i64", "marks_ptr": "*i32", "kept_ptr": "*i64", "positions_ptr": "*i64"}
        yield "choose_blocks", f"float32 {blocks}", choose_blocks.choose_kernel, config, ids
    config = {**load_blocks.launch_config(), "dtype": torch.float32}
    yield "load_blocks", "words", load_blocks.load_kernel, config, {"store_ptr": "*i64", "table_ptr": "*i64"}


def compile_case(function: Any, values: dict[str, Any], types: dict[str, str], capability: int) -> Any:
    """The kernel as `capability` would run it, with pointers and strides aligned as real tensors have them."""
    values = dict(values)
    dtype = values.pop("dtype")
    options = {key: values.pop(key) for key in OPTIONS}
    loose = set(function.do_not_specialize or ())
    signature, attributes = {}, {}
    for index, name in enumerate(function.arg_names):
        if name in values:
            signature[name] = "constexpr"
        elif name.endswith("_ptr"):
            signature[name] = types.get(name, TYPES[dtype])
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif name in ("eps", "scale_log2", "carry", "ahead", "behind"):
            signature[name] = "fp32"
        else:
            signature[name] = "i32"
            if name not in loose and (name.endswith("stride") or name in ("columns", "head_dim", "half")):
                attributes[(index,)] = [["tt.divisibility", 16]]
    constants = {(function.arg_names.index(key),): value for key, value in values.items()}
    source = ASTSource(fn=function, signature=signature, constexprs=constants, attrs=attributes)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def tool(name: str) -> str:
    """A CUDA binary tool that comes with Triton."""
    return str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name)


def inspect(kernel: Any) -> dict[str, Any]:
    """Registers, spills, matrix instructions and the widest load in bits in the machine code of a compiled kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        run: Callable[..., str] = lambda *command: subprocess.run(  # noqa: E731
            command, capture_output=True, text=True, check=True
        ).stdout
        usage = run(tool("cuobjdump"), "-res-usage", file.name)
        code = run(tool("nvdisasm"), "-c", file.name)
    counted = {key.lower(): int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    return {
        "shared": kernel.metadata.shared,
        "registers": counted["reg"],
        "spilled": len(re.findall(r"\b(?:STL|LDL)\b", code)),
        "stack": counted["stack"],
        "matrix": sorted(set(re.findall(r"\b(HGMMA|HMMA)\b", code))),
        "widest": max(map(int, re.findall(r"\b(?:LDG|LDGSTS)\S*\.(64|128)\b", code)), default=32),
    }


def main() -> None:
    capability = int(sys.argv[1])
    found = []
    for kernel, case, function, values, types in cases(capability):
        compiled = compile_case(function, values, types, capability)
        found.append({"kernel": kernel, "case": case, **inspect(compiled)})
    print(json.dumps(found))


if __name__ == "__main__":
    main()
