"""From the names in `--suite` to suites that can be asked for their items."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sliminfer.assets import ASSETS
from sliminfer.errors import ConfigError
from sliminfer.tasks.books import read_books, split_books
from sliminfer.tasks.downloads import fetch_longbench, fetch_longbench_v2
from sliminfer.tasks.example import SUITES
from sliminfer.tasks.filler import Filler
from sliminfer.tasks.items import EvalSuite
from sliminfer.tasks.jsonl import JsonlSuite
from sliminfer.tasks.longbench import LongBench2Suite, LongBenchSuite
from sliminfer.tasks.longbench_tasks import TASKS as LONGBENCH_TASKS
from sliminfer.tasks.planted import PlantedSuite
from sliminfer.tasks.real import RealSuite
from sliminfer.tasks.ruler import TASKS as RULER_TASKS
from sliminfer.tasks.ruler import RulerSuite

CHOICES = (
    f"planted (or {', '.join(SUITES)}), ruler (or ruler/{', ruler/'.join(RULER_TASKS)}), "
    "longbench (or longbench/TASK), longbench-v2, real, or a file that ends in .jsonl"
)
EXAMPLE_TEXTS = ASSETS / "examples"


@dataclass(frozen=True)
class Sources:
    """What suites are made from.

    Attributes:
        tokenizer: a fast transformers tokenizer, to measure lengths with.
        seed: of everything that is drawn.
        filler: text to plant facts in: a .txt or .xz file, a folder of .txt files, or None for the example
            documents. Of sixteen books or more only those held out of training are used.
        data: folder with benchmark files.
        download: whether missing ones are fetched from the Hub.
        longest: largest context to be asked for, in tokens.
    """

    tokenizer: Any
    seed: int = 0
    filler: Path | None = None
    data: Path = Path("data")
    download: bool = False
    longest: int = 4096

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length in tokens of each text."""
        if not texts:
            return []
        encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]


def find_suites(names: str, sources: Sources) -> list[EvalSuite]:
    """The suites that `names`, a comma-separated list, asks for, in that order and without repetition.

    Raises:
        ConfigError: an unknown name.
        SlimError: a file that a suite needs is missing or cannot be read.
    """
    wanted: dict[str, EvalSuite] = {}
    fillers: Fillers | None = None
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name in (*SUITES, "planted"):
            fillers = fillers or Fillers(sources)
            for planted in SUITES if name == "planted" else [each for each in SUITES if each == name]:
                wanted.setdefault(planted, PlantedSuite(planted, fillers, sources.seed))
        elif name == "ruler" or name.removeprefix("ruler/") in RULER_TASKS:
            fillers = fillers or Fillers(sources)
            for task in RULER_TASKS if name == "ruler" else [name.removeprefix("ruler/")]:
                suite = RulerSuite(task, fillers, sources.count_tokens, sources.seed)
                wanted.setdefault(suite.name, suite)
        elif name == "longbench" or name.removeprefix("longbench/") in LONGBENCH_TASKS:
            asked = list(LONGBENCH_TASKS) if name == "longbench" else [name.removeprefix("longbench/")]
            if sources.download and not all((sources.data / "longbench" / f"{task}.jsonl").is_file() for task in asked):
                fetch_longbench(sources.data)
            for task in asked:
                wanted.setdefault(f"longbench/{task}", LongBenchSuite(task, sources.data, sources.tokenizer))
        elif name == LongBench2Suite.name:
            if sources.download and not any(sources.data.glob("longbench-v2.json*")):
                fetch_longbench_v2(sources.data)
            wanted.setdefault(name, LongBench2Suite(sources.data, sources.tokenizer))
        elif name == RealSuite.name:
            wanted.setdefault(name, RealSuite(sources.data, sources.tokenizer))
        elif name.endswith(".jsonl"):
            wanted.setdefault(name, JsonlSuite(Path(name), sources.tokenizer))
        else:
            raise ConfigError(f"Unknown suite {name!r}: choose from {CHOICES}.")
    if not wanted:
        raise ConfigError(f"No suite is named: choose from {CHOICES}.")
    return list(wanted.values())


class Fillers(Sequence[Filler]):
    """The filler texts of `sources`, each cut and measured when it is first used."""

    def __init__(self, sources: Sources) -> None:
        if sources.filler is None:
            pages = [path.read_text(encoding="utf-8") for path in sorted(EXAMPLE_TEXTS.glob("*.md"))]
            texts = ["\n\n".join(pages)]
        else:
            texts = split_books(read_books(sources.filler))[1]
        # Eight characters a token leave room to choose a window from, without reading whole libraries.
        self._texts = [text[: 8 * sources.longest + 200_000] for text in texts]
        self._sources = sources
        self._made: dict[int, Filler] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: Any) -> Any:
        index = index % len(self)
        if index not in self._made:
            self._made[index] = Filler(self._texts[index], self._sources.count_tokens)
        return self._made[index]

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of all texts."""
        return hashlib.sha256("\f".join(self._texts).encode()).hexdigest()[:8]
