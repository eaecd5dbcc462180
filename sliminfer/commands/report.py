"""`sliminfer report`: result files as one self-contained HTML page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sliminfer.errors import ConfigError


def command(
    results: Annotated[list[Path], typer.Argument(help="Result files written by --json.")],
    out: Annotated[Path, typer.Option(help="Page to write.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="Its title.")] = "SlimInfer report",
) -> None:
    """Figures and tables of results, every number with its command, model, commit and hardware."""
    from sliminfer.evaluate.report import read_result, report_html

    page = report_html({path.stem: read_result(path) for path in results}, title)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error.strerror}): choose another --out.") from error
    print(f"Written to {out}.", file=sys.stderr)
