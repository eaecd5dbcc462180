"""One process of a job under `accelerate launch`: evaluates a tiny model; may die on the way.

usage: worker.py FOLDER FILLER [DYING_RANK]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sliminfer.engine.engine import SlimEngine
from sliminfer.evaluate.catalogue import Sources, find_suites
from sliminfer.evaluate.evaluate import Variant, evaluate, work_list
from sliminfer.evaluate.records import Record, RecordStore
from sliminfer.evaluate.shards import Shard
from sliminfer.schedule.config import PruneStep, SlimConfig
from tests.tiny import tiny_loaded

VARIANT = Variant("half", SlimConfig(steps=(PruneStep(2, 0.5),), block_size=16, local=16))


def measure(folder: Path, filler: Path, dying_rank: int | None = None) -> list[Record]:
    """The records of four examples; the process ends without a word after its first if it is to die."""
    shard = Shard.of_environment()
    engine = SlimEngine(tiny_loaded())
    suites = find_suites("needle", Sources(engine.loaded.tokenizer, 0, filler, longest=768))

    def advance(record: Record) -> None:
        if shard.rank == dying_rank and record.variant == "full":
            os._exit(9)

    store = RecordStore(folder / "r.json", {"model": "tiny"}, shard.rank)
    return evaluate(engine, work_list(suites, {640: [VARIANT]}, 4), store, shard, advance)


if __name__ == "__main__":
    found = measure(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
    rank = os.environ["RANK"]
    (Path(sys.argv[1]) / f"seen-{rank}.txt").write_text("\n".join(f"{r.key} {r.text!r}" for r in found))
