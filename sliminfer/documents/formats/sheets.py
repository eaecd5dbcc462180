"""Excel files: every sheet under its name, a line for each row, cells apart by tabs, as the sheet shows them."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from sliminfer.documents.archive import Archive, XmlReader
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.office import BoundedFlow, related
from sliminfer.documents.text import tidy

_MAIN = "xl/workbook.xml"
_DATES = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))  # formats that come with Excel
_QUOTED = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
_DAY_ZERO = datetime(1899, 12, 30)
_LAST_DAY = 2_958_466  # the first day of the year 10000
_LONGEST_FORMAT = 255  # that Excel takes
_WIDEST_GAP = 50  # empty cells between two that are written out


def _parse(upload: Upload) -> Parsed:
    archive = Archive(upload.data, upload.name, upload.limits)
    workbook, targets = _Workbook(), related(archive, _MAIN)
    archive.read_xml(_MAIN, workbook)
    parts = {kind: member for kind, member in targets.values() if member in archive.members}
    shared, styles = _Strings(), _Styles()
    if "sharedStrings" in parts:
        archive.read_xml(parts["sharedStrings"], shared)
    if "styles" in parts:
        archive.read_xml(parts["styles"], styles)
    flow = BoundedFlow(upload.name, upload.limits)
    seen = set[str]()
    for name, identity in workbook.sheets:
        kind, member = targets.get(identity, ("", ""))
        if kind == "worksheet" and member in archive.members and member not in seen:
            seen.add(member)
            flow.line_break(2)
            flow.verbatim(f"# {name}")
            flow.line_break()
            archive.read_xml(member, _Sheet(flow, shared.texts, styles.dates))
    if not seen:
        raise archive.damaged()
    return Parsed(tidy(flow.text()))


class _Workbook(XmlReader):
    """workbook.xml: names of the sheets, in order, with the ids of their relations."""

    def __init__(self) -> None:
        self.sheets: list[tuple[str, str]] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "sheet":
            self.sheets.append((attributes.get("name", ""), attributes.get("id", "")))


class _Strings(XmlReader):
    """sharedStrings.xml: the texts that cells name by their number; how they are to be read aloud is left out."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._pieces: list[str] = []
        self._in_text, self._phonetic = False, 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "si":
            self._pieces = []
        elif name == "rPh":
            self._phonetic += 1
        elif name == "t":
            self._in_text = not self._phonetic

    def end(self, name: str) -> None:
        if name == "si":
            self.texts.append(_on_one_line("".join(self._pieces)))
        elif name == "rPh":
            self._phonetic -= 1
        elif name == "t":
            self._in_text = False

    def characters(self, text: str) -> None:
        if self._in_text:
            self._pieces.append(text)


class _Styles(XmlReader):
    """styles.xml: which of the cells' styles show a number as a date."""

    def __init__(self) -> None:
        self.dates: set[int] = set()
        self._own: set[str] = set()
        self._in_cells, self._count = False, 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "numFmt":
            if set(_QUOTED.sub("", attributes.get("formatCode", "")[:_LONGEST_FORMAT]).lower()) & set("dy"):
                self._own.add(attributes.get("numFmtId", ""))
        elif name == "cellXfs":
            self._in_cells = True
        elif name == "xf" and self._in_cells:
            number = attributes.get("numFmtId", "")
            if number in self._own or _number(number) in _DATES:
                self.dates.add(self._count)
            self._count += 1

    def end(self, name: str) -> None:
        if name == "cellXfs":
            self._in_cells = False


class _Sheet(XmlReader):
    """Writes the rows of one sheet: of a formula what it came to."""

    def __init__(self, flow: BoundedFlow, shared: list[str], dates: set[int]) -> None:
        self._flow, self._shared, self._dates = flow, shared, dates
        self._column = self._at = 0
        self._kind, self._style, self._pieces, self._in_value = "", "", list[str](), False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "row":
            self._column = self._at = 0
        elif name == "c":
            self._kind, self._style, self._pieces = attributes.get("t", "n"), attributes.get("s", ""), []
            self._column = _column(attributes.get("r", "")) or self._column + 1
        elif name in ("v", "t"):
            self._in_value = True

    def end(self, name: str) -> None:
        if name in ("v", "t"):
            self._in_value = False
        elif name == "row":
            self._flow.line_break()
        elif name == "c" and (text := self._shown("".join(self._pieces))):
            if self._at:
                self._flow.verbatim("\t" * min(max(1, self._column - self._at), _WIDEST_GAP))
            elif self._column > 1:
                self._flow.verbatim("\t" * min(self._column - 1, _WIDEST_GAP))
            self._flow.verbatim(text)
            self._at = self._column

    def characters(self, text: str) -> None:
        if self._in_value:
            self._pieces.append(text)

    def _shown(self, value: str) -> str:
        """A cell's value as the sheet shows it, on one line."""
        if self._kind == "s":
            number = _number(value)
            return self._shared[number] if 0 <= number < len(self._shared) else ""
        if self._kind == "b":
            value = {"0": "FALSE", "1": "TRUE"}.get(value, value)
        elif self._kind == "n" and _number(self._style) in self._dates:
            value = _date(value)
        return _on_one_line(value)


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def _number(text: str) -> int:
    """The whole number that `text` writes; -1 for none."""
    return int(text) if text.isdecimal() and len(text) < 10 else -1


def _column(reference: str) -> int:
    """The column of a cell's reference, from 1; 0 where it has none."""
    number = 0
    for letter in reference[:3]:
        if not "A" <= letter <= "Z":
            break
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _date(value: str) -> str:
    """The day, and the time where it has one, that a number of days stands for."""
    try:
        days = float(value)
    except ValueError:
        return value
    if not 0 <= days < _LAST_DAY:
        return value
    moment = _DAY_ZERO + timedelta(seconds=round(days * 86_400))
    if days < 1:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%Y-%m-%d}" if days == int(days) else f"{moment:%Y-%m-%d %H:%M:%S}"


SHEETS = Kind(
    "xlsx", "Excel", (".xlsx", ".xlsm"), _parse, mark=lambda upload: _MAIN in upload.members, noun="spreadsheet"
)
