"""Held-out accuracy by teacher forcing: a reply counts if every token of it is the arg-max, as in greedy decoding."""

from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from sliminfer.demo_model.network import Trainee
from sliminfer.demo_model.tokenizer import BOS, PAD
from sliminfer.tasks import Filler, Suite, make_example

MEASURED: tuple[Suite, ...] = ("needle", "quote", "multikey", "tracking")
# Room for the answer and for the error of counting sentences one by one.
_MARGIN = 72


@dataclass(frozen=True)
class Questions:
    """Rows of one suite and length. ids: [n, length]; row i's reply is ids[i, starts[i]:ends[i]]."""

    suite: Suite
    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


@cache
def _setup(tokenizer_json: str, book: str) -> tuple[Tokenizer, Filler]:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    return tokenizer, Filler(book, lambda texts: [len(each.ids) for each in tokenizer.encode_batch_fast(texts)])


def make_questions(
    tokenizer_json: str, books: tuple[str, ...], suite: Suite, length: int, count: int, first_seed: int = 0
) -> Questions:
    """`count` held-out examples of one suite, each in a row of `length` tokens."""
    ids = np.full((count, length), PAD, dtype=np.int32)
    starts, ends = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for row in range(count):
        tokenizer, filler = _setup(tokenizer_json, books[row % len(books)])
        example = make_example(suite, filler, length - _MARGIN, first_seed + row)
        prompt = [BOS, *tokenizer.encode(example.prompt).ids]
        whole = (prompt + tokenizer.encode(example.target).ids)[:length]
        ids[row, : len(whole)] = whole
        starts[row], ends[row] = min(len(prompt), length - 1), len(whole)
    return Questions(suite, ids, starts, ends)


class QuestionPool:
    """Makes questions in processes of their own while training goes on; without workers, in a thread of this one."""

    def __init__(self, tokenizer: Tokenizer, books: list[str], workers: int) -> None:
        # Half a million characters hold more than 16K tokens many times over.
        self._books = tuple(book[:500_000] for book in books)
        self._json = tokenizer.to_str()
        self._pool: Executor = (
            ProcessPoolExecutor(workers, mp_context=get_context("spawn")) if workers else ThreadPoolExecutor(1)
        )

    def submit(self, suite: Suite, length: int, count: int, first_seed: int = 0) -> "Future[Questions]":
        return self._pool.submit(make_questions, self._json, self._books, suite, length, count, first_seed)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def exact_share(trainee: Trainee, questions: Questions, tokens_per_step: int) -> tuple[float, float]:
    """The share of replies that are exactly right at the output, and after the retrieval layers.

    Gradients stay on, unused: without them the compiled graphs of training would be compiled again.
    """
    device = trainee.model.device
    count, length = questions.ids.shape
    rows = max(1, tokens_per_step // length)
    right = np.zeros(2)
    for first in range(0, count, rows):
        here = range(first, min(first + rows, count))
        # Always the same shape, so that nothing is compiled again.
        ids = np.full((rows, length), PAD, dtype=np.int64)
        ids[: len(here)] = questions.ids[here.start : here.stop]
        places = np.concatenate(
            [(row - first) * length + np.arange(questions.starts[row], questions.ends[row]) - 1 for row in here]
        )
        owners = np.concatenate([np.full(questions.ends[row] - questions.starts[row], row - first) for row in here])
        inputs = torch.from_numpy(ids).to(device)
        at = torch.from_numpy(places).to(device)
        targets = inputs.reshape(-1)[at + 1]
        early, last = trainee.hidden(inputs)
        for which, states in enumerate((last, early)):
            wrong = trainee.arg_max(states[at]).ne(targets).cpu().numpy()
            right[which] += len(here) - len(set(owners[wrong].tolist()))
    return float(right[0] / count), float(right[1] / count)


def shares(
    trainee: Trainee, questions: dict[tuple[Suite, int], Questions], tokens_per_step: int
) -> dict[str, dict[str, dict[str, float]]]:
    """`exact_share` by suite and length, as it is written to logs and files."""
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for (suite, length), those in questions.items():
        exact, early = exact_share(trainee, those, tokens_per_step)
        entry = {"exact": exact, "early": early, "examples": len(those.ids)}
        figures.setdefault(suite, {})[str(length)] = entry
    return figures
