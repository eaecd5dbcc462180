"""Benchmark files from the Hub into the data folder, when asked for."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from sliminfer.tasks.filler import TaskError


def fetch_longbench(data: Path) -> None:
    """Put all of LongBench v1's files into `<data>/longbench`; raises TaskError where they cannot be had."""
    folder = data / "longbench"
    try:
        with ZipFile(_fetch("THUDM/LongBench", "data.zip")) as archive:
            folder.mkdir(parents=True, exist_ok=True)
            for member in archive.namelist():
                if member.endswith(".jsonl"):
                    with archive.open(member) as source, (folder / PurePosixPath(member).name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except (OSError, BadZipFile) as error:
        raise TaskError(f"LongBench cannot be put into {folder} ({error}): fetch data.zip by hand.") from error


def fetch_longbench_v2(data: Path) -> None:
    """Put LongBench v2 into `<data>/longbench-v2.json`; raises TaskError where it cannot be had."""
    place = data / "longbench-v2.json"
    try:
        data.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_fetch("THUDM/LongBench-v2", "data.json"), place)
    except OSError as error:
        raise TaskError(f"LongBench v2 cannot be put at {place} ({error}): fetch data.json by hand.") from error


def _fetch(dataset: str, name: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.hf_hub_download(dataset, name, repo_type="dataset"))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise TaskError(
            f"{name} of {dataset} cannot be fetched from the Hub: check the network, or fetch it by hand and put it "
            "into the data folder."
        ) from error
