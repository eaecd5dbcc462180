"""The limits that a host sets on one run."""

from __future__ import annotations

from dataclasses import dataclass

from sliminfer.errors import MemoryLimitError

# Running text has 3 to 5 characters a token and deeply indented code up to 10: a text with more than this on average is
# longer than the limit in tokens whatever it says, and need not be tokenised to be refused.
MOST_CHARACTERS_A_TOKEN = 16


@dataclass(frozen=True)
class RunLimits:
    """Bounds that a host sets on one run; None for none.

    Attributes:
        prompt_tokens: longest prompt.
        new_tokens: longest answer.
        seconds: longest time that one side may hold the device.
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
        """Whether a side that has run for `seconds` must give the device back."""
        return self.seconds is not None and seconds > self.seconds


NO_LIMITS = RunLimits()
