"""Information diffusion, measured: how a span of the prompt spreads into other positions, layer by layer.

The observation that SlimInfer rests on (arXiv 2508.06447): on its way through the layers, what a token says
spreads to the rest of the prompt, so that its own hidden state can be dropped later without loss. `probe` puts it
to the test on one prompt and one span of it. Every curve is over the states *entering* layer l, l = 0 .. L:

- attention share: softmax attention of the prompt's last `query_window` positions over all positions they see,
  averaged over queries and heads, summed over the span;
- removal: summed log-probability, in nats, of the full model's answer when the blocks that touch the span are
  gone from layer l on. All layers below have read them, so at l = L nothing is missing, and at l = 0 they were
  never there. The control removes as many random blocks; the floor leaves the same tokens out of the input and
  closes the gap;
- diffusion map: ||h_l(x) - g_l(x)|| / ||h_l(x)|| at position x, where g are the states of a run without the span's
  blocks (positions kept), at most 1, averaged over bins of positions; 1 at the removed positions themselves, which
  have no g. Nothing can reach the positions before the span: there it is 0.

Attention matrices are never built whole: at most `query_window` of their rows, one KV head at a time.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import torch
from torch import Tensor

from sliminfer.diffusion.plan import DiffusionPlan, block_map, random_blocks, removed_blocks
from sliminfer.diffusion.result import Board, DiffusionResult
from sliminfer.engine.engine import SlimEngine
from sliminfer.engine.events import Failed, FirstToken, LayerDone, Token
from sliminfer.engine.loop import LayerLoop
from sliminfer.engine.request import PromptRequest, Sampling
from sliminfer.engine.sequence import Rows
from sliminfer.errors import ConfigError, MemoryLimitError, SlimError
from sliminfer.model.head import logits_of
from sliminfer.model.loading import LoadedModel
from sliminfer.model.prompts import Prompt
from sliminfer.model.windows import within
from sliminfer.ops.softmax import softmax_beside
from sliminfer.schedule.blocks import Span
from sliminfer.schedule.config import SlimConfig

__all__ = ["DiffusionPlan", "DiffusionResult", "local_attention", "probe"]


def probe(
    engine: SlimEngine,
    prompt: Prompt,
    span: Span,
    plan: DiffusionPlan | None = None,
    answer: Sequence[int] | None = None,
) -> Iterator[DiffusionResult]:
    """Measure the diffusion of token range `span` of `prompt`, yielding what is known after every layer run.

    Closing the iterator ends the work at the layer under way. Runs of the engine wait until it ends, as this waits
    for theirs.

    Args:
        plan: how much to probe; by default `DiffusionPlan.for_model`.
        answer: token ids of the answer to score; by default the start of the full model's own greedy answer.

    Raises:
        ConfigError: see `removed_blocks`; also for a plan or an answer that does not fit the model.
        MemoryLimitError: the prompt is longer than the model's context, or does not fit in memory.
    """
    loaded = engine.loaded
    plan = DiffusionPlan.for_model(loaded, len(prompt)) if plan is None else plan
    plan.check_model(loaded.layers)
    blocks = removed_blocks(prompt, span, plan)
    if answer is not None and not answer:
        raise ConfigError("The answer to score is empty: give at least one token.")
    request = PromptRequest(prompt, Sampling(plan.answer_tokens if answer is None else len(answer)))
    engine.prepare(request)
    board = Board(prompt, span, blocks, plan, loaded.layers, () if answer is None else tuple(answer))
    return _guarded(_all(engine, request, blocks, plan, board), len(prompt))


def local_attention(loop: LayerLoop, layer: int, rows: Rows, window: int) -> Tensor:
    """Attention that the last `window` of `rows` give each row in layer `layer`, fp32 [rows].

    The softmax over what a query sees, averaged over the queries and all heads, so that it sums to 1.
    `rows` are those entering the layer.
    """
    softmax = loop.stack.softmax(layer)
    last = slice(-window, None)
    queries, keys = loop.stack.queries(layer, rows, window), loop.stack.keys(layer, rows)
    asking, window_of = rows.positions[last], loop.window(layer)
    visible = rows.positions[None, :] <= asking[:, None]
    if window_of is not None:
        visible &= within(window_of, asking, rows.positions)
    visible = visible.to(keys.device)
    received = torch.zeros(len(rows), device=keys.device)
    packed = softmax.packed(len(keys), queries.shape[1])
    for head, (key, group) in enumerate(zip(keys, queries.unflatten(0, (len(keys), -1)), strict=True)):
        scores = softmax.capped((group.float() @ key.float().T) * key.shape[-1] ** -0.5)
        sinks = None if packed is None else packed[head].view(len(group), -1)
        received += softmax_beside(scores.masked_fill_(~visible, -torch.inf), sinks).sum((0, 1))
    return received / (queries.shape[0] * queries.shape[1])


class Probes:
    """The runs behind the curves; each is a generator that yields after every layer."""

    def __init__(self, loop: LayerLoop, loaded: LoadedModel, prompt: Prompt, answer: Sequence[int]) -> None:
        self.loop, self.model, self.tokens = loop, loaded.model, len(prompt)
        self.answer = torch.tensor(answer, device=loaded.device)
        # The last answer token is only predicted, never read. Prompt rows do not see those of the answer.
        self.ids = torch.tensor([*prompt.ids, *answer[:-1]], device=loaded.device)

    def rows(self, index: Tensor | None = None) -> Rows:
        """The rows entering layer 0, of all tokens or of those at `index`, which then close up."""
        return self.loop.enter((self.ids if index is None else self.ids[index])[None])

    def of_prompt(self, rows: Rows) -> Rows:
        """`rows` without those of the answer."""
        end = self.tokens
        return rows.between(slice(end))

    def rest(self, positions: Sequence[int]) -> Tensor:
        """Indices of the rows that stay when the prompt's `positions` go, int64."""
        stays = torch.ones(len(self.ids), dtype=torch.bool)
        stays[list(positions)] = False
        return stays.nonzero()[:, 0].to(self.ids.device)

    def finish(self, first: int, rows: Rows) -> Generator[None, None, float]:
        """Log-probability of the answer after layers `first` to the last over `rows`."""
        for layer in range(first, len(self.loop.layers)):
            rows = self.loop.through(layer, rows)
            yield
        return self.logprob(rows)

    def logprob(self, rows: Rows) -> float:
        """Log-probability of the answer by the states leaving the last layer, nats."""
        states = self.loop.stack.normed(rows.hidden[:, -len(self.answer) :])
        chances = logits_of(self.model, states)[0].float().log_softmax(-1)
        return float(chances.gather(1, self.answer.to(chances.device)[:, None]).sum())

    def changes(self, full: Rows, ablated: Rows, kept: Tensor) -> Tensor:
        """Relative change of every prompt position's state, at most 1, fp32 [N]; 1 where it is gone."""
        before = full.hidden[0].index_select(0, kept.to(full.hidden.device)).float()
        moved = (before - ablated.hidden[0].float()).norm(dim=-1) / before.norm(dim=-1).clamp_min(1e-12)
        changed = torch.ones(len(self.ids), device=moved.device)
        changed[kept.to(moved.device)] = moved.clamp_max(1.0)
        return changed[: self.tokens]


def _guarded(work: Iterator[DiffusionResult], tokens: int) -> Iterator[DiffusionResult]:
    """`work`, with running out of memory told as our own error."""
    try:
        yield from work
    except (torch.cuda.OutOfMemoryError, MemoryError) as error:
        raise MemoryLimitError(
            f"Probing {tokens:,} tokens does not fit in memory: use a shorter document or a smaller model."
        ) from error


@torch.inference_mode()
def _all(
    engine: SlimEngine, request: PromptRequest, blocks: tuple[int, ...], plan: DiffusionPlan, board: Board
) -> Iterator[DiffusionResult]:
    """Answer, then the map and the attention, then the removals, in the order in which they tell most soonest."""
    loaded, prompt = engine.loaded, request.prompt
    if not board.answer:
        yield from _answer(engine, request, board)
    with engine.turn.taken():
        loop = LayerLoop(loaded.model, SlimConfig(method="full"), prompt.question)
        probes = Probes(loop, loaded, prompt, board.answer)
        for _ in _steps(probes, prompt, blocks, plan, board):
            board.done += 1
            yield board.snapshot()
    yield board.snapshot()


def _answer(engine: SlimEngine, request: PromptRequest, board: Board) -> Iterator[DiffusionResult]:
    """The full model's own answer, as the engine gives it."""
    answer: list[int] = []
    for event in engine.run(request, "full"):
        if isinstance(event, Failed):
            raise SlimError(event.message)
        if isinstance(event, FirstToken | Token):
            answer.append(event.token)
        if isinstance(event, LayerDone):
            board.done += 1
        yield board.snapshot()
    # An answer that is nothing but its end is still an answer.
    board.answer = tuple(token for token in answer if token not in engine.loaded.eos) or tuple(answer[:1])


def _steps(
    probes: Probes, prompt: Prompt, blocks: tuple[int, ...], plan: DiffusionPlan, board: Board
) -> Generator[None, None, None]:
    """Every layer run after the answer; yields after each."""
    layout = block_map(prompt, plan)

    def kept_without(gone: Sequence[int]) -> Tensor:
        return probes.rest([position for block in gone for position in range(*layout.span(block))])

    kept = kept_without(blocks)
    full, ablated = probes.rows(), probes.rows().at(kept)
    for layer in range(board.depth):
        if probes.loop.stack.attending[layer]:
            received = local_attention(probes.loop, layer, probes.of_prompt(full), plan.query_window)
            board.share[layer] = float(received[slice(*board.span)].sum())
        board.spread_at(layer, probes.changes(full, ablated, kept))
        full = probes.loop.through(layer, full)
        yield
        ablated = probes.loop.through(layer, ablated)
        yield
    board.full, board.own[0] = probes.logprob(full), probes.logprob(ablated)
    del full, ablated
    board.floor = yield from probes.finish(0, probes.rows(kept))
    draws = [kept_without(gone) for gone in random_blocks(layout, blocks, plan)]
    rows, at = probes.rows(), 0
    for number, layer in enumerate(plan.layers):
        while at < layer:
            rows = probes.loop.through(at, rows)
            at += 1
            yield
        if layer:
            board.own[number] = yield from probes.finish(layer, rows.at(kept))
        for draw, others in enumerate(draws):
            board.control[number, draw] = yield from probes.finish(layer, rows.at(others))
