"""Batches made ahead of time by worker processes, each of one length and a constant number of tokens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset, Sampler

from sliminfer.demo_model.corpus import Corpus
from sliminfer.demo_model.dropping import kept_positions, places_among
from sliminfer.demo_model.encoding import WordEncoder
from sliminfer.demo_model.rows import Kind, RowBuilder
from sliminfer.demo_model.schedule import Budget, Phase, choose_length, phase_at


@dataclass(frozen=True)
class Request:
    """One batch to be made; the seed decides it wholly. `dropping`: whether upper layers see a part only."""

    length: int
    dense: float
    dropping: bool
    seed: str


@dataclass(frozen=True)
class Batch:
    """inputs: [rows, length]. places: [chosen] positions in the flattened rows at which the next token is
    predicted; targets and kinds (`Kind`): [chosen]. Unused places have kind NOTHING.

    kept: for each drop the positions that go on, as indices into those that were left before; empty if nothing
    is dropped. last_places: `places` among the positions left at the output.
    """

    inputs: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor
    last_places: torch.Tensor
    kept: tuple[torch.Tensor, ...] = ()

    def pin_memory(self) -> "Batch":
        """Called by the data loader, so that the copy to the device overlaps with compute."""
        return self._map(torch.Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        """Copy to `device` without waiting; indices travel as int32 and widen there."""
        return self._map(lambda each: each.to(device, non_blocking=True).long())

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        return Batch(
            function(self.inputs),
            function(self.places),
            function(self.targets),
            function(self.kinds),
            function(self.last_places),
            tuple(function(each) for each in self.kept),
        )


class Rows(Dataset[Batch]):
    """Maps a request to its batch. Half of the positions are chosen: all answers and copies, then prose.

    With dropping no prose is chosen, for the text before it has holes.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, tokens_per_step: int) -> None:
        self.builder = RowBuilder(corpus, WordEncoder(tokenizer))
        self.tokens_per_step = tokens_per_step

    def __getitem__(self, request: Request) -> Batch:
        rng = Random(request.seed)
        rows = [
            self.builder.build(rng, request.length, request.dense)
            for _ in range(max(1, self.tokens_per_step // request.length))
        ]
        ids = np.stack([row.ids for row in rows])
        kinds = np.stack([row.kinds for row in rows])[:, 1:].reshape(-1)
        targets = ids[:, 1:].reshape(-1)
        generator = np.random.default_rng(rng.getrandbits(64))
        if request.dropping:
            kept = kept_positions(np.reshape(kinds > Kind.PROSE, (len(rows), -1)), generator)
            kinds = np.where((kinds > Kind.PROSE) & (places_among(kept[-1], np.arange(len(kinds))) >= 0), kinds, 0)
        # Random order within each group, so that what does not fit is left out evenly.
        order = np.argsort(generator.random(len(kinds)) + 1.0 * (kinds == Kind.PROSE) + 2.0 * (kinds == Kind.NOTHING))
        chosen = np.sort(order[: len(kinds) // 2])
        last, indices = chosen, []
        if request.dropping:
            # A place that is unused may have been dropped: any other serves in its stead.
            last = np.maximum(places_among(kept[-1], chosen), 0)
            indices = [kept[0], *(places_among(before, after) for before, after in pairwise(kept))]
        return Batch(
            torch.from_numpy(np.ascontiguousarray(ids[:, :-1])),
            torch.from_numpy(chosen.astype(np.int32)),
            torch.from_numpy(targets[chosen]),
            torch.from_numpy(kinds[chosen]),
            torch.from_numpy(last.astype(np.int32)),
            tuple(torch.from_numpy(each.astype(np.int32)) for each in indices),
        )


class Requests(Sampler[Request]):
    """Decides each batch's length when it is asked for, from the fraction of the budget used by then.

    The first phase lasts until `copying` is set, however long that takes: nothing later works without it.
    """

    def __init__(self, budget: Budget, phases: tuple[Phase, ...], longest: int, seed: int, first: int) -> None:
        self.budget, self.phases, self.longest, self.seed, self.first = budget, phases, longest, seed, first
        self.copying = False

    def __iter__(self) -> Iterator[Request]:
        step = self.first
        while True:
            fraction = self.budget.fraction(step - self.first)
            phase = phase_at(self.phases, fraction) if self.copying else self.phases[0]
            seed = f"{self.seed} {step}"
            rng = Random(seed)
            length = choose_length(rng, phase, self.longest)
            yield Request(length, phase.dense, rng.random() < phase.dropping, seed)
            step += 1


def batch_stream(rows: Rows, requests: Requests, workers: int, pin: bool) -> Iterator[Batch]:
    """An endless stream of batches, in the order of the requests."""
    loader = DataLoader(
        rows,
        batch_size=None,
        sampler=requests,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=pin,
    )
    return iter(loader)
