"""The errors a user can cause or meet, each one sentence that says what is wrong and what to do."""


class SlimError(Exception):
    """Base of every error that is shown to a user as its message alone, without a traceback."""


class ConfigError(SlimError, ValueError):
    """A `SlimConfig` that cannot be run."""


class DocumentError(SlimError):
    """An upload that cannot be turned into text."""


class ModelError(SlimError):
    """A model that cannot be loaded or is not supported."""


class MemoryLimitError(SlimError):
    """The request does not fit in the memory at hand."""


def needs_extra(what: str, package: str, extra: str) -> str:
    """The sentence for a package that is not installed because only `what` needs it: where it comes from."""
    return f"{what} needs {package}: pip install sliminfer[{extra}]."
