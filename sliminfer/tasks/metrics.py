"""LongBench's metrics (arXiv 2308.14508), each a reply against one reference in [0, 1]."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec

from sliminfer.errors import needs_extra
from sliminfer.tasks.filler import TaskError

# Metric -> the module that counts it and the package that has it.
_COUNTED_BY = {"rouge_l": ("rouge_score", "rouge-score"), "code": ("rapidfuzz", "rapidfuzz")}
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def check_metric(name: str) -> None:
    """Raise TaskError where the package that counts the metric `name` is not installed: before hours of runs."""
    module, package = _COUNTED_BY.get(name, ("", ""))
    if module and find_spec(module) is None:
        raise TaskError(needs_extra(f"The metric {name}", package, "evaluate"))


def normalised(text: str) -> list[str]:
    """Lower-case words without punctuation and articles, as SQuAD compares answers."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return _ARTICLES.sub(" ", bare).split()


def qa_f1(reply: str, answer: str) -> float:
    """F1 of the words that reply and answer share, each counted as often as it occurs."""
    found, wanted = normalised(reply), normalised(answer)
    shared = sum((Counter(found) & Counter(wanted)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


def rouge_l(reply: str, answer: str) -> float:
    """F-measure of the longest common subsequence of words, by the rouge-score package without stemming."""
    from rouge_score.rouge_scorer import RougeScorer

    scored = RougeScorer(["rougeL"], use_stemmer=False).score(answer, reply)
    return float(scored["rougeL"].fmeasure)


def classification(reply: str, answer: str, classes: Sequence[str]) -> float:
    """One over the number of class names in the reply if the right one is among them.

    A name that is part of the right one does not count against it.
    """
    named = [name for name in classes if name in reply and (name == answer or name not in answer)]
    return 1.0 / len(named) if answer in named else 0.0


def retrieval(reply: str, answer: str) -> float:
    """The share of the reply's numbers that are the number of the right paragraph."""
    wanted = re.findall(r"\d+", answer)
    found = re.findall(r"\d+", reply)
    return found.count(wanted[0]) / len(found) if found and wanted else 0.0


def count(reply: str, answer: str) -> float:
    """The share of the reply's numbers that are the answer."""
    found = re.findall(r"\d+", reply)
    return found.count(answer.strip()) / len(found) if found else 0.0


def code_similarity(reply: str, answer: str) -> float:
    """Similarity by edit distance of the answer and the reply's first line that is code and no comment."""
    from rapidfuzz.fuzz import ratio

    lines = reply.lstrip("\n").split("\n")
    line = next((each for each in lines if not any(mark in each for mark in ("`", "#", "//"))), "")
    return float(ratio(line, answer)) / 100


def first_line(reply: str) -> str:
    """The reply up to its first line end; few-shot tasks are scored on it alone."""
    return reply.lstrip("\n").split("\n")[0]


def chosen_letter(reply: str) -> str | None:
    """The choice that a reply to a multiple-choice question names; None where it names none."""
    plain = reply.replace("*", "")
    match = re.search(r"correct answer is:? ?\(?([A-D])\b", plain) or re.fullmatch(r"\s*\(?([A-D])\)?\.?\s*", plain)
    return match.group(1) if match else None
