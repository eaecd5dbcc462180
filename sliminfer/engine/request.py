"""What a caller asks of the engine."""

from __future__ import annotations

from dataclasses import dataclass, field

from sliminfer.errors import ConfigError
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig


@dataclass(frozen=True)
class RunRequest:
    """What a visitor asks.

    Attributes:
        document: the text to read.
        question: what to ask about it.
        config: the pruning of the pruned side.
        max_new_tokens: longest answer.
        temperature, top_p, seed: sampling; temperature 0 is greedy.
        evidence: character spans of the document that hold the answer, where known.
        kernels: "auto", "torch" or "triton".
        ignore_eos: go on to `max_new_tokens` even past the end of the answer, for timing.
    """

    document: str
    question: str
    config: SlimConfig = field(default_factory=SlimConfig)
    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    evidence: tuple[Span, ...] = ()
    kernels: str = "auto"
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        if not self.document.strip():
            raise ConfigError("The document is empty: upload, paste or choose one.")
        if not self.question.strip():
            raise ConfigError("The question is empty: type what you want to know about the document.")
        if self.max_new_tokens < 1:
            raise ConfigError(f"{self.max_new_tokens} new tokens are no answer: ask for at least 1.")
        if not 0.0 <= self.temperature <= 5.0 or not 0.0 < self.top_p <= 1.0:
            raise ConfigError("Temperature must lie between 0 and 5 and top-p above 0 and up to 1.")
