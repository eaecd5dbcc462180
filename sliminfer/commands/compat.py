"""What the command line uses of typer that typer does not promise to keep; tests/commands/test_compat.py watches it."""

from __future__ import annotations

from typing import Any

import typer

# Whatever typer raises for a wrong command line is one of these. It is click's, of which typer carries a copy since
# 0.26, and has no public name.
CommandLineError: type[Exception] = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")


def message_of(error: Exception) -> str:
    """What a `CommandLineError` says, without the usage line around it."""
    complaint: Any = error
    message: str = complaint.format_message()
    return message
