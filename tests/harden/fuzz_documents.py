"""Reads thousands of damaged files of every format and encoding, in the worker and in process.

Run as `python -m tests.harden.fuzz_documents --count 10000`. Exit code 1 where a file crashed the parser, hung over
its limit, gave a control character, or put an element of its own into the page.
"""

import argparse
import collections
import os
import re
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from html.parser import HTMLParser
from random import Random

from sliminfer.documents import Document, DocumentLimits, parse_document, parse_document_safely
from sliminfer.errors import DocumentError
from tests.documents.files import one_of_each
from tests.documents.mutate import mutate
from tests.harden.verdict import summarise
from viz.page.document_input import about_document
from viz.page.kept import plain_document

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
    faults = [f"seed {seed}: {outcome}" for seed, (outcome, _) in enumerate(results, given.seed) if outcome not in GOOD]
    figures = {
        "files": given.count,
        "first_seed": given.seed,
        "kinds": len(FILES),
        "read": outcomes["document"],
        "refused": outcomes["refusal"],
        "slowest_s": round(max(seconds for _, seconds in results), 2),
        "seconds": round(time.monotonic() - started),
    }
    return summarise("fuzz_documents", figures, faults)


GOOD = ("document", "refusal")


def read_one(seed: int) -> tuple[str, float]:
    """What came of one damaged file (document, refusal, or a fault in words), and the seconds it took."""
    rng = Random(seed)
    name = rng.choice(sorted(FILES))
    data = mutate(FILES[name], rng)
    if rng.random() < 0.1:
        name = rng.choice(sorted(FILES))
    started = time.monotonic()
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, LIMITS.seconds)
    try:
        outcome = fault_in(parse_document(data, name, LIMITS)) or "document"
    except DocumentError as refusal:
        outcome = "refusal" if str(refusal).endswith(".") else f"odd message: {refusal}"
    except Exception as crash:
        outcome = f"{name}: {type(crash).__name__}: {crash}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if seed % WORKER_EVERY == 0 and outcome in GOOD:
        outcome = _through_worker(data, name, outcome)
    seconds = time.monotonic() - started
    return (outcome if seconds < LIMITS.seconds else f"{name}: took {seconds:.1f} s"), seconds


def _too_long(*_: object) -> None:
    raise TimeoutError("over the limit")


def _through_worker(data: bytes, name: str, expected: str) -> str:
    try:
        parse_document_safely(data, name, LIMITS)
        outcome = "document"
    except DocumentError:
        outcome = "refusal"
    return outcome if outcome == expected else f"{name}: {expected} here, {outcome} from the worker"


def fault_in(document: Document) -> str | None:
    """What is wrong with a document as it is read and as the page draws it, or None."""
    if found := _FORBIDDEN.search(document.text):
        return f"control character {found[0]!r} in the text"
    about = Drawn(about_document(document, 0))
    if not about.tags <= {("p", "class"), ("b", "")}:
        return f"elements of the file in the page: {about.tags}"
    drawn = Drawn(plain_document(document.text))
    if drawn.tags != DRAWN.tags or not drawn.text.endswith(document.text):
        return f"elements of the text in the page: {drawn.tags - DRAWN.tags}"
    return None


class Drawn(HTMLParser):
    """What a browser makes of some HTML: its elements with the names of their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, str]] = set()
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add((tag, " ".join(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


DRAWN = Drawn(plain_document("text"))


if __name__ == "__main__":
    sys.exit(main())
