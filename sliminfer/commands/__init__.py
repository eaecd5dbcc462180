"""One file per command of `python -m sliminfer`. What is heavy is imported when a command runs."""
