"""A document read once for all its questions gives the records that it gives read anew each time."""

from __future__ import annotations

from pathlib import Path

from sliminfer.engine.engine import SlimEngine
from sliminfer.evaluate.evaluate import Variant, evaluate, work_list
from sliminfer.evaluate.read_once import ReadOnce
from sliminfer.evaluate.records import Record, RecordStore
from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.tasks.items import EvalItem, EvalSuite

VARIANTS = [
    Variant("half", SlimConfig((PruneStep(2, 0.5),), block_size=8, local=8)),
    Variant("twice", SlimConfig((PruneStep(2, 0.4), PruneStep(4, 0.2)), block_size=8, local=8)),
    Variant("gemfilter", SlimConfig((PruneStep(3, 0.5),), method="gemfilter", local=8)),
]
QUESTIONS = ("When was the lamp lit?", "Who came?", "Which tower is it?")


class InTurns(EvalSuite):
    """Three questions about each of two documents, the documents in turns."""

    name = "in turns"

    def size(self, wanted: int) -> int:
        return min(wanted, 2 * len(QUESTIONS))

    def item(self, context: int, index: int) -> EvalItem:
        lines = (f"On day {day} the lamp of tower {index % 2} was lit at {day % 12}. " for day in range(context // 20))
        return EvalItem(
            self.name, context, index, "".join(lines), QUESTIONS[index // 2], ("t",), lambda reply: "t" in reply, (), 4
        )


def test_records_are_the_same_and_tokens_are_saved(engine: SlimEngine, tmp_path: Path) -> None:
    work = work_list([InTurns()], {400: VARIANTS}, examples=6)

    def run(folder: str, read_once: ReadOnce | None) -> list[Record]:
        (tmp_path / folder).mkdir()
        return evaluate(engine, work, RecordStore(tmp_path / folder / "r.json", {}), read_once=read_once)

    reads = ReadOnce(engine)
    through, afresh = run("through", reads), run("afresh", None)
    assert len(through) == len(afresh) == 6 * 4
    for one, other in zip(through, afresh, strict=True):
        assert one.error is None
        for name in ("variant", "text", "score", "agreement", "prompt_tokens", "kv_ratio"):
            assert getattr(one, name) == getattr(other, name)
        assert abs(one.first_token_kl - other.first_token_kl) < 1e-4
    # Of 18 runs that a reading can answer, the full side's and the two variants', which share one, read each document.
    figures = reads.to_dict()
    assert figures["tokens_saved"] > 2 * figures["tokens_read"]
    assert figures["saved_s"] > 0
