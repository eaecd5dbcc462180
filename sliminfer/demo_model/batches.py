"""Batches made ahead of time by worker processes, each of one length and a constant number of tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader, Dataset, Sampler

from sliminfer.demo_model.corpus import Corpus
from sliminfer.demo_model.encoding import WordEncoder
from sliminfer.demo_model.rows import Kind, RowBuilder
from sliminfer.demo_model.schedule import Budget, Phase, choose_length, phase_at


@dataclass(frozen=True)
class Request:
    """One batch to be made; the seed decides it wholly."""

    length: int
    dense: float
    seed: str


@dataclass(frozen=True)
class Batch:
    """inputs: [rows, length]. places: [chosen] positions in the flattened rows at which the next token is
    predicted; targets and kinds (`Kind`): [chosen]. Unused places have kind NOTHING."""

    inputs: torch.Tensor
    places: torch.Tensor
    targets: torch.Tensor
    kinds: torch.Tensor

    def pin_memory(self) -> "Batch":
        """Called by the data loader, so that the copy to the device overlaps with compute."""
        return Batch(*(each.pin_memory() for each in (self.inputs, self.places, self.targets, self.kinds)))

    def to(self, device: torch.device) -> "Batch":
        """Copy to `device` without waiting; indices travel as int32 and widen there."""
        parts = (self.inputs, self.places, self.targets, self.kinds)
        return Batch(*(each.to(device, non_blocking=True).long() for each in parts))


class Rows(Dataset[Batch]):
    """Maps a request to its batch. Half of the positions are chosen: all answers and copies, then prose."""

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
        # Random order within each group, so that what does not fit is left out evenly.
        order = np.argsort(generator.random(len(kinds)) + 1.0 * (kinds == Kind.PROSE) + 2.0 * (kinds == Kind.NOTHING))
        chosen = np.sort(order[: len(kinds) // 2])
        return Batch(
            torch.from_numpy(np.ascontiguousarray(ids[:, :-1])),
            torch.from_numpy(chosen.astype(np.int32)),
            torch.from_numpy(targets[chosen]),
            torch.from_numpy(kinds[chosen]),
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
            yield Request(choose_length(Random(seed), phase, self.longest), phase.dense, seed)
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
