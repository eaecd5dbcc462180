"""A progress bar with the time left, on stderr, so that results can be piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def progress_bar(total: int, what: str, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps; the function it gives makes one step and says what was done.

    `shown` is False in all but the first process of a job.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not shown or total == 0) as progress:
        task = progress.add_task(what, total=total)

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        yield step
