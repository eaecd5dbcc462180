"""Times sparse reading: the whole prefill and attention alone, where it begins to pay, and by which kernel.

    python benchmarks/sparse_reading.py attention --json attention.json
    python -m sliminfer bench --shape llama-3.1-8b --lengths 32768,131072 --preset balanced,aggressive \\
        --reading-share 0.12 --rounds 5 --json reading.json

The first times, for one layer (`--heads 32 --kv-heads 8 --dim 128`), dense attention by torch, choosing blocks, our
attention over them, and on a GPU FlexAttention over the same blocks, at every length and share; `from_tokens` in the
result is the first length from which choosing and attending together are faster than dense attention, which is the
default to set in `sliminfer/schedule/reading.py`. It needs torch alone, and triton on a GPU. The second is the issue's
measurement: each schedule with dense and with sparse reading, and sparse reading alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
import torch.nn.functional as F
from torch import Tensor

from sliminfer.model.attention import cudnn_where_it_pays
from sliminfer.ops import dispatch as ops
from sliminfer.ops.row_attention import row_attention, runs_by_rows
from sliminfer.ops.workspace import Workspace
from sliminfer.schedule.blocks import BlockMap
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.reading import Grid, SparseReading
from sliminfer.sparse.reader import SparseReader


def seconds(call: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Median seconds of `call`, after one that counts for nothing."""
    found = []
    for turn in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn:
            found.append(time.perf_counter() - start)
    return statistics.median(found)


def flex(query: Tensor, keys: Tensor, values: Tensor, table: Tensor, block: int) -> Callable[[], Any]:
    """FlexAttention over the blocks of `table`, compiled once for all lengths."""
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    wide = table.repeat_interleave(len(query) // len(table), 0)[None]
    own = torch.eye(wide.shape[-1], dtype=torch.bool, device=wide.device)
    lists = []
    for part in (wide & own, wide & ~own):  # partly masked, whole
        order = part.logical_not().to(torch.int8).argsort(dim=-1, stable=True)
        lists += [part.sum(-1, dtype=torch.int32), order.int()]

    def causal(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return q >= k

    mask = BlockMask.from_kv_blocks(*lists, BLOCK_SIZE=block, mask_mod=causal)
    run: Any = torch.compile(flex_attention, dynamic=True)
    return lambda: run(query[None], keys[None], values[None], block_mask=mask, enable_gqa=True)


def dense(query: Tensor, keys: Tensor, values: Tensor, workspace: Workspace) -> Callable[[], Any]:
    """Dense causal attention as the engine runs it."""
    if runs_by_rows(query[None], keys[None]):
        return lambda: row_attention(query, keys, values, query.shape[-1] ** -0.5, workspace)

    batch = query[None], keys[None], values[None]

    def run() -> Tensor:
        with cudnn_where_it_pays(query[None], keys[None], 32):
            return F.scaled_dot_product_attention(*batch, is_causal=True, enable_gqa=True)

    return run


@torch.inference_mode()
def measure(arguments: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> list[dict[str, Any]]:
    """A row for each length and share, times in seconds."""
    timed = partial(seconds, repeats=arguments.repeats, device=device)
    rows = []
    for tokens in map(int, arguments.lengths.split(",")):
        torch.manual_seed(0)
        query, keys, values = (
            torch.randn(tokens, heads, arguments.dim, device=device, dtype=dtype).transpose(0, 1)
            for heads in (arguments.heads, arguments.kv_heads, arguments.kv_heads)
        )
        scale, workspace = arguments.dim**-0.5, Workspace()
        dense_s = timed(dense(query, keys, values, workspace))
        for share in map(float, arguments.shares.split(",")):
            reading = SparseReading(
                arguments.chooser, share=share, block=arguments.block, heads=arguments.choose
            )
            asking = BlockMap.of(tokens, SlimConfig(), (tokens - 32, tokens))
            reader = SparseReader(reading, Grid.of(reading, asking))
            table = reader.choose(query, keys, scale)
            row: dict[str, Any] = {
                "tokens": tokens,
                "share": share,
                "blocks_read": float(table.sum() / len(table)) / reader.grid.causal,
                "dense_s": dense_s,
                "choose_s": timed(partial(reader.choose, query, keys, scale)),
                "sparse_s": timed(partial(ops.sparse_attention, query, keys, values, table, arguments.block, scale)),
                "ran": ops.kernels_ran().get("sparse_attention"),
            }
            if device.type == "cuda" and tokens % arguments.block == 0:
                try:
                    row["flex_s"] = timed(flex(query, keys, values, table, arguments.block))
                except Exception as error:  # a yardstick: without it the rest is worth as much
                    print(f"FlexAttention does not run here: {str(error)[:200]}", file=sys.stderr)
            row["speedup"] = dense_s / (row["choose_s"] + row["sparse_s"])
            print({name: round(value, 5) if isinstance(value, float) else value for name, value in row.items()})
            rows.append(row)
    return rows


def pays_from(rows: list[dict[str, Any]]) -> dict[str, int | None]:
    """For each share, the first length from which sparse reading is faster at every longer one as well."""
    found: dict[str, int | None] = {}
    for share in sorted({row["share"] for row in rows}):
        own = sorted((row for row in rows if row["share"] == share), key=lambda row: -row["tokens"])
        faster = []
        for row in own:
            if row["speedup"] <= 1.0:
                break
            faster.append(row["tokens"])
        found[f"{share:g}"] = min(faster, default=None)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("attention",))
    parser.add_argument("--lengths", default="2048,4096,8192,16384,32768,65536,131072")
    parser.add_argument("--shares", default="0.06,0.12,0.25,0.5")
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--kv-heads", type=int, default=8)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--chooser", default="pooled")
    parser.add_argument("--choose", default="group", help="each, group or all: who chooses together")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = measure(arguments, device, torch.bfloat16)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    data = {"device": name, "torch": torch.__version__, "threads": arguments.threads, "from_tokens": pays_from(rows)}
    settings = {key: str(value) for key, value in vars(arguments).items()}
    print(json.dumps(data))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({**data, "settings": settings, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
