"""Rich Text Format: the running text, without styles, pictures and what only a program reads."""

import re

from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.office import BoundedFlow
from sliminfer.documents.text import tidy
from sliminfer.errors import DocumentError

_MARK = b"{\\rtf"
# A control word with its number and the space that ends it, a byte in hexadecimal, a symbol, a brace, or plain text.
_TOKEN = re.compile(r"\\([a-z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\(.)|([{}])|([^\\{}\r\n]+)", re.DOTALL)
# Groups that hold no text of the document, besides those that begin with \*.
_HIDDEN = frozenset(
    (
        "fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "themedata", "datastore", "listtable",
        "listoverridetable", "rsidtbl", "generator", "header", "headerl", "headerr", "headerf", "footer", "footerl",
        "footerr", "footerf", "fldinst", "xmlnstbl", "latentstyles",
    )
)  # fmt: skip
_BREAKS = {"par": "\n\n", "sect": "\n\n", "page": "\n\n", "line": "\n", "row": "\n", "tab": "\t", "cell": "\t",
           "emdash": "—", "endash": "–", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“",
           "rdblquote": "”", "emspace": " ", "enspace": " "}  # fmt: skip
_SYMBOLS = {"~": "\u00a0", "_": "-", "\\": "\\", "{": "{", "}": "}", "\n": "\n\n", "\r": "\n\n"}
_CODECS = {437: "cp437", 850: "cp850", 932: "cp932", 936: "gbk", 949: "cp949", 950: "cp950", 65001: "utf-8"}
_DEEPEST = 1_000  # groups within groups


def _parse(upload: Upload) -> Parsed:
    """Paragraphs apart by a blank line, cells of a table by a tab. Raises DocumentError for deep nesting."""
    reader = _Reader(BoundedFlow(upload.name, upload.limits), upload.name)
    for match in _TOKEN.finditer(upload.data.decode("latin-1")):
        reader.take(match)
    reader.flush()
    # What lies beyond 16 bits is written as two halves.
    whole = reader.flow.text().encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return Parsed(tidy(whole))


class _Reader:
    """What is in force at a place of the file: whether its group is hidden, and what bytes stand for."""

    def __init__(self, flow: BoundedFlow, name: str) -> None:
        self.flow, self._name = flow, name
        self._groups: list[tuple[bool, int]] = []
        self._hidden, self._fallback, self._skip, self._codec = False, 1, 0, "cp1252"
        self._bytes = bytearray()

    def take(self, match: re.Match[str]) -> None:
        """One token of the file."""
        word, number, byte, symbol, brace, text = match.groups()
        if byte is not None:
            self._plain(bytes((int(byte, 16),)))
        elif text is not None:
            self._plain(text.encode("latin-1"))
        elif brace == "{":
            self.flush()
            if len(self._groups) >= _DEEPEST:
                raise DocumentError(f"'{self._name}' is nested too deeply: open it, save it again and upload that.")
            self._groups.append((self._hidden, self._fallback))
        elif brace == "}":
            self.flush()
            self._skip = 0
            if self._groups:
                self._hidden, self._fallback = self._groups.pop()
        elif symbol is not None:
            self._symbol(symbol)
        else:
            self._word(word, number)

    def flush(self) -> None:
        """Write the bytes that have come so far as the text that they stand for."""
        if self._bytes:
            self.flow.verbatim(self._bytes.decode(self._codec, "replace"))
            self._bytes.clear()

    def _plain(self, data: bytes) -> None:
        """Bytes of text, less those that only stand in for a character which came before them."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if not self._hidden:
            self._bytes += data[skipped:]

    def _symbol(self, symbol: str) -> None:
        if symbol == "*":
            self._hidden = True
        elif not self._hidden:
            self._write(_SYMBOLS.get(symbol, ""))

    def _word(self, word: str, number: str | None) -> None:
        value = int(number) if number else 0
        if word in _HIDDEN:
            self._hidden = True
        elif word == "ansicpg":
            self._codec = _CODECS.get(value, f"cp{value}" if 1250 <= value <= 1258 or value == 874 else "cp1252")
        elif word == "uc":
            self._fallback = min(max(value, 0), 8)
        elif self._hidden:
            return
        elif word == "u":
            self._write(chr(value % 65_536))
            self._skip = self._fallback
        elif word in _BREAKS:
            self._write(_BREAKS[word])

    def _write(self, text: str) -> None:
        self.flush()
        self.flow.verbatim(text)


RTF = Kind("rtf", "RTF", (".rtf",), _parse, mark=lambda upload: upload.data.startswith(_MARK), noun="rich text file")
