"""The figures of a hosted page among hostile clients, for docs/reliability.md: about 19 minutes, on an idle machine.

Run as `python -m tests.harden.figures`. Five scripts one after the other; their verdicts go into one file of JSON, and
as tables between the marks in docs/reliability.md. Exits with 1 where one of them found a fault, and then writes the
file, but leaves the page as it is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from sliminfer.evaluate.provenance import command_line, commit, cpu_name
from tests.harden.server import ROOT

FILE = ROOT / "assets" / "benchmarks" / "strangers.json"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- strangers: begin -->\n", "<!-- strangers: end -->\n"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=10_000, help="hostile calls")
    options.add_argument("--minutes", type=float, default=10.0, help="with hostile clients among polite ones")
    options.add_argument("--times", type=int, default=5, help="SIGTERM so often, kill -9 3 times at most")
    options.add_argument("--json", type=Path, default=FILE)
    options.add_argument("--page", type=Path, default=PAGE)
    given = options.parse_args()
    scripts = {
        "ten": [],
        "fuzz_calls": ["--count", str(given.count)],
        "strangers": ["--clients", "30", "--hostile", "5", "--minutes", f"{given.minutes:g}"],
        "killed": ["--times", str(min(3, given.times))],
        "terminated": ["--times", str(given.times)],
    }
    began = time.monotonic()
    verdicts = {name: verdict(name, arguments) for name, arguments in scripts.items()}
    found = {
        "provenance": where() | {"seconds": round(time.monotonic() - began)},
        "verdicts": verdicts,
    }
    given.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    failed = [name for name, told in verdicts.items() if not told["passed"]]
    if failed:
        print(f"not written to {given.page.name}: {', '.join(failed)} found faults, see {given.json}")
        return 1
    before, rest = given.page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    given.page.write_text(f"{before}{BEGIN}{tables(found)}{END}{after}", encoding="utf-8")
    return 0


def verdict(name: str, arguments: list[str]) -> dict[str, Any]:
    """What script `name` says at its end."""
    ran = subprocess.run([sys.executable, "-m", f"tests.harden.{name}", *arguments], cwd=ROOT, stdout=subprocess.PIPE)
    lines = ran.stdout.decode(errors="replace").splitlines()
    print(lines[-1] if lines else f"{name} said nothing", flush=True)
    try:
        told: dict[str, Any] = json.loads(lines[-1])
    except (IndexError, ValueError):
        told = {"script": name, "faults": [f"it ended with status {ran.returncode} and no verdict"], "passed": False}
    return told


def where() -> dict[str, Any]:
    """Command, code and machine."""
    return {
        "command": command_line(),
        "commit": commit(),
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def tables(found: dict[str, Any]) -> str:
    """Both tables: the ten attacks before and now, and the long runs."""
    told, of = found["verdicts"], found["provenance"]
    calls, among, killed, ended = (told[name] for name in ("fuzz_calls", "strangers", "killed", "terminated"))
    served = sum(number for status, number in calls["statuses"].items() if int(status) >= 500)
    runs = (
        (
            f"{calls['calls']:,} hostile calls of all endpoints: no 500, no stall over 1 s, no growth",
            f"{served} answers of 500 and above that were not a full queue; longest stall of the server's loop "
            f"{calls['longest_stall_s']} s, of /health by a client's clock {calls['longest_health_s']} s; memory "
            f"{calls['rss_growth']:+.1%}; {calls['seconds']} s in all",
        ),
        (
            f"{among['polite']} polite clients, and {among['hostile']} hostile ones among them: answered within twice "
            "their time without",
            f"{among['mean_wait_s'][0]} s in the mean without, {among['mean_wait_s'][1]} s with them; each "
            f"answer its asker's own, {among['fewest_answers_of_a_client']} at least for each; "
            f"{among['hostile_attempts']:,} hostile attempts; longest stall {among['longest_stall_s']} s; memory "
            f"{among['rss_growth']:+.1%}",
        ),
        (
            f"kill -9 in mid-run, {killed['kills']} times: up again within 20 s",
            f"{killed['longest_restart_s']} s at most",
        ),
        (
            f"SIGTERM in the middle of everything, {ended['times']} times: gone within 15 s",
            f"{ended['longest_s']} s at most",
        ),
    )  # fmt: skip
    lines = [
        f"Measured on {of['cpu']}, {of['cores']} cores, {of['finished_at'][:10]}, with `{of['command']}`.", "",
        "| attack | before | now |", "|---|---|---|",
        *(f"| {row['attack']} | {row['before']} | {row['now']} |" for row in told["ten"]["attacks"]), "",
        "| what must hold | measured |", "|---|---|",
        *(f"| {what} | {measured} |" for what, measured in runs),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
