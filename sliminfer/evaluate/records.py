"""Finished examples on disk: one JSON line each, written as they finish, read back to go on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from sliminfer.engine.plain import plain
from sliminfer.errors import ConfigError, SlimError

FULL = "full"


class ResultError(SlimError):
    """A result file that cannot be read or continued."""


@dataclass(frozen=True)
class Record:
    """One example under one variant. Ratios are full over pruned; NaN where a figure does not exist.

    Attributes:
        suite, context, index: the example.
        variant, digest: the variant's label, and a digest of its config ("" for the full model).
        score: of the reply, in [0, 1].
        agreement: share of the full reply's tokens that this reply has at the same place.
        first_token_kl: KL(full || this) of the first token's distribution, in nats.
        evidence_kept: share of the evidence's tokens that pass each prune step; empty where none is known.
        error: why the run failed, with all figures NaN.
        commit, hardware: of the code and the device that made it.
    """

    suite: str
    context: int
    index: int
    variant: str
    digest: str
    text: str = ""
    prompt_tokens: int = 0
    new_tokens: int = 0
    score: float = math.nan
    ttft_s: float = math.nan
    decode_tokens_per_s: float = math.nan
    prompt_kv_bytes: int = 0
    peak_bytes: int = 0
    prefill_flops: float = math.nan
    ttft_speedup: float = math.nan
    flop_speedup: float = math.nan
    kv_ratio: float = math.nan
    first_token_kl: float = math.nan
    agreement: float = math.nan
    evidence_kept: tuple[float, ...] = ()
    error: str | None = None
    commit: str | None = None
    hardware: str | None = None

    @property
    def key(self) -> str:
        """What may be measured once only."""
        return run_key(self.suite, self.context, self.index, self.variant, self.digest)

    def to_line(self) -> str:
        """One line of JSON; NaN becomes null."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        return json.dumps(plain(data), ensure_ascii=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Record:
        """The record written by `to_line`; raises TypeError for other data."""
        numbers = {f.name for f in fields(cls) if f.type == "float"}
        values: dict[str, Any] = {k: math.nan if v is None and k in numbers else v for k, v in data.items()}
        values["evidence_kept"] = tuple(values["evidence_kept"])
        return cls(**values)


def run_key(suite: str, context: int, index: int, variant: str, digest: str) -> str:
    """The name of one example under one variant."""
    return f"{suite}/{context}/{index}/{variant}/{digest}"


class RecordStore:
    """The finished examples of one result file, in `<name>.examples-<rank>.jsonl` beside it.

    Every process appends to its own file and reads all of them, so any number of processes can go on where
    any other number stopped. The first line holds the settings that all examples share.
    """

    def __init__(self, result: Path, settings: Mapping[str, Any], rank: int = 0) -> None:
        self.folder, self.stem = result.parent, result.name.removesuffix(".json")
        self.settings = dict(settings)
        self.path = self.folder / f"{self.stem}.examples-{rank}.jsonl"
        self.records: dict[str, Record] = {}
        self._file: TextIO | None = None
        for path in sorted(self.folder.glob(f"{self.stem}.examples-*.jsonl")):
            self.merge(self._read(path))

    def merge(self, records: Iterable[Record]) -> None:
        """Take in finished examples; a second one of the same key changes nothing, failures do not count."""
        for record in records:
            if record.error is None:
                self.records.setdefault(record.key, record)

    def add(self, record: Record) -> None:
        """Write one example to disk, and take it in."""
        if self._file is None:
            self._file = self._open()
        self._file.write(record.to_line() + "\n")
        self._file.flush()
        self.merge([record])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> TextIO:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            whole = self.path.read_bytes() if self.path.exists() else b""
            lines = whole[: whole.rfind(b"\n") + 1]  # without a line that a kill cut short
            self.path.write_bytes(lines or json.dumps({"settings": self.settings}).encode() + b"\n")
            return self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written ({error.strerror}): choose another --json.") from error

    def _read(self, path: Path) -> list[Record]:
        records = []
        # What follows the last line end was cut short by a kill; `_open` takes it away.
        for number, line in enumerate(path.read_bytes().split(b"\n")[:-1]):
            try:
                data = json.loads(line)
                if number == 0:
                    self._check(path, data["settings"])
                else:
                    records.append(Record.from_dict(data))
            except (ValueError, TypeError, KeyError) as error:
                raise ResultError(
                    f"Line {number + 1} of {path} is damaged: delete the line or the file, then start again."
                ) from error
        return records

    def _check(self, path: Path, settings: Mapping[str, Any]) -> None:
        for name in sorted({*settings, *self.settings}):
            if settings.get(name) != self.settings.get(name):
                raise ResultError(
                    f"{path} holds examples of another run ({name} was {settings.get(name)!r}, is now "
                    f"{self.settings.get(name)!r}): choose another --json, or delete that file."
                )
