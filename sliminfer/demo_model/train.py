"""The training loop of the demo model: one call uses its budget up and leaves a finished model."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.nn.attention import sdpa_kernel
from transformers import LlamaForCausalLM

from sliminfer.demo_model import checkpoint
from sliminfer.demo_model.batches import Batch, Requests, Rows, batch_stream
from sliminfer.demo_model.corpus import task_texts, tokenise
from sliminfer.demo_model.evaluation import MEASURED, QuestionPool, Questions, shares
from sliminfer.demo_model.network import Losses, Shape, Trainee, fastest_attention, new_model, on_device
from sliminfer.demo_model.rows import Kind
from sliminfer.demo_model.schedule import CONTINUED, FROM_SCRATCH, Budget, learning_rate
from sliminfer.demo_model.tokenizer import train_tokenizer
from sliminfer.errors import ModelError
from sliminfer.tasks.books import read_books, split_books

# Of copied tokens, this share right ends the first phase.
_COPYING = 0.8


@dataclass(frozen=True)
class TrainOptions:
    """Everything a run depends on. `resume` is the folder of an earlier run (it may be `out` itself)."""

    corpus: Path
    out: Path
    minutes: float | None
    steps: int | None
    resume: Path | None
    shape: Shape
    device: str
    seed: int = 0
    peak_rate: float = 1.5e-3
    tokens_per_step: int = 32_768
    longest: int = 16_384
    early_weight: float = 0.5
    workers: int = 14
    compiled: bool = True
    evaluations: int = 8
    final_lengths: tuple[int, ...] = (1024, 2048, 4096, 8192, 16384)
    final_examples: int = 200


def train(options: TrainOptions) -> dict[str, Any]:
    """Train within the budget, save the model, measure it on held-out tasks and return the figures."""
    budget = Budget(options.minutes, options.steps)
    device = torch.device(options.device)
    options.out.mkdir(parents=True, exist_ok=True)
    books, heldout = split_books(read_books(options.corpus))
    model, tokenizer, progress = _starting_point(options, books)
    pool = QuestionPool(tokenizer, heldout, workers=min(4, options.workers))
    rows = Rows(tokenise(books, tokenizer), tokenizer, options.tokens_per_step)
    phases = CONTINUED if options.resume else FROM_SCRATCH
    seed = options.seed + progress.step
    requests = Requests(budget, phases, options.longest, seed, progress.step)
    trainee = Trainee(on_device(model, device), progress.retrieval_layers, torch.bfloat16, options.compiled)
    backends = fastest_attention(model.config, device)
    with sdpa_kernel(backends, set_priority=True), (options.out / checkpoint.LOG_FILE).open("a") as log:
        _write(log, event="start", backends=[each.name for each in backends], parameters=model.num_parameters())
        run = _Run(options, budget, requests, trainee, tokenizer, progress, log)
        run.compile(rows)
        budget.begin()
        stream = batch_stream(rows, requests, options.workers, pin=device.type == "cuda")
        run.quick = _quick_questions(options, pool)
        run.final = {
            (suite, length): pool.submit(suite, length, options.final_examples)
            for length in options.final_lengths
            for suite in MEASURED
        }
        run.loop(stream)
        del stream
        run.save()
        figures = run.evaluate({key: future.result() for key, future in run.final.items()}, "final")
        (options.out / checkpoint.EVALUATION_FILE).write_text(json.dumps(figures, indent=1) + "\n")
    pool.close()
    return figures


def evaluate_run(
    run: Path, corpus: Path, lengths: tuple[int, ...], examples: int, device: str
) -> dict[str, dict[str, dict[str, float]]]:
    """Exact shares of a saved run by suite and length, in bf16, on the corpus's held-out books."""
    model, tokenizer, progress = checkpoint.load(run)
    _, heldout = split_books(read_books(corpus))
    trainee = Trainee(on_device(model, torch.device(device)), progress.retrieval_layers, torch.bfloat16, compiled=False)
    pool = QuestionPool(tokenizer, heldout, workers=2)
    asked = {(suite, length): pool.submit(suite, length, examples) for length in lengths for suite in MEASURED}
    figures = shares(trainee, {key: future.result() for key, future in asked.items()}, 65_536)
    pool.close()
    return figures


def _starting_point(options: TrainOptions, books: list[str]) -> tuple[LlamaForCausalLM, Tokenizer, checkpoint.Progress]:
    if options.resume:
        return checkpoint.load(options.resume)
    lines = (line for book in books for line in book.split("\n"))
    tokenizer = train_tokenizer(line for part in (lines, task_texts(books[0])) for line in part)
    return (
        new_model(options.shape, options.seed),
        tokenizer,
        checkpoint.Progress(0, 0, 0.0, options.shape.retrieval_layers),
    )


def _quick_questions(options: TrainOptions, pool: QuestionPool) -> dict[Any, "Future[Questions]"]:
    lengths = [length for length in (1024, 4096) if length in options.final_lengths] or options.final_lengths[:1]
    count = min(32, options.final_examples)
    return {(suite, length): pool.submit(suite, length, count, 10_000) for length in lengths for suite in MEASURED}


def _write(log: Any, **entry: Any) -> None:
    known = {key: v for key, v in entry.items() if not (isinstance(v, float) and isnan(v))}
    line = json.dumps({key: round(v, 5) if isinstance(v, float) else v for key, v in known.items()})
    log.write(line + "\n")
    log.flush()
    print(line, flush=True)


class _Run:
    """The state of one call: optimizer, counters and log."""

    def __init__(
        self,
        options: TrainOptions,
        budget: Budget,
        requests: Requests,
        trainee: Trainee,
        tokenizer: Tokenizer,
        progress: checkpoint.Progress,
        log: Any,
    ) -> None:
        self.options, self.budget, self.requests = options, budget, requests
        self.trainee, self.tokenizer, self.log = trainee, tokenizer, log
        self.first = self.step = progress.step
        self.tokens, self.earlier = progress.tokens, progress.minutes
        self.began = time.monotonic()
        self.quick: dict[Any, Future[Questions]] = {}
        self.final: dict[Any, Future[Questions]] = {}
        parameters = list(trainee.model.parameters())
        self.parameters = parameters
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [each for each in parameters if each.ndim > 1], "weight_decay": 0.05},
                {"params": [each for each in parameters if each.ndim == 1], "weight_decay": 0.0},
            ],
            lr=options.peak_rate,
            betas=(0.9, 0.95),
            fused=True,
        )

    def compile(self, rows: Rows) -> None:
        """Run a batch of each kind forward and backward, unused: compilation is over when the curriculum begins."""
        started = time.monotonic()
        request = next(iter(self.requests))
        for dropping in sorted({False, any(phase.dropping for phase in self.requests.phases)}):
            batch = rows[replace(request, dropping=dropping)].to(self.trainee.model.device)
            self.trainee.losses(batch, self.options.early_weight).total.backward()
        self.optimizer.zero_grad(set_to_none=True)
        _write(self.log, event="compiled", seconds=time.monotonic() - started)

    def loop(self, stream: Iterator[Batch]) -> None:
        """Train until the budget is used."""
        device = self.trainee.model.device
        marks = [(index + 1) / self.options.evaluations for index in range(self.options.evaluations - 1)]
        last_time, last_tokens, since = time.monotonic(), self.tokens, []
        while (fraction := self.budget.fraction(self.step - self.first)) < 1.0:
            batch = next(stream).to(device)
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(fraction, self.step - self.first, self.options.peak_rate)
            losses = self.trainee.losses(batch, self.options.early_weight)
            losses.total.backward()
            norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self.tokens += batch.inputs.numel()
            since.append((batch.inputs.shape[1], losses, norm))
            if len(since) == 25:
                now = time.monotonic()
                self._log_steps(since, fraction, (self.tokens - last_tokens) / (now - last_time))
                last_time, last_tokens, since = time.monotonic(), self.tokens, []
            if marks and fraction >= marks[0]:
                marks.pop(0)
                ready = {key: future.result() for key, future in self.quick.items() if future.done()}
                self.evaluate(ready, "quick")
                self.save()

    def _watch_copying(self, fraction: float, copy_right: float) -> None:
        """Let the curriculum go on once copying is learned; a run without it by a quarter of its budget is given up."""
        self.requests.copying |= copy_right > _COPYING
        if not self.requests.copying and fraction > 0.25 and self.step - self.first > 1000:
            raise ModelError(
                f"Only {copy_right:.0%} of copied tokens are right after {self.step} steps: "
                "try another seed, a lower rate or a longer budget."
            )

    def _log_steps(self, since: list[tuple[int, Losses, torch.Tensor]], fraction: float, speed: float) -> None:
        """One line per length among the last steps, with means over them."""
        for length in sorted({length for length, _, _ in since}):
            those = [losses for each, losses, _ in since if each == length]
            loss, right, early = (
                torch.stack(parts).nanmean(0).tolist()
                for parts in (
                    [each.loss for each in those],
                    [each.right for each in those],
                    [each.early_right for each in those],
                )
            )
            _write(
                self.log,
                step=self.step,
                fraction=fraction,
                length=length,
                steps=len(those),
                prose_loss=loss[Kind.PROSE],
                copy_loss=loss[Kind.COPY],
                answer_loss=loss[Kind.ANSWER],
                chain_loss=loss[Kind.CHAIN],
                copy_right=right[Kind.COPY],
                answer_right=right[Kind.ANSWER],
                chain_right=right[Kind.CHAIN],
                early_copy_right=early[Kind.COPY],
                early_answer_right=early[Kind.ANSWER],
                early_chain_right=early[Kind.CHAIN],
                gradient=max(float(norm) for each, _, norm in since if each == length),
                tokens=self.tokens,
                tokens_per_s=speed,
            )
            self._watch_copying(fraction, right[Kind.COPY])

    def evaluate(self, questions: dict[Any, Questions], event: str) -> dict[str, Any]:
        """Exact shares by suite and length, at the output and after the retrieval layers."""
        figures = shares(self.trainee, questions, self.options.tokens_per_step)
        _write(self.log, event=event, step=self.step, tokens=self.tokens, exact=figures)
        return figures

    def save(self) -> None:
        """Write the model and the progress to the run's folder."""
        minutes = self.earlier + (time.monotonic() - self.began) / 60
        progress = checkpoint.Progress(self.step, self.tokens, minutes, self.trainee.retrieval_layers)
        checkpoint.save(self.options.out, self.trainee.model, self.tokenizer, progress)
