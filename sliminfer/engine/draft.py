"""A draft model that reads a prompt for another: its attention scores each token (arXiv 2502.02789, 2603.02631)."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.sequence import Rows
from sliminfer.errors import ConfigError, MemoryLimitError, ModelError
from sliminfer.model.head import logits_of
from sliminfer.model.loading import LoadedModel
from sliminfer.model.prompts import Prompt
from sliminfer.ops.softmax import PLAIN, Softmax, softmax_beside
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig
from sliminfer.selectors.sources import Drafting

# Scores that are held in fp32 at once: 64 MB, so that the queries of a long question are read some KV heads at a time.
_FP32_ELEMENTS = 1 << 24


@dataclass(frozen=True)
class Reading:
    """A prompt as the draft reads it.

    Attributes:
        ids: its own token ids [M].
        window: how many of the last ones ask.
        spans: character range of each in the prompt's text [M]; None where the draft cuts text as the model does.
    """

    ids: Sequence[int]
    window: int
    spans: tuple[Span, ...] | None = None


class Draft:
    """A loaded draft model, at work for a model with `tokenizer`. It holds nothing about a run."""

    def __init__(self, loaded: LoadedModel, tokenizer: object) -> None:
        """Raises ModelError where the draft's family is not supported, or has layers that do not attend."""
        self.loaded = loaded
        self.loop = LayerLoop(loaded.model, SlimConfig(method="full"))
        if not all(self.loop.stack.attending):
            raise ModelError(f"{loaded.name} has layers that do not attend: take a draft whose layers all do.")
        self._same_tokens = _vocabulary(loaded.tokenizer) == _vocabulary(tokenizer)

    def reading(self, prompt: Prompt, window: int) -> Reading:
        """`prompt`, the last `window` tokens of which ask, in the draft's tokens.

        Raises:
            ConfigError: the draft cuts text otherwise, and the prompt is bare ids.
            MemoryLimitError: the draft cannot read a prompt of this length.
        """
        read = Reading(prompt.ids, window)
        if not self._same_tokens:
            if not prompt.text:
                raise ConfigError(
                    f"The draft {self.loaded.name} has another tokenizer, and this prompt is bare ids: use a draft of "
                    "the same family."
                )
            # Template and all: chat markers of another family are mere text to it, and stand where they stood.
            encoded = self.loaded.tokenizer(
                prompt.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
            )
            spans = tuple((start, end) for start, end in encoded["offset_mapping"])
            asks = next((start for start, end in prompt.spans[-window:] if end > start), 0)
            read = Reading(encoded["input_ids"], max(1, sum(end > asks for _, end in spans)), spans)
        if len(read.ids) > self.loaded.shape.context:
            raise MemoryLimitError(
                f"The prompt has {len(read.ids):,} tokens for the draft {self.loaded.name}, which reads at most "
                f"{self.loaded.shape.context:,}: use another draft, or a shorter document."
            )
        return read

    def scores(self, prompt: Prompt, window: int, how: Drafting) -> Generator[int, None, Tensor]:
        """Yields after each layer how many have run; returns a score of each token of `prompt`, fp32 [N]."""
        read = self.reading(prompt, window)
        found = yield from self._read(read, how)
        return found if read.spans is None else carried(found, read.spans, prompt.spans)

    def likeness(self, prompt: Prompt, window: int, passage: int) -> Generator[int, None, Tensor]:
        """As `scores`, by the likeness of each passage to what asks; see `sources.Embedding`."""
        read, stack = self.reading(prompt, window), self.loop.stack
        rows = self.loop.enter(torch.tensor([list(read.ids)], device=self.loaded.device))
        for layer in range(stack.depth):
            rows = stack.alone(layer, rows)
            yield layer + 1
        states = stack.normed(rows.hidden)[0].float()
        asked = states[-read.window :].mean(0)
        of_passage = torch.arange(len(states), device=states.device) // passage
        vectors = torch.zeros(int(-(-len(states) // passage)), states.shape[1], device=states.device)
        vectors.index_add_(0, of_passage, states)  # sums have the direction of means
        found = (1.0 + F.cosine_similarity(vectors, asked[None], dim=-1))[of_passage] / 2.0
        return found if read.spans is None else carried(found, read.spans, prompt.spans)

    def _read(self, read: Reading, how: Drafting) -> Generator[int, None, Tensor]:
        """The score of each of the draft's own tokens [M]."""
        stack, cache, tokens = self.loop.stack, DynamicCache(), len(read.ids)
        scoring, done, attended = set(how.scoring_layers(stack.depth, stack.seeing)), 0, []
        rows = self.loop.enter(torch.tensor([list(read.ids)], device=self.loaded.device))
        for said in range(how.look_ahead + 1):
            best: Tensor | None = None
            for layer in range(stack.depth):
                queries = stack.queries(layer, rows, read.window if not said else 1) if layer in scoring else None
                rows = stack.alone(layer, rows, cache, last_row=layer == stack.depth - 1)
                if queries is not None:
                    keys: Tensor = getattr(cache.layers[layer], "keys")[0]  # noqa: B009  (one of several kinds)
                    found = strongest(queries, keys, how.pool, stack.softmax(layer))[:, :tokens]
                    best = found if best is None else torch.maximum(best, found.to(best.device))
                done += 1
                yield done
            assert best is not None
            attended.append(best)
            if said < how.look_ahead:
                rows = self._next(rows, tokens + said)
        every = torch.cat([each.to(self.loaded.device) for each in attended])
        return every.amax(0) if how.over_queries == "max" else every.mean(0)

    def _next(self, rows: Rows, position: int) -> Rows:
        """The most likely token after `rows`, which left the last layer, as it enters layer 0 at `position`."""
        stack = self.loop.stack
        token = logits_of(self.loaded.model, stack.normed(rows.hidden[:, -1]))[0].argmax()
        embedded = self.loop.decoder.embed_tokens(token.to(self.loaded.device).view(1, 1))
        at = torch.tensor([position], device=embedded.device)
        return stack.enter(embedded, at, at)


def strongest(queries: Tensor, keys: Tensor, pool: int, softmax: Softmax = PLAIN) -> Tensor:
    """Softmax attention of each query on each key, averaged over `pool` neighbours, the best of all heads.

    Args:
        queries: the last `window` positions' [heads, window, head_dim], after RoPE.
        keys: [kv_heads, n, head_dim], after RoPE, ascending; the last `window` are the queries' own.
        softmax: how the layer turns scores into attention.

    Returns:
        fp32 [window, n].
    """
    window, width = queries.shape[1:]
    kv_heads, count, _ = keys.shape
    groups = queries.reshape(kv_heads, -1, width).float() / math.sqrt(width)
    later = torch.ones(window, count, dtype=torch.bool, device=keys.device).triu(count - window + 1)
    best = torch.zeros(window, count, device=keys.device)
    at_once = max(1, _FP32_ELEMENTS // (count * groups.shape[1]))
    packed = softmax.packed(kv_heads, window)
    sinks = [None] * kv_heads if packed is None else packed.split(at_once)
    for some, shared, beside in zip(groups.split(at_once), keys.split(at_once), sinks):
        logits = softmax.capped(torch.matmul(some.to(keys.device), shared.float().mT)).view(-1, window, count)
        rows = None if beside is None else beside.reshape(-1, window)
        attention = softmax_beside(logits.masked_fill_(later, -math.inf), rows)
        if pool > 1:
            attention = F.avg_pool1d(attention, pool, stride=1, padding=pool // 2, count_include_pad=False)
        best = torch.maximum(best, attention.amax(0))
    return best


def carried(scores: Tensor, spans: Sequence[Span], onto: Sequence[Span]) -> Tensor:
    """Scores of one tokenizer's tokens for those of another: the highest that any character of a token has.

    Args:
        scores: fp32 [M], of tokens at the character ranges `spans` [M].
        onto: character ranges in the same text [N], ascending, as `spans` are; empty ones score 0.
    """
    found, values, first = [0.0] * len(onto), scores.tolist(), 0
    for index, (start, end) in enumerate(onto):
        while first < len(spans) and spans[first][1] <= start:
            first += 1
        at = first
        while at < len(spans) and spans[at][0] < end:
            found[index] = max(found[index], values[at]) if start < end else 0.0
            at += 1
    return torch.tensor(found, device=scores.device)


def _vocabulary(tokenizer: object) -> object:
    vocabulary: object = tokenizer.get_vocab()  # type: ignore[attr-defined]
    return vocabulary
