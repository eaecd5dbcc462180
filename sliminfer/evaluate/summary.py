"""From finished examples to the rows of a table: shares with intervals, medians, ratios."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from sliminfer.evaluate.evaluate import Variant
from sliminfer.evaluate.intervals import wilson
from sliminfer.evaluate.records import FULL, Record


def summarise(records: Sequence[Record], variants: Mapping[int, Sequence[Variant]]) -> list[dict[str, Any]]:
    """One row for each suite, context and variant (the full model first) that has records.

    `accuracy` is the mean score with a 95 % Wilson interval; times are medians, and speed-ups the medians of
    the ratios within each example, so that a slow moment of the machine hits both sides. Failed runs are
    counted apart and enter no other figure.
    """
    groups: dict[tuple[str, int, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.suite, record.context, record.variant), []).append(record)
    suites = dict.fromkeys(suite for suite, _, _ in groups)
    return [
        _row(groups[suite, context, label], label, variant)
        for suite in suites
        for context in sorted(variants)
        for label, variant in ((FULL, None), *((v.label, v) for v in variants[context]))
        if (suite, context, label) in groups
    ]


def averages(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each variant and context with more than one suite, the plain mean of the suites' accuracies."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in rows:
        if row["accuracy"] is not None:
            groups.setdefault((row["variant"], row["context"]), []).append(row)
    return [
        {
            "variant": variant,
            "context": context,
            "suites": len(group),
            "accuracy": fmean(row["accuracy"] for row in group),
        }
        for (variant, context), group in groups.items()
        if len(group) > 1
    ]


def by_step(shares: Sequence[Sequence[float]]) -> list[float]:
    """The means of the first, second, ... shares over the examples that have so many."""
    steps = max(map(len, shares), default=0)
    return [fmean(each[step] for each in shares if len(each) > step) for step in range(steps)]


def mean(values: Iterable[float]) -> float | None:
    """The mean of the finite values; None without any."""
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else None


def middle(values: Iterable[float]) -> float | None:
    """The median of the finite values; None without any."""
    finite = [value for value in values if math.isfinite(value)]
    return median(finite) if finite else None


def _row(records: Sequence[Record], label: str, variant: Variant | None) -> dict[str, Any]:
    done = [record for record in records if record.error is None]
    scores = [record.score for record in done if math.isfinite(record.score)]  # questions without answers have none
    low, high = wilson(sum(scores), len(scores))
    ttft, flops = (middle(getattr(r, name) for r in done) for name in ("ttft_speedup", "flop_speedup"))
    return {
        "suite": records[0].suite,
        "context": records[0].context,
        "method": FULL if variant is None else variant.config.method,
        "variant": label,
        "flops_target": None if variant is None else variant.target,
        "examples": len(done),
        "failed": len(records) - len(done),
        "accuracy": mean(scores),
        "accuracy_low": low if scores else None,
        "accuracy_high": high if scores else None,
        "agreement": mean(record.agreement for record in done),
        "first_token_kl": mean(record.first_token_kl for record in done),
        "evidence_kept": by_step([record.evidence_kept for record in done]),
        "prompt_tokens": middle(record.prompt_tokens for record in done),
        "ttft_s": middle(record.ttft_s for record in done),
        "decode_tokens_per_s": middle(record.decode_tokens_per_s for record in done),
        "prompt_kv_bytes": middle(record.prompt_kv_bytes for record in done),
        "peak_bytes": middle(record.peak_bytes for record in done),
        "speedup": {
            "ttft": ttft,
            "ttft_flops": flops,
            "efficiency": ttft / flops if ttft and flops else None,
            "kv_bytes": middle(record.kv_ratio for record in done),
        },
    }
