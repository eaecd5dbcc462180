"""Cleaning of text that any parser produced, and assembling of text from structured formats."""

import re

_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85]")
# Lone surrogates come out of broken PDF fonts and cannot be encoded again.
_NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
# Looking back keeps this linear: a run that ends in a word is tried once, not from each of its spaces.
_TRAILING_SPACE = re.compile(r"(?<![ \t\u00a0])[ \t\u00a0]+(?=\n|$)")
_MANY_NEWLINES = re.compile(r"\n{3,}")


def clean(text: str) -> str:
    """`text` with `\\n` line ends, without a leading byte order mark, control characters or surrogates."""
    return _NOT_TEXT.sub("", _LINE_ENDS.sub("\n", text.removeprefix("\ufeff")))


def tidy(text: str) -> str:
    """Cleaned text of a laid-out format: no space before a line end, at most one blank line in a row."""
    return _MANY_NEWLINES.sub("\n\n", _TRAILING_SPACE.sub("", clean(text))).strip("\n")


def control_share(text: str) -> float:
    """Share of characters in `text` that no text file holds; above a few percent the bytes were binary."""
    return len(_NOT_TEXT.findall(text)) / max(1, len(text))


class TextFlow:
    """Writes running text, with breaks and spaces that never pile up."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._newlines = 2
        self._after_space = True
        self._owed = ""

    def verbatim(self, text: str) -> None:
        """Append `text` as it stands."""
        if not text:
            return
        self._parts += (self._owed, text)
        self._owed = ""
        body = text.rstrip("\n")
        self._newlines = len(text) - len(body) + (0 if body else self._newlines)
        self._after_space = text[-1].isspace()

    def flowing(self, text: str) -> None:
        """Append `text` with each run of white space as one space, and none at the start of a line."""
        if not self._after_space and not self._owed and text[:1].isspace():
            self._owed = " "
        if words := text.split():
            self.verbatim(" ".join(words))
            self._owed = " " if text[-1].isspace() else ""

    def bullet(self) -> None:
        """Put a dash before the next text, however many breaks come between."""
        self._owed = "- "

    def next_cell(self) -> None:
        """Put a tab before the next text of the same line."""
        self._owed = self._owed.rstrip(" ") + "\t"

    def line_break(self, newlines: int = 1) -> None:
        """Make sure that the text so far ends with at least `newlines` line ends."""
        if self._owed.isspace():
            self._owed = ""
        missing = newlines - self._newlines
        if missing > 0:
            self._parts.append("\n" * missing)
            self._newlines = newlines
            self._after_space = True

    def text(self) -> str:
        return "".join(self._parts)
