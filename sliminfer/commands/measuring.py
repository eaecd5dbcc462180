"""What `eval`, `sweep`, `ablate` and `tune` have in common: options, files of finished examples, the loop."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sliminfer.commands import options
from sliminfer.commands.result_table import show_table
from sliminfer.errors import ConfigError

if TYPE_CHECKING:
    from sliminfer.engine.engine import SlimEngine
    from sliminfer.evaluate.evaluate import Variant
    from sliminfer.evaluate.read_once import ReadOnce
    from sliminfer.evaluate.records import Record
    from sliminfer.evaluate.shards import Shard
    from sliminfer.model.prompts import Prompt
    from sliminfer.schedule.config import SlimConfig
    from sliminfer.tasks.items import EvalSuite

DATA = Path("data")

Suites = Annotated[
    str,
    typer.Option(
        "--suite",
        help="Comma-separated: needle, ..., planted, ruler, longbench, longbench-v2, real, FILE.jsonl.",
    ),
]
Contexts = Annotated[str, typer.Option("--context", help="Comma-separated prompt lengths in tokens: 4096,8192.")]
Examples = Annotated[int, typer.Option(help="Examples per suite and context.")]
Seed = Annotated[int, typer.Option(help="Seed of everything that is drawn.")]
FillerText = Annotated[
    Path | None,
    typer.Option("--filler", help="Text to plant facts in: .txt, .xz or a folder (default: the example documents)."),
]
Data = Annotated[Path, typer.Option(help="Folder with benchmark files, such as longbench/qasper.jsonl.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch missing benchmark files from the Hub into --data.")]
Result = Annotated[
    str | None,
    typer.Option("--json", help="Result file, or - for stdout; finished examples are kept beside it (default: runs/)."),
]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What every measuring command is asked by its options, under their names: which model, and what to ask it."""

    suite: str
    context: str
    examples: int
    seed: int
    model: str
    filler: Path | None
    data: Path
    download: bool
    device: str
    dtype: str
    attention: str
    packed: bool
    draft: str | None = None

    def result_path(self, json_option: str | None, kind: str, **compared: object) -> Path:
        """Where the result goes: as `--json` says, or a place in runs/ that the same options find again.

        `compared` are the options of the command `kind` that say what is compared.
        """
        if json_option not in (None, "-"):
            assert json_option is not None
            return Path(json_option)
        asked = asdict(self) | compared
        if self.draft is None:
            del asked["draft"]
        text = json.dumps(asked, sort_keys=True, default=str)
        return Path("runs") / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"


@dataclass(frozen=True)
class Job:
    """A model, what to ask it, and this process's part in it."""

    engine: SlimEngine
    suites: list[EvalSuite]
    contexts: list[int]
    examples: int
    seed: int
    shard: Shard
    filler: Path | None
    read_once: ReadOnce | None = None

    @property
    def seeing(self) -> tuple[int, ...] | None:
        """The model's layers that can choose, see `ModelShape.seeing`."""
        return self.engine.loaded.shape.seeing

    def first_prompt(self, context: int) -> Prompt:
        """The prompt of the first example at `context`, by whose length schedules are solved."""
        index = self.asked(context)[0]
        suite = next(each for each in self.suites if index < each.size(index + 1) and not each.why_not(context, index))
        return suite.item(context, index).prompt(self.engine.loaded.tokenizer)

    def asked(self, context: int) -> list[int]:
        """The indices at which some suite has an example at `context`, ascending, at least one."""
        from sliminfer.evaluate.left_out import asked

        return asked(self.suites, context, self.examples)


def prepare(asked: Asked) -> Job:
    """The job that the options name, with the model loaded and warm."""
    from sliminfer.engine.engine import SlimEngine
    from sliminfer.evaluate.catalogue import Sources, find_suites
    from sliminfer.evaluate.left_out import left_out
    from sliminfer.evaluate.shards import Shard

    contexts = whole_numbers(asked.context, "--context")
    if asked.examples < 1:
        raise ConfigError(f"{asked.examples} examples measure nothing: give at least 1.")
    shard = Shard.of_environment()
    loaded = options.load(asked.model, shard.device(asked.device), asked.dtype, asked.attention, asked.packed)
    sources = Sources(loaded.tokenizer, asked.seed, asked.filler, asked.data, asked.download, max(contexts))
    if asked.download and shard.local_rank > 0:
        shard.everyone(None)  # one process of each host fetches, the others read what it fetched
    suites = find_suites(asked.suite, sources)
    if asked.download and shard.local_rank == 0:
        shard.everyone(None)
    if max(contexts) > loaded.shape.context:
        raise ConfigError(
            f"{asked.model} reads at most {loaded.shape.context:,} tokens: choose a --context of at most that, not "
            f"{max(contexts):,}."
        )
    device = shard.device(asked.device)
    draft = None if asked.draft is None else options.load(asked.draft, device, asked.dtype, asked.attention)
    engine = SlimEngine(loaded, draft=draft)
    engine.warm_up()
    # Before each run the garbage is collected, for the sake of peak memory. What stays for good, most of it modules,
    # need not be looked through every time: 0.2 s a run.
    gc.freeze()
    job = Job(engine, suites, contexts, asked.examples, asked.seed, shard, asked.filler)
    if shard.first:
        for each in left_out(suites, contexts, asked.examples):
            print(each.sentence(), file=sys.stderr)
    for length in contexts:
        job.asked(length)
    return job


def solve(job: Job, label: str, config: SlimConfig, context: int, target: float) -> Variant | None:
    """`config` with its schedule solved for a FLOP speed-up on a prompt of the job at `context` tokens.

    None, and a word to the user, where it is out of reach.
    """
    from sliminfer.engine.request import PromptRequest
    from sliminfer.evaluate.evaluate import Variant

    ready = PromptRequest(job.first_prompt(context))
    try:
        solved = job.engine.at_budget(ready, config, target)
        return Variant(label, solved, target)
    except ConfigError as error:
        if job.shard.first:
            print(f"{label} is left out at {context:,} tokens. {error}", file=sys.stderr)
        return None


def measure(
    job: Job,
    variants: Mapping[int, Sequence[Variant]],
    result: Path,
    what: str,
    first: int = 0,
    end: int | None = None,
) -> list[Record]:
    """Run examples `first` to `end - 1` of the job under the variants of each context, with a progress bar.

    A Ctrl-C keeps what is done and says how to go on.
    """
    from sliminfer.commands.progress import progress_bar
    from sliminfer.evaluate.evaluate import evaluate, runs_left, share, work_list
    from sliminfer.evaluate.records import RecordStore

    work = work_list(job.suites, variants, job.examples if end is None else end, first)
    store = RecordStore(result, settings(job), job.shard.rank)
    share(store, job.shard)
    try:
        with progress_bar(runs_left(work, store, job.shard), what, shown=job.shard.first) as step:
            told = lambda r: step(f"{r.suite} {r.context:,} {r.variant}")  # noqa: E731
            return evaluate(job.engine, work, store, job.shard, told, job.read_once)
    except KeyboardInterrupt:
        if job.shard.first:
            print(
                f"Stopped with {len(store.records)} finished runs in {store.folder}/{store.stem}.examples-*.jsonl: "
                "the same command goes on from there.",
                file=sys.stderr,
            )
        raise typer.Exit(130) from None


def settings(job: Job) -> dict[str, Any]:
    """What all examples of one result share."""
    loaded = job.engine.loaded
    return {
        "model": loaded.name,
        "dtype": loaded.dtype_name,
        "seed": job.seed,
        "filler": str(job.filler) if job.filler else None,
        **({"read_once": True} if job.read_once else {}),
    } | ({"packed": True} if loaded.packed else {}) | ({"draft": drafts(job)} if drafts(job) else {})


def drafts(job: Job) -> str | None:
    """The name of the draft model, if one was loaded."""
    draft = job.engine.outside.draft
    return None if draft is None else draft.loaded.name


def whole_numbers(text: str, option: str) -> list[int]:
    """The positive whole numbers of a comma-separated list."""
    numbers = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        if not part.isdigit() or int(part) < 1:
            raise ConfigError(f"{option} has {part!r}: give positive whole numbers such as 4096,8192.")
        numbers.append(int(part))
    if not numbers:
        raise ConfigError(f"{option} is empty: give a number such as 4096.")
    return numbers


def result(job: Job, variants: Mapping[int, Sequence[Variant]], records: Sequence[Record]) -> dict[str, Any]:
    """The result file: where it comes from, what was compared, and a row per suite, context and variant."""
    from sliminfer.evaluate.left_out import left_out
    from sliminfer.evaluate.provenance import provenance
    from sliminfer.evaluate.summary import averages, summarise

    rows = summarise(records, variants)
    source = provenance(job.engine.loaded)
    return {
        "model": source["model"],
        **({"draft": drafts(job)} if drafts(job) else {}),
        "device": source["device"],
        "dtype": source["dtype"],
        "provenance": source,
        "commits": sorted({record.commit for record in records if record.commit}),
        "hardware": sorted({record.hardware for record in records if record.hardware}),
        "processes": job.shard.world,
        "suites": [suite.name for suite in job.suites],
        "contexts": job.contexts,
        "examples": job.examples,
        "left_out": [asdict(each) for each in left_out(job.suites, job.contexts, job.examples)],
        "seed": job.seed,
        **({"read_once": job.read_once.to_dict()} if job.read_once else {}),
        "filler": str(job.filler) if job.filler else "example documents",
        "variants": [
            {"variant": v.label, "context": context, "flops_target": v.target, "config": v.config.to_dict()}
            for context, here in variants.items()
            for v in here
        ],
        "results": rows,
        "averages": averages(rows),
    }


def finish(data: dict[str, Any], json_option: str | None, path: Path) -> None:
    """Write the result and, unless it goes to stdout, show it as a table."""
    if json_option == "-":
        options.write_json(data, "-")
        return
    options.write_json(data, str(path))
    show_table(data["results"])
    for row in data["averages"]:
        print(f"{row['variant']} at {row['context']:,}: average over {row['suites']} suites {row['accuracy']:.3f}")
    failed = sum(row["failed"] for row in data["results"])
    if failed:
        print(f"{failed} runs failed; the same command tries them again.", file=sys.stderr)
    print(f"Written to {path}.", file=sys.stderr)


def numbers(text: str, option: str) -> list[float]:
    """The numbers of a comma-separated list."""
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ConfigError(f"{option} is {text!r}: give numbers such as 1.5,2,3.") from error
