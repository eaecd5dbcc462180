"""OpenDocument texts: paragraphs, lists, tables and notes, with all changes accepted."""

from collections.abc import Mapping

from sliminfer.documents.archive import Archive, XmlReader
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.office import BoundedFlow
from sliminfer.documents.text import tidy
from sliminfer.errors import DocumentError

_CONTENT, _MANIFEST = "content.xml", "META-INF/manifest.xml"
# The first member of such a file is its type, stored as it is, so that the type stands at a fixed place.
_TYPE = slice(30, 30 + len("mimetype") + 39)
_TEXT = b"mimetypeapplication/vnd.oasis.opendocument.text"
# Deleted text, remarks at the margin, and the number that stands for a note.
_HIDDEN = frozenset(("tracked-changes", "annotation", "note-citation", "forms"))
_MOST_SPACES = 100  # that one element may stand for


def _parse(upload: Upload) -> Parsed:
    """Paragraphs apart by a blank line, list items and table rows by a line end, cells by a tab; notes in brackets."""
    archive = Archive(upload.data, upload.name, upload.limits)
    if _MANIFEST in archive.members:
        manifest = _Manifest()
        archive.read_xml(_MANIFEST, manifest)
        if manifest.locked:
            raise DocumentError(f"'{upload.name}' has a password: remove it and upload the file again.")
    flow = BoundedFlow(upload.name, upload.limits)
    archive.read_xml(_CONTENT, _Body(flow))
    return Parsed(tidy(flow.text()))


def _marked(upload: Upload) -> bool:
    return upload.is_zip and upload.data[_TYPE] == _TEXT


class _Manifest(XmlReader):
    """META-INF/manifest.xml: whether anything is encrypted."""

    locked = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.locked = self.locked or name == "encryption-data"


class _Body(XmlReader):
    """Writes the running text of content.xml."""

    def __init__(self, flow: BoundedFlow) -> None:
        self._flow = flow
        self._hidden = self._paragraphs = self._cells = self._items = self._notes = self._in_note = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self._hidden or name in _HIDDEN:
            self._hidden += 1
        elif name in ("p", "h"):
            self._paragraphs += 1
            self._in_note += bool(self._notes)
            if self._in_note > 1:
                self._flow.flowing(" ")
        elif name == "table-cell":
            self._cells += 1
        elif name == "list-item":
            self._items += 1
        elif name == "note":
            self._notes, self._in_note = self._notes + 1, 0
            self._flow.verbatim(" [")
        elif self._paragraphs and name in ("tab", "line-break"):
            self._flow.verbatim("\t" if name == "tab" else "\n")
        elif self._paragraphs and name == "s":
            many = attributes.get("c", "1")
            self._flow.verbatim(" " * min(int(many) if many.isdecimal() and len(many) < 4 else 1, _MOST_SPACES))

    def end(self, name: str) -> None:
        if self._hidden:
            self._hidden -= 1
        elif name in ("p", "h"):
            self._paragraphs -= 1
            if self._cells and not self._notes:
                self._flow.flowing(" ")
            elif not self._notes:
                self._flow.line_break(1 if self._items else 2)
        elif name == "table-cell":
            self._cells -= 1
            self._flow.next_cell()
        elif name == "table-row":
            self._flow.line_break()
        elif name == "table":
            self._flow.line_break(2)
        elif name == "list-item":
            self._items -= 1
        elif name == "list" and not self._items:
            self._flow.line_break(2)
        elif name == "note":
            self._notes, self._in_note = self._notes - 1, 0
            self._flow.verbatim("]")

    def characters(self, text: str) -> None:
        if self._paragraphs and not self._hidden:
            self._flow.flowing(text)


OPEN_DOCUMENT = Kind(
    "odt", "OpenDocument", (".odt", ".ott"), _parse, mark=_marked, noun="text of OpenDocument"
)
