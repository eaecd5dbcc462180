"""Word documents: the text of the main part as Word shows it with all changes accepted, then the notes."""

import posixpath
from collections.abc import Mapping

from sliminfer.documents.archive import Archive, XmlReader
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.office import related
from sliminfer.documents.text import TextFlow, tidy

_MAIN = "word/document.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
# Text that was deleted or moved away, and the copy of a drawing meant for old versions of Word.
_HIDDEN = frozenset(("del", "moveFrom", "Fallback", "instrText"))
_MARKS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def _parse(upload: Upload) -> Parsed:
    """Paragraphs apart by a blank line, list items and table rows by a line end, table cells by a tab."""
    archive = Archive(upload.data, upload.name, upload.limits)
    main = _main_part(archive)
    folder = posixpath.dirname(main)
    flow = TextFlow()
    archive.read_xml(main, _Body(flow))
    for note in _NOTES:
        member = posixpath.join(folder, posixpath.basename(note))
        if member in archive.members:
            flow.line_break(2)
            archive.read_xml(member, _Body(flow))
    return Parsed(tidy(flow.text()))


def _marked(upload: Upload) -> bool:
    # A book may have a folder of this name too.
    in_word = any(member.startswith("word/") for member in upload.members)
    return in_word and "META-INF/container.xml" not in upload.members


def _main_part(archive: Archive) -> str:
    if _MAIN in archive.members:
        return _MAIN
    mains = [member for kind, member in related(archive, "").values() if kind == "officeDocument"]
    if not mains:
        raise archive.damaged()
    return mains[-1]


class _Body(XmlReader):
    """Writes the running text of one WordprocessingML part."""

    def __init__(self, flow: TextFlow) -> None:
        self._flow = flow
        self._hidden = 0
        self._in_text = False
        self._cells = 0
        self._in_list = False

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if self._hidden or name in _HIDDEN:
            self._hidden += 1
            return
        if name == "t":
            self._in_text = True
        elif name == "tc":
            self._cells += 1
        elif name == "p" and not self._cells:
            self._in_list = False
        elif name == "numPr":
            self._in_list = True
        # A tab stop in a paragraph's settings is also named tab, and always carries a position.
        elif name in _MARKS and "pos" not in attributes:
            self._flow.verbatim(_MARKS[name])

    def end(self, name: str) -> None:
        if self._hidden:
            self._hidden -= 1
            return
        if name == "t":
            self._in_text = False
        elif name == "tc":
            self._cells -= 1
            self._flow.next_cell()
        elif name == "tr":
            self._flow.line_break()
        elif name == "tbl":
            self._flow.line_break(1 if self._cells else 2)
        elif name == "p":
            if self._cells:
                self._flow.flowing(" ")
            else:
                self._flow.line_break(1 if self._in_list else 2)

    def characters(self, text: str) -> None:
        if self._in_text:
            self._flow.verbatim(text)


WORD = Kind("docx", "Word", (".docx", ".docm"), _parse, mark=_marked, noun="Word document")
