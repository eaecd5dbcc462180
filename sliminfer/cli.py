"""The command line: one small file per command, and the one place where errors become a line on stderr."""

from __future__ import annotations

import os
import sys

import typer

from sliminfer.commands import ablate, bench, diffusion, models, report, run, space, sweep, tune
from sliminfer.commands import eval as eval_command
from sliminfer.commands.compat import CommandLineError, message_of
from sliminfer.errors import SlimError

app = typer.Typer(
    name="sliminfer",
    help="Full against pruned long-context inference, after SlimInfer (arXiv 2508.06447).",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(run.command)
app.command("models")(models.command)
app.command("bench")(bench.command)
app.command("eval")(eval_command.command)
app.command("ablate")(ablate.command)
app.command("diffusion")(diffusion.command)
app.command("sweep")(sweep.command)
app.command("tune")(tune.command)
app.command("report")(report.command)
app.add_typer(space.app, name="space")


def main() -> None:
    """Run the command line; a user's mistake ends with exit code 2 and one line on stderr."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        code = app(standalone_mode=False)
    except SlimError as error:
        _complain(str(error))
    except CommandLineError as error:
        _complain(f"{message_of(error).rstrip('.')}: try --help.")
    except (typer.Abort, KeyboardInterrupt):
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(message: str) -> None:
    print(" ".join(message.split()), file=sys.stderr)
    sys.exit(2)
