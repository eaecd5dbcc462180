"""Site: what all visitors of one process share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from sliminfer.documents.document import DEFAULT_LIMITS, DocumentLimits
from sliminfer.errors import ConfigError, ModelError
from sliminfer.model.devices import free_memory, resolve_device, resolve_dtype
from sliminfer.model.known import KnownModel
from sliminfer.model.prompts import build_prompt
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import PruneStep
from sliminfer.schedule.flops import prefill_flops
from sliminfer.schedule.memory import longest_prompt
from sliminfer.schedule.presets import DEFAULT_PRESET
from sliminfer.selectors.budget import flop_speedup
from viz.figures.stored import FOLDER
from viz.page.examples import Example
from viz.page.first_light import FirstLightPage
from viz.page.holdings import Holdings
from viz.page.model_picker import Offer, offers
from viz.page.readings import OWN_MACHINE, ReadingBounds, Readings
from viz.page.session import ResultStore, StopFlags
from viz.page.setup import Setup, preset_steps
from viz.page.shelf import Shelf
from viz.page.uploads import Uploads

MOST_NEW_TOKENS = 512  # longest answer where the host sets no limit
PATIENCE_S = 4.0  # most seconds in which a run's times to first token are taken again
READING_S = 8.0  # longest time that reading an upload may take, while others wait
LONGEST_QUESTION = 4_000  # characters; a question is compared with every block, so it is no place for a document


@dataclass
class Site:
    """The engines, what is on offer, and the registries that outlive one event.

    Attributes:
        start: the setup a new visitor sees.
        models: models on offer by name; nothing else is ever loaded for a visitor.
        examples: the example documents.
        upload_limit: most bytes of an upload.
        benchmarks: folder of the results measured before, as `eval` and `bench` wrote them.
        measured: folder of the host's own results of `eval` and `sweep`, shown besides.
        patience_s: how long a run may go on for the clock alone, once both answers are there.
        probe_flops: what one measurement of diffusion may take, None for about a minute's work.
        ahead: how much of a kind of work is queued before a newcomer's, see `VisitorQueue.ahead`.
        first_light: the recorded run that the page opens with.
        readings: what visitors had read, for their next questions; `reading_bounds` are its bounds.
    """

    shelf: Shelf
    start: Setup
    models: Mapping[str, KnownModel]
    examples: tuple[Example, ...]
    upload_limit: int = DEFAULT_LIMITS.max_bytes
    benchmarks: Path = FOLDER
    measured: Path | None = None
    patience_s: float = PATIENCE_S
    probe_flops: float | None = None
    stops: StopFlags = field(default_factory=StopFlags)
    results: ResultStore = field(default_factory=ResultStore)
    holdings: Holdings = field(default_factory=Holdings)
    uploads: Uploads = field(default_factory=Uploads)
    ahead: Callable[[str], tuple[int, float]] = lambda kind: (0, 0.0)
    first_light: FirstLightPage = field(default_factory=FirstLightPage.of)
    reading_bounds: InitVar[ReadingBounds] = OWN_MACHINE
    readings: Readings = field(init=False)

    def __post_init__(self, reading_bounds: ReadingBounds) -> None:
        def model_of(name: str) -> nn.Module | None:
            loaded = self.shelf.loaded(name)
            return None if loaded is None else loaded.model

        self.readings = Readings(model_of, reading_bounds)

    def forget(self, session: str) -> None:
        """The visit is over: let go of its files and readings."""
        self.uploads.forget(session)
        self.readings.forget(session)

    @property
    def most_new_tokens(self) -> int:
        """The longest answer on offer, in tokens."""
        return self.shelf.limits.new_tokens or MOST_NEW_TOKENS

    @property
    def longest_text(self) -> int:
        """Most characters of a document, whichever of the models on offer reads it."""
        context = max(model.shape.context for model in self.models.values())
        return self.shelf.limits.longest_text(context)

    @property
    def document_limits(self) -> DocumentLimits:
        """What a document may be and take that is to be read whole."""
        most = min(self.longest_text, DEFAULT_LIMITS.max_characters)
        return replace(self.upload_limits, max_characters=most)

    @property
    def upload_limits(self) -> DocumentLimits:
        """What an upload may be and take; of one that is longer than can be read, a part is."""
        return replace(DEFAULT_LIMITS, max_bytes=self.upload_limit, seconds=READING_S)

    def check_text(self, document: str, question: str = "?") -> None:
        """Raise ConfigError for a text longer than any model on offer reads, before anything is done with it."""
        if len(document) > self.longest_text:
            raise ConfigError(
                f"The document has {len(document):,} characters, and this page takes up to {self.longest_text:,}: "
                "shorten the document."
            )
        if len(question) > LONGEST_QUESTION:
            raise ConfigError(
                f"The question has {len(question):,} characters, and this page takes up to {LONGEST_QUESTION:,}: "
                "put what is to be read into the document."
            )

    def known(self, name: str) -> KnownModel:
        """The model on offer under `name`; raises ModelError for anything else."""
        if name not in self.models:
            raise ModelError(f"{name} is not offered here: choose a model from the list.")
        return self.models[name]

    def preset(self, name: str) -> tuple[PruneStep, ...]:
        """The default prune steps for the model on offer under `name`."""
        return preset_steps(DEFAULT_PRESET, self.known(name).shape.layers, name)

    def example(self, identity: str) -> Example | None:
        """The example with that id."""
        return next((example for example in self.examples if example.id == identity), None)

    def count_tokens(self, text: str) -> int:
        """Length in tokens of a prompt on `text`, by the tokenizer of the model in memory.

        Raises ConfigError where the text is too long to be looked at.
        """
        self.check_text(text)
        loaded = self.shelf.any_loaded()
        if loaded is None or not text.strip():
            return len(text) // 4  # the usual rule of thumb, until a tokenizer is at hand
        return len(build_prompt(loaded.tokenizer, text, "?"))

    def estimated_tokens(self, text: str) -> int:
        """`count_tokens`, of a text that is too long to be looked at by what its middle has."""
        if len(text) <= self.longest_text:
            return self.count_tokens(text)
        begin = (len(text) - self.longest_text) // 2
        sample = text[begin : begin + self.longest_text]
        return round(self.count_tokens(sample) * len(text) / len(sample))

    def room(self, model: str) -> int:
        """Tokens of the longest prompt that can be run on `model` here and now, with room for the longest answer."""
        name = model if model in self.models else self.start.model
        shape, limits = self.known(name).shape, self.shelf.limits
        place = resolve_device(self.shelf.devices[0])
        width = resolve_dtype(self.shelf.dtype, place).itemsize
        loaded = self.shelf.any_loaded()
        free = free_memory(place) + (0 if loaded is None else loaded.weights_bytes)
        fits = longest_prompt(shape, width, self.shelf.attention, free)
        return max(1, min(shape.context - self.start.max_new_tokens, fits, limits.prompt_tokens or shape.context))

    def expected_s(self, setup: Setup, tokens: int) -> float | None:
        """Seconds that both prefills of a prompt of `tokens` will take, by the speed last seen; None for none seen."""
        speed, shape = self.shelf.flops_per_s(setup.model), self.known(setup.model).shape
        if speed is None or not tokens:
            return None
        full = prefill_flops(shape, (tokens,) * shape.layers)
        return full * (1 + 1 / flop_speedup(setup.config(), shape, tokens)) / speed

    def asking(self, tokens: int, question: str) -> tuple[int, Span]:
        """Length in tokens of a prompt that asks `question`, and where the question stands in it.

        `tokens` is its length with the shortest question.
        """
        loaded = self.shelf.any_loaded()
        if loaded is None:
            asked = len(question) // 4 + 1
            return tokens + asked - 1, (tokens - 1, tokens + asked - 1)
        shortest, own = (_question_tokens(loaded.tokenizer, text) for text in ("?", question[:LONGEST_QUESTION]))
        return tokens - shortest + own, (tokens - shortest, tokens - shortest + own)

    def offers(self, tokens: int) -> list[Offer]:
        """What the model picker lists for a prompt of `tokens` tokens."""
        return offers(self.models, self.shelf, tokens, self.shelf.limits.prompt_tokens)


def _question_tokens(tokenizer: Any, question: str) -> int:
    """Tokens of a question with what the template puts after it."""
    start, end = build_prompt(tokenizer, "A text.", question.strip() or "?").question
    return end - start
