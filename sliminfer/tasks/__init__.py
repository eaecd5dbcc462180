"""Seeded long-context tasks over any filler text: needle, multikey, multivalue, quote and tracking."""

from sliminfer.tasks.example import SUITES, Example, Suite
from sliminfer.tasks.filler import Filler, TaskError
from sliminfer.tasks.prompt import QUOTE_PREFIX, plain_prompt, user_message
from sliminfer.tasks.scoring import score
from sliminfer.tasks.suites import make_example

__all__ = [
    "QUOTE_PREFIX",
    "SUITES",
    "Example",
    "Filler",
    "Suite",
    "TaskError",
    "make_example",
    "plain_prompt",
    "score",
    "user_message",
]
