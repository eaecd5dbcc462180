"""What two answers say about pruning: equal is not right, empty is nothing, and a guess is a guess."""

from __future__ import annotations

import math

from sliminfer.engine.metrics import RunMetrics
from sliminfer.engine.result import RunResult
from sliminfer.model.loading import DEMO_MODEL
from viz.figures.words import percent

# Entropy of the first token, in nats, from which on it counts as a guess. Measured on the examples: the demo model's
# right answers begin with at most 0.38, its answers to what no document says with at least 0.76. A chat model has
# several ways to begin any answer: SmolLM2's right ones went up to 3.1, its invented ones began at 3.4.
GUESS_NATS = {DEMO_MODEL: 0.6}
GUESS_NATS_OF_OTHERS = 3.3


def is_right(text: str, expected: str) -> bool:
    """Whether an answer says what is expected of it, or is the beginning of it where it was cut off."""
    said, wanted = (" ".join(each.split()).casefold().rstrip(".") for each in (text, expected))
    return bool(wanted) and (wanted in said or (len(said) > 3 and wanted.startswith(said)))


def agreement(run: RunResult, expected: str = "") -> str:
    """How the pruned answer compares, as the end of a sentence; "right" only where it is known what is."""
    full, pruned = run.full.text.strip(), run.pruned.text.strip()
    if not full or not pruned:
        if full or pruned:
            return f"but the {'pruned' if full else 'full'} model’s answer is empty"
        return "but neither said anything, which says nothing about pruning"
    if expected:
        right = (is_right(full, expected), is_right(pruned, expected))
        if right == (False, False) and full == pruned:
            return "and gave the same answer, which is not the expected one"
        return {
            (True, True): "and both gave the expected answer",
            (True, False): "but missed the expected answer, which the full model gave",
            (False, True): "and gave the expected answer, which the full model missed",
            (False, False): "and neither gave the expected answer",
        }[right]
    if full == pruned:
        return "and gave the same answer"
    share = 0.0 if run.comparison is None else run.comparison.agreement
    return f"and agreed with {percent(share)} of the full answer’s tokens" if share > 0 else "but answered differently"


def is_guess(metrics: RunMetrics | None, model: str) -> bool:
    """Whether a side did not know how to begin; unknown counts as no."""
    nats = math.nan if metrics is None else metrics.first_entropy
    return nats > GUESS_NATS.get(model, GUESS_NATS_OF_OTHERS)


def caveat(run: RunResult, model: str) -> str:
    """A warning to go behind the finding; empty where both sides knew how to begin."""
    full, pruned = (is_guess(side.metrics, model) for side in run.sides)
    if full and pruned:
        return (
            " <b>Low confidence:</b> neither side was sure of its first word. The model may be guessing, and guesses, "
            "equal or not, say nothing about pruning."
        )
    if full or pruned:
        unsure, other = ("full", "pruned") if full else ("pruned", "full")
        return f" <b>Low confidence:</b> the {unsure} model was not sure of its first word, the {other} one was."
    return ""
