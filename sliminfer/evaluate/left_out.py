"""What suites leave out at a context: documents that are longer, or not at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sliminfer.errors import ConfigError
from sliminfer.tasks.items import EvalSuite


@dataclass(frozen=True)
class LeftOut:
    """Examples of one suite and context that are not asked, for one reason.

    Attributes:
        suite, context: where.
        examples: how many.
        of: how many there would be.
        why: half a sentence.
    """

    suite: str
    context: int
    examples: int
    of: int
    why: str

    def sentence(self) -> str:
        """For people."""
        return f"{self.suite} at {self.context:,} tokens leaves out {self.examples} of {self.of} examples: {self.why}"


def left_out(suites: Sequence[EvalSuite], contexts: Sequence[int], examples: int) -> list[LeftOut]:
    """What is left out of `examples` a suite, counted by suite, context and reason."""
    found = []
    for context in contexts:
        for suite in suites:
            size = suite.size(examples)
            reasons = Counter(why for index in range(size) if (why := suite.why_not(context, index)))
            found += [LeftOut(suite.name, context, count, size, why) for why, count in reasons.items()]
    return found


def asked(suites: Sequence[EvalSuite], context: int, examples: int) -> list[int]:
    """The indices below `examples` at which at least one of `suites` has an item at `context`, ascending.

    Raises:
        ConfigError: there is none.
    """
    found = [
        index
        for index in range(max(suite.size(examples) for suite in suites))
        if any(index < suite.size(examples) and not suite.why_not(context, index) for suite in suites)
    ]
    if not found:
        names = ", ".join(suite.name for suite in suites)
        raise ConfigError(f"No example of {names} can be asked at {context:,} tokens: choose a larger --context.")
    return found
