"""`python -m sliminfer.demo_model train|evaluate|export`."""

import json
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from sliminfer.demo_model import export as exporting
from sliminfer.demo_model.network import Shape
from sliminfer.demo_model.train import TrainOptions, evaluate_run
from sliminfer.demo_model.train import train as run_training
from sliminfer.errors import SlimError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def train(
    corpus: Annotated[Path, typer.Option(help="Folder of .txt files, or one .txt or .xz file.")],
    out: Annotated[Path, typer.Option(help="Folder of the run: model, log, evaluation.")],
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget, reading and compiling included.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps instead, for a reproducible run.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Folder of an earlier run to go on from.")] = None,
    layers: int = 12,
    width: int = 384,
    heads: int = 6,
    kv_heads: int = 3,
    hidden: int = 896,
    retrieval_layers: Annotated[int, typer.Option(help="Layers after which retrieval is supervised.")] = 4,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1.5e-3,
    tokens_per_step: int = 32_768,
    longest: Annotated[int, typer.Option(help="Longest context trained on, in tokens.")] = 16_384,
    seed: int = 0,
    workers: Annotated[int, typer.Option(help="Processes that make batches; 0 for none.")] = 14,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    examples: Annotated[int, typer.Option(help="Held-out examples of each suite and length at the end.")] = 200,
) -> None:
    """Train the demo model within a budget of minutes or steps."""
    if (minutes is None) == (steps is None):
        raise SlimError("Give either --minutes or --steps.")
    chosen = _device(device)
    lengths = tuple(length for length in (1024, 2048, 4096, 8192, 16384) if length <= longest) or (longest,)
    run_training(
        TrainOptions(
            corpus=corpus,
            out=out,
            minutes=minutes,
            steps=steps,
            resume=resume,
            shape=Shape(layers, width, heads, kv_heads, hidden, retrieval_layers),
            device=chosen,
            seed=seed,
            peak_rate=rate,
            tokens_per_step=tokens_per_step,
            longest=longest,
            workers=workers,
            compiled=chosen == "cuda",
            final_lengths=lengths,
            final_examples=examples,
        )
    )


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    corpus: Annotated[Path, typer.Option(help="The corpus the run was trained on; its held-out books are used.")],
    lengths: Annotated[str, typer.Option(help="Contexts in tokens, separated by commas.")] = "1024,2048,4096",
    examples: Annotated[int, typer.Option(help="Held-out examples of each suite and length.")] = 50,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Measure a run's model on held-out tasks and print the exact shares as JSON."""
    figures = evaluate_run(run, corpus, tuple(int(each) for each in lengths.split(",")), examples, _device(device))
    print(json.dumps(figures, indent=1))


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="Folder of a run.")],
    to: Annotated[Path, typer.Option(help="Folder of the model, as `--model` takes it.")],
) -> None:
    """Copy a run's model, tokenizer, progress and measured accuracy into one folder."""
    exporting.export(run, to)


def _device(name: str) -> str:
    return name if name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    try:
        app()
    except SlimError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
