"""BlockMap: how a prompt is cut into blocks, and which of them must always stay. Plain integers only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sliminfer.schedule.config import PruneStep, SlimConfig
from sliminfer.schedule.marks import NO_MARKS, Marks
from sliminfer.schedule.marks import Span as Span

# Positions whose queries score where no question is known: a chat template's last tokens and the sentence before them.
UNKNOWN_QUESTION = 32
# Of a longer question the last queries alone score, so that scoring stays cheap whatever a visitor pastes.
MOST_QUERIES = 256


@dataclass(frozen=True)
class BlockMap:
    """The blocks of a prompt of `tokens` tokens, at original positions; the last block may be partial.

    Attributes:
        tokens: prompt length N.
        block_size: tokens per block.
        forced: ascending ids of the blocks that are always kept: the first `sink` blocks, every block that
            touches the last `local` tokens, and every block that touches the question or a span marked to be kept.
        window: last positions whose queries score the blocks, at most `tokens`.
        least: tokens that every step keeps at least.
        dropped: ascending ids of the blocks that do not pass the first step; never forced, nor the last one.
        asking: last positions that ask, the question's with all that follow it, whatever the window.
    """

    tokens: int
    block_size: int
    forced: tuple[int, ...]
    window: int = 1
    least: int = 0
    dropped: tuple[int, ...] = ()
    asking: int = 1

    @classmethod
    def of(
        cls, tokens: int, config: SlimConfig, question: Span | None = None, marks: Marks = NO_MARKS
    ) -> BlockMap:
        """The map of a prompt under `config`; `question` is the half-open token span of the question.

        Raises:
            ConfigError: see `Marks.check`.
        """
        marks.check(tokens, question)
        size = config.block_size
        known = question is not None and question[0] < question[1]
        count = -(-tokens // size)
        asked_for = set(_touched(marks.keep, size))
        if question is not None and known:
            asked_for.update(block for block in _touched((question,), size) if block < count)
        dropped = set(_touched(marks.drop, size)) - asked_for - {count - 1}
        # What is always kept for no reason of this prompt's own gives way to what its caller says.
        always = {*range(min(config.sink, count)), *range(max(0, tokens - config.local) // size, count)}
        forced = asked_for | (always - dropped)
        asked = tokens - question[0] if question is not None and known else UNKNOWN_QUESTION
        asking = min(asked, tokens)
        window = min(asking, MOST_QUERIES) if config.query_window is None else min(config.query_window, tokens)
        return cls(
            tokens, size, tuple(sorted(forced)), window, config.least_tokens, tuple(sorted(dropped)), asking
        )

    def __len__(self) -> int:
        return -(-self.tokens // self.block_size)

    @property
    def missing(self) -> int:
        """Tokens that the last block lacks to be whole."""
        return len(self) * self.block_size - self.tokens

    def span(self, block: int) -> Span:
        """Half-open range of the positions in `block`."""
        return block * self.block_size, min(self.tokens, (block + 1) * self.block_size)

    def budget_tokens(self, step: PruneStep) -> int:
        """Tokens that `step` may keep, before rounding up to whole blocks."""
        return min(self.tokens, max(step.budget_tokens(self.tokens), self.least))

    def budget(self, step: PruneStep) -> int:
        """Blocks that `step` keeps: its token budget rounded up to whole blocks."""
        return min(len(self), -(-self.budget_tokens(step) // self.block_size))

    def kept(self, step: PruneStep) -> int:
        """Blocks that go on after `step`: its budget, or the forced blocks alone where they exceed it; none dropped."""
        return min(len(self) - len(self.dropped), max(self.budget(step), len(self.forced)))

    def tokens_in(self, blocks: Sequence[int]) -> int:
        """Number of positions in `blocks`."""
        return sum(end - start for start, end in map(self.span, blocks))


def _touched(spans: Sequence[Span], size: int) -> Iterator[int]:
    """The blocks of `size` tokens that touch one of `spans`."""
    for start, end in spans:
        yield from range(start // size, -(-end // size))


def to_ranges(positions: Sequence[int]) -> list[list[int]]:
    """Ascending positions as half-open ranges: [0, 1, 2, 7] -> [[0, 3], [7, 8]]."""
    ranges: list[list[int]] = []
    for position in positions:
        if ranges and ranges[-1][1] == position:
            ranges[-1][1] = position + 1
        else:
            ranges.append([position, position + 1])
    return ranges
