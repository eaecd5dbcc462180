"""What a caller asks of the engine, and what it is made of: a prompt, sampling, pruning."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, TypeAlias

from sliminfer.engine.passages import Passage, marked
from sliminfer.errors import ConfigError
from sliminfer.model.conversation import Turn, build_conversation
from sliminfer.model.prompts import Prompt, build_prompt
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.schedule.marks import NO_MARKS, Marks

LEAST_TEMPERATURE = 0.01  # below it logits over temperature overflow, and the answer is the greedy one anyway


@dataclass(frozen=True)
class Sampling:
    """How the answer is drawn, on both sides.

    Attributes:
        max_new_tokens: longest answer.
        temperature, top_p, seed: temperature 0 is greedy.
        ignore_eos: go on to `max_new_tokens` even past the end of the answer, for timing.

    Raises:
        ConfigError: a value is out of its range.
    """

    max_new_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    ignore_eos: bool = False

    def __post_init__(self) -> None:
        for name, value in (("max_new_tokens", self.max_new_tokens), ("seed", self.seed)):
            if isinstance(value, bool) or not isinstance(value, Integral):
                raise ConfigError(f"{name} is {value!r}: give a whole number.")
        if self.max_new_tokens < 1:
            raise ConfigError(f"{self.max_new_tokens} new tokens are no answer: ask for at least 1.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"The seed is {self.seed}: give a whole number from 0 to {2**63 - 1:,}.")
        for name, share in (("temperature", self.temperature), ("top_p", self.top_p)):
            if isinstance(share, bool) or not isinstance(share, Real):
                raise ConfigError(f"{name} is {share!r}: give a number.")
        if not 0.0 <= self.temperature <= 5.0 or not 0.0 < self.top_p <= 1.0:
            raise ConfigError("Temperature must lie between 0 and 5 and top-p above 0 and up to 1.")
        if 0.0 < self.temperature < LEAST_TEMPERATURE:
            raise ConfigError(
                f"Temperature {self.temperature:g} leaves one token only: take 0, or at least {LEAST_TEMPERATURE:g}."
            )
        object.__setattr__(self, "temperature", float(self.temperature))  # JSON's 1 is as good as 1.0
        object.__setattr__(self, "top_p", float(self.top_p))


@dataclass(frozen=True)
class Pruning:
    """What the pruned side does to the prompt.

    Attributes:
        config: the prune steps, and what chooses at each.
        evidence: token ranges of the prompt that hold the answer, where known.
        marks: token ranges of the prompt that are to be kept or dropped whatever they score.
    """

    config: SlimConfig = field(default_factory=SlimConfig)
    evidence: tuple[Span, ...] = ()
    marks: Marks = NO_MARKS


@dataclass(frozen=True)
class PromptRequest:
    """A request in tokens: what the engine runs.

    Attributes:
        prompt: the tokens to read.
        sampling, pruning: see there.
        kernels: "auto", "torch" or "triton".
        tokenize_s: seconds that making the prompt took; 0 for one that came ready.

    Raises:
        ConfigError: the prompt is empty, or a span of `pruning` lies outside it.
    """

    prompt: Prompt
    sampling: Sampling = Sampling()
    pruning: Pruning = Pruning()
    kernels: str = "auto"
    tokenize_s: float = 0.0

    def __post_init__(self) -> None:
        if not len(self.prompt):
            raise ConfigError("The prompt is empty: give it at least one token.")
        for start, end in self.pruning.evidence:
            if not 0 <= start < end <= len(self.prompt):
                raise ConfigError(
                    f"The evidence, tokens {start} to {end}, is not in the prompt of {len(self.prompt)}: "
                    "give spans within it."
                )
        self.pruning.marks.check(len(self.prompt), self.prompt.question)

    @property
    def characters(self) -> int:
        """Length of the text that is still to be tokenised: none."""
        return 0

    def tokenized(self, tokenizer: Any) -> PromptRequest:
        """Itself: it is in tokens already."""
        return self

    def under(self, config: SlimConfig) -> PromptRequest:
        """The same under another pruning."""
        return replace(self, pruning=replace(self.pruning, config=config))


@dataclass(frozen=True)
class RunRequest:
    """What a visitor asks: a question about a document, with everything else that a `PromptRequest` is made of.

    Attributes:
        document: the text to read.
        question: what to ask about it.
        config: the pruning of the pruned side.
        max_new_tokens: longest answer.
        temperature, top_p, seed: sampling; temperature 0 is greedy.
        evidence: character spans of the document that hold the answer, where known.
        kernels: "auto", "torch" or "triton".
        ignore_eos: go on to `max_new_tokens` even past the end of the answer, for timing.
        thinking: let a model that can think before it answers do so.
        history: questions about the document with their answers that came before, oldest first.
        keep_history: whether these go on at every prune step, rather than being pruned like the rest.
        keep: what no prune step drops: character spans of the document, or texts that stand in it, wherever they do.
        drop: what goes no further than the first prune step, for experiments; given alike.

    Raises:
        ConfigError: document or question is empty, or see `Sampling`.
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
    thinking: bool = False
    keep: Sequence[Passage] = ()
    drop: Sequence[Passage] = ()
    history: Sequence[Turn] = ()
    keep_history: bool = False

    def __post_init__(self) -> None:
        for name, text in (("document", self.document), ("question", self.question), *_said(self.history)):
            if not isinstance(text, str):
                raise ConfigError(f"The {name} is {text!r}: give a text.")
            half = next((at for at, mark in enumerate(text) if "\ud800" <= mark <= "\udfff"), None)
            if half is not None:
                raise ConfigError(
                    f"The {name} has half a character (a lone surrogate) at position {half:,}: decode it again, or "
                    "remove that."
                )
        if not isinstance(self.config, SlimConfig):
            raise ConfigError(f"The config is {self.config!r}: give a SlimConfig.")
        if not self.document.strip():
            raise ConfigError("The document is empty: upload, paste or choose one.")
        if not self.question.strip():
            raise ConfigError("The question is empty: type what you want to know about the document.")
        _ = self.sampling  # checks its values

    @property
    def characters(self) -> int:
        """Length of the text that is still to be tokenised, the template apart."""
        return len(self.document) + len(self.question) + sum(len(text) for _, text in _said(self.history))

    @property
    def sampling(self) -> Sampling:
        """How the answer is drawn."""
        return Sampling(self.max_new_tokens, self.temperature, self.top_p, self.seed, self.ignore_eos)

    def tokenized(self, tokenizer: Any) -> PromptRequest:
        """The same in the tokens of `tokenizer`, through its chat template.

        Raises:
            ConfigError: the evidence, or what is to be kept or dropped, is not in the document.
            ModelError: the template does not print the message.
        """
        started = time.perf_counter()
        prompt, said = self._prompt(tokenizer)
        kept, dropped = (marked(prompt, getattr(self, name), name) for name in ("keep", "drop"))
        kept += said
        pruning = Pruning(self.config, in_tokens(prompt, self.evidence), Marks(kept, dropped))
        return PromptRequest(prompt, self.sampling, pruning, self.kernels, time.perf_counter() - started)

    def _prompt(self, tokenizer: Any) -> tuple[Prompt, tuple[Span, ...]]:
        """The prompt, and the spans of earlier turns that are to be kept."""
        if not self.history:
            return build_prompt(tokenizer, self.document, self.question, thinking=self.thinking), ()
        prompt, said = build_conversation(tokenizer, self.document, self.history, self.question, self.thinking)
        return prompt, (said,) if self.keep_history else ()


def _said(history: Sequence[Turn]) -> Iterator[tuple[str, str]]:
    """The texts of earlier turns, each with its name; raises ConfigError where they are no pairs."""
    for turn in history:
        if isinstance(turn, str) or not isinstance(turn, Sequence) or len(turn) != 2:
            raise ConfigError(f"The history has {turn!r}: give pairs of a question and its answer.")
        yield from zip(("earlier question", "earlier answer"), turn, strict=True)


Request: TypeAlias = RunRequest | PromptRequest


def in_tokens(prompt: Prompt, evidence: Sequence[Span]) -> tuple[Span, ...]:
    """Character spans of the document as token ranges of `prompt`.

    Raises:
        ConfigError: a span is not in the document.
    """
    try:
        return tuple(prompt.token_range(*span) for span in evidence)
    except TypeError as error:
        raise ConfigError(f"The evidence is {evidence!r}: give pairs of first and last character.") from error
    except ValueError as error:
        raise ConfigError(f"The evidence is not in the document: {error}.") from error
