"""Reads thousands of damaged files of every format and encoding, in the worker and in process.

Run as `python -m tests.harden.fuzz_documents --count 10000`. Prints one summary line; exit code 1 where a file
crashed the parser, hung over its limit, or gave text with a control character or a page that it could inject into.
"""

import argparse
import collections
import html
import os
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from random import Random

from sliminfer.documents import DocumentLimits, parse_document, parse_document_safely
from sliminfer.errors import DocumentError
from tests.documents.files import one_of_each
from tests.documents.mutate import mutate

FILES = one_of_each()
LIMITS = DocumentLimits(seconds=20.0)
# One file in this many also goes through a worker process, which costs about 0.1 s.
WORKER_EVERY = 20
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--count", type=int, default=10_000, help="how many damaged files to read")
    options.add_argument("--seed", type=int, default=1, help="the first seed; each file has its own")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    given = options.parse_args()
    started = time.monotonic()
    with ProcessPoolExecutor(given.jobs) as pool:
        results = list(pool.map(read_one, range(given.seed, given.seed + given.count), chunksize=50))
    outcomes = collections.Counter(outcome for outcome, _ in results)
    faults = [(seed, outcome) for seed, (outcome, _) in enumerate(results, given.seed) if outcome not in GOOD]
    for seed, outcome in faults[:20]:
        print(f"seed {seed}: {outcome}")
    slowest = max(seconds for _, seconds in results)
    print(
        f"{given.count} damaged files of {len(FILES)} kinds in {time.monotonic() - started:.0f} s: "
        f"{outcomes['document']} read, {outcomes['refusal']} refused, {len(faults)} faults, "
        f"slowest {slowest:.2f} s (seeds {given.seed} to {given.seed + given.count - 1})"
    )
    return 1 if faults else 0


GOOD = ("document", "refusal")


def read_one(seed: int) -> tuple[str, float]:
    """What came of one damaged file (document, refusal, or a fault in words), and the seconds it took."""
    rng = Random(seed)
    name = rng.choice(sorted(FILES))
    data = mutate(FILES[name], rng)
    if rng.random() < 0.1:
        name = rng.choice(sorted(FILES))
    started = time.monotonic()
    try:
        outcome = fault_in(parse_document(data, name, LIMITS).text) or "document"
    except DocumentError as refusal:
        outcome = "refusal" if str(refusal).endswith(".") else f"odd message: {refusal}"
    except Exception as crash:
        outcome = f"{name}: {type(crash).__name__}: {crash}"
    if seed % WORKER_EVERY == 0 and outcome in GOOD:
        outcome = _through_worker(data, name, outcome)
    seconds = time.monotonic() - started
    return (outcome if seconds < LIMITS.seconds else f"{name}: took {seconds:.1f} s"), seconds


def _through_worker(data: bytes, name: str, expected: str) -> str:
    try:
        parse_document_safely(data, name, LIMITS)
        outcome = "document"
    except DocumentError:
        outcome = "refusal"
    return outcome if outcome == expected else f"{name}: {expected} here, {outcome} from the worker"


def fault_in(text: str) -> str | None:
    """What is wrong with a document's text, or None."""
    if found := _FORBIDDEN.search(text):
        return f"control character {found[0]!r} in the text"
    escaped = html.escape(text)
    if "<" in escaped or '"' in escaped:
        return "text that escaping leaves open"
    return None


if __name__ == "__main__":
    sys.exit(main())
