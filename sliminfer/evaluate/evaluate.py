"""Accuracy and cost of pruning variants against the full model, example by example."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache

from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Event, Failed, Finished, Side
from sliminfer.engine.metrics import Comparison, RunMetrics
from sliminfer.engine.request import PromptRequest, Pruning, Sampling, in_tokens
from sliminfer.evaluate.provenance import commit, hardware
from sliminfer.evaluate.read_once import ReadOnce
from sliminfer.evaluate.records import FULL, Record, RecordStore, run_key
from sliminfer.evaluate.shards import Shard
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.tasks.items import EvalItem, EvalSuite


@dataclass(frozen=True)
class Variant:
    """One way of pruning that is held against the full model.

    Attributes:
        label: its name in results, unique among the variants of a run.
        config: what it does.
        target: the FLOP speed-up that its config was solved for, if any.
    """

    label: str
    config: SlimConfig
    target: float | None = None

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of the config."""
        text = json.dumps(self.config.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Origin:
    """The code and the device that a record comes from."""

    commit: str | None
    hardware: str


@dataclass(frozen=True)
class Work:
    """One example to run: item `index` of `suite` at `context`, on the full model and under `variants`."""

    suite: EvalSuite
    context: int
    index: int
    variants: tuple[Variant, ...]

    @property
    def keys(self) -> list[str]:
        """The keys of its records, the full model's first."""
        names = [(FULL, ""), *((variant.label, variant.digest) for variant in self.variants)]
        return [run_key(self.suite.name, self.context, self.index, *name) for name in names]

    def missing(self, store: RecordStore) -> set[str]:
        """Those of its keys that `store` does not hold."""
        return {key for key in self.keys if key not in store.records}


def work_list(
    suites: Sequence[EvalSuite], variants: Mapping[int, Sequence[Variant]], examples: int, first: int = 0
) -> list[Work]:
    """Examples `first` to `examples - 1` of each of `suites` at the contexts of `variants`.

    A beginning of the list is a fair sample of it. What a suite leaves out at a context is not in it.
    """
    return [
        Work(suite, context, index, tuple(here))
        for index in range(first, examples)
        for context, here in variants.items()
        for suite in suites
        if index < suite.size(examples) and not suite.why_not(context, index)
    ]


def evaluate(
    engine: SlimEngine,
    work: Sequence[Work],
    store: RecordStore,
    shard: Shard | None = None,
    advance: Callable[[Record], None] | None = None,
    read_once: ReadOnce | None = None,
) -> list[Record]:
    """Run all of `work` that `store` does not hold yet; returns the records of exactly this work.

    The full model runs once for each example that has anything left to do, and each variant after it on the
    same prompt. With several processes each does its share and all get all records.

    Args:
        engine: runs the model; warmed up by the caller.
        work: from `work_list`; the same in all processes.
        store: where finished runs are kept.
        shard: this process's share; the whole work by default.
        advance: called after each run of this process.
        read_once: what runs the prompts, so that a document is read once for its questions; afresh by default.

    Raises:
        SlimError: an example cannot be made or does not fit the model.
    """
    shard = shard or Shard()
    share(store, shard)
    failed: list[Record] = []
    try:
        for each in shard.mine([each for each in work if each.missing(store)]):
            for record in run_work(engine, each, each.missing(store), read_once):
                store.add(record)
                if record.error is not None:
                    failed.append(record)
                if advance is not None:
                    advance(record)
    finally:
        store.close()
    share(store, shard)
    lost = [record for found in shard.everyone(failed) for record in found]
    wanted = [key for each in work for key in each.keys]
    return [store.records[key] for key in wanted if key in store.records] + lost


def share(store: RecordStore, shard: Shard) -> None:
    """Give every process the records of all; each host may have seen only its own files."""
    for found in shard.everyone(list(store.records.values())):
        store.merge(found)


def runs_left(work: Sequence[Work], store: RecordStore, shard: Shard) -> int:
    """How many runs this process has before it; all processes must hold the same records."""
    return sum(len(each.missing(store)) for each in shard.mine([each for each in work if each.missing(store)]))


def run_work(
    engine: SlimEngine, work: Work, missing: set[str], read_once: ReadOnce | None = None
) -> Iterator[Record]:
    """Records of one example for the full model and the variants whose keys are `missing`."""
    item = work.suite.item(work.context, work.index)
    origin = Origin(_commit(), hardware(engine.loaded))
    asked = item_request(engine, item)

    def run(asked: PromptRequest, side: Side) -> Finished | str:
        if read_once is None:
            return _end(engine.run(asked, side))
        return _end(read_once.run((work.suite.name, work.context), asked, side))

    full = run(asked, "full")
    for key, variant in zip(work.keys, (None, *work.variants), strict=True):
        if key in missing:
            found = full if variant is None else run(asked.under(variant.config), "pruned")
            yield _record(item, asked, variant, found, full, origin)


def item_request(engine: SlimEngine, item: EvalItem) -> PromptRequest:
    """What `item` asks of the engine's model, in its own prompt format; raises SlimError where it cannot."""
    prompt = item.prompt(engine.loaded.tokenizer)
    return PromptRequest(prompt, Sampling(item.max_new_tokens), Pruning(evidence=in_tokens(prompt, item.evidence)))


def evidence_kept(evidence: Sequence[Span], metrics: RunMetrics) -> tuple[float, ...]:
    """Share of the tokens of `evidence` that pass each prune step; empty where no evidence is known."""
    wanted = {i for span in evidence for i in range(*span)}
    if not wanted:
        return ()
    return tuple(
        sum(sum(start <= i < end for i in wanted) for start, end in kept.ranges) / len(wanted) for kept in metrics.kept
    )


def _end(events: Iterator[Event]) -> Finished | str:
    """The last event of a run, or why it failed."""
    last = None
    for event in events:
        last = event
    if isinstance(last, Finished):
        return last
    return last.message if isinstance(last, Failed) else "The run ended early: start it again."


def _record(
    item: EvalItem,
    asked: PromptRequest,
    variant: Variant | None,
    run: Finished | str,
    full: Finished | str,
    origin: Origin,
) -> Record:
    label, digest = (FULL, "") if variant is None else (variant.label, variant.digest)
    if isinstance(run, str) or isinstance(full, str):
        error = full if isinstance(full, str) else str(run)
        return Record(item.suite, item.context, item.index, label, digest, error=error, **asdict(origin))
    metrics = run.metrics
    against = Comparison.of(full.metrics, metrics)
    return Record(
        suite=item.suite,
        context=item.context,
        index=item.index,
        variant=label,
        digest=digest,
        text=run.text,
        prompt_tokens=metrics.prompt_tokens,
        new_tokens=metrics.new_tokens,
        score=item.score(run.text),
        ttft_s=metrics.ttft_s,
        decode_tokens_per_s=metrics.decode_tokens_per_s,
        prompt_kv_bytes=metrics.prompt_kv.total_device,
        peak_bytes=metrics.peak_bytes,
        prefill_flops=metrics.prefill_flops,
        ttft_speedup=against.ttft,
        flop_speedup=against.ttft_flops,
        kv_ratio=against.kv_bytes,
        first_token_kl=against.first_token_kl,
        agreement=against.agreement,
        evidence_kept=evidence_kept(asked.pruning.evidence, metrics),
        **asdict(origin),
    )


_commit = cache(commit)
