"""Typer's complaints about a command line still are what `cli` takes them for."""

from __future__ import annotations

import pytest
import typer

from sliminfer.commands.compat import CommandLineError, message_of


def command(count: int) -> None:
    """A command with one argument, a number."""


@pytest.mark.parametrize(
    ("line", "words"), [(["many"], "Invalid value for 'count'"), ([], "Missing argument"), (["--no"], "No such option")]
)
def test_a_wrong_command_line_is_caught_and_told_in_words(line: list[str], words: str) -> None:
    app = typer.Typer()
    app.command()(command)
    with pytest.raises(CommandLineError) as caught:
        app(line, standalone_mode=False)
    assert words in message_of(caught.value)
    assert "\n" not in message_of(caught.value)


def test_what_is_no_complaint_is_not_caught() -> None:
    assert not issubclass(typer.Abort, CommandLineError)
    assert not issubclass(OSError, CommandLineError)
