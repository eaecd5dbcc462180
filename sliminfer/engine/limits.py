"""The limits that a host sets on one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from sliminfer.errors import MemoryLimitError
from sliminfer.model.families import rotary_switch
from sliminfer.model.loading import LoadedModel

T = TypeVar("T")

# Running text has 3 to 5 characters a token and deeply indented code up to 10: a text with more than this on average is
# longer than the limit in tokens whatever it says, and need not be tokenised to be refused.
MOST_CHARACTERS_A_TOKEN = 16


@dataclass(frozen=True)
class RunLimits:
    """Bounds that a host sets on one run; None for none.

    Attributes:
        prompt_tokens: longest prompt.
        new_tokens: longest answer.
        seconds: longest time that one request, or all runs of one click, may hold the device.
    """

    prompt_tokens: int | None = None
    new_tokens: int | None = None
    seconds: float | None = None

    def check(self, prompt_tokens: int, new_tokens: int) -> None:
        """Raise MemoryLimitError, with the numbers, for a run that this host does not offer."""
        if self.prompt_tokens is not None and prompt_tokens > self.prompt_tokens:
            raise MemoryLimitError(
                f"The prompt has {prompt_tokens:,} tokens, and this page takes up to {self.prompt_tokens:,}: shorten "
                "the document, or run the project on a machine of your own."
            )
        if self.new_tokens is not None and new_tokens > self.new_tokens:
            raise MemoryLimitError(
                f"The answer may have up to {self.new_tokens:,} tokens on this page, and {new_tokens:,} are asked "
                "for: lower the longest answer."
            )

    def longest_text(self, context: int) -> int:
        """Most characters that a prompt can have on a model that reads `context` tokens."""
        tokens = context if self.prompt_tokens is None else min(context, self.prompt_tokens)
        return MOST_CHARACTERS_A_TOKEN * tokens

    def check_text(self, characters: int, context: int) -> None:
        """Raise MemoryLimitError for a text that is too long whatever its tokens are, before it is tokenised."""
        most = self.longest_text(context)
        if characters > most:
            raise MemoryLimitError(
                f"The text has {characters:,} characters, and {most // MOST_CHARACTERS_A_TOKEN:,} tokens, which is all "
                f"that is read here, cannot hold more than {most:,}: shorten the document."
            )

    def overdue(self, seconds: float) -> bool:
        """Whether what has held the device for `seconds` must give it back."""
        return self.seconds is not None and seconds > self.seconds

    def too_slow(self, what: str) -> MemoryLimitError:
        """The refusal of `what`, once it is overdue."""
        return MemoryLimitError(
            f"{what} held the device for longer than {self.seconds:g} s, which is this page's limit for one request: "
            "use a shorter document, a shorter answer or fewer runs."
        )

    def within(self, items: Iterator[T], clock: Callable[[], float] = time.monotonic) -> Iterator[T]:
        """`items`, each of which took the device to make, as long as all of them together are not overdue.

        The clock starts with the first. Raises MemoryLimitError, and closes `items`, at the first that is overdue.
        """
        started: float | None = None
        try:
            for item in items:
                started = clock() if started is None else started
                if self.overdue(clock() - started):
                    raise self.too_slow("What you asked for")
                yield item
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()


def check_rotary(loaded: LoadedModel, prompt_tokens: int, new_tokens: int) -> None:
    """Raise MemoryLimitError where the answer would cross the length at which the model rotates all tokens anew."""
    switch = rotary_switch(loaded.model.config)
    if switch is not None and prompt_tokens <= switch < prompt_tokens + new_tokens - 1:
        raise MemoryLimitError(
            f"{loaded.name} reads texts of more than {switch:,} tokens with other rotary factors, and this answer "
            f"would cross over: ask for at most {switch - prompt_tokens + 1:,} tokens, or use a longer document."
        )


NO_LIMITS = RunLimits()
