"""EPUB books: the chapters in reading order (the spine), each an XHTML page."""

import posixpath
from collections.abc import Mapping
from urllib.parse import unquote

from sliminfer.documents.archive import Archive, XmlReader
from sliminfer.documents.encoding import decode
from sliminfer.documents.formats.html import html_to_text
from sliminfer.documents.kind import Kind, Parsed, Upload
from sliminfer.documents.text import tidy
from sliminfer.errors import DocumentError

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"


def _parse(upload: Upload) -> Parsed:
    """The text of all chapters, a blank line apart, and a warning where the book names missing ones.

    Member names come from the book itself; they are looked up in the archive and never on disk.
    Raises DocumentError for a book under copy protection, or one whose contents list cannot be read.
    """
    archive = Archive(upload.data, upload.name, upload.limits)
    container = _Container()
    archive.read_xml(_CONTAINER, container)
    package = _Package()
    archive.read_xml(container.package, package)
    folder = posixpath.dirname(container.package)
    chapters = [posixpath.normpath(posixpath.join(folder, unquote(href))) for href in package.reading_order()]
    locked = _Locked()
    if _ENCRYPTION in archive.members:
        archive.read_xml(_ENCRYPTION, locked)
    if locked.members.intersection(chapters):
        raise DocumentError(f"'{upload.name}' is under copy protection (DRM): upload a copy without it.")
    present = [chapter for chapter in chapters if chapter in archive.members]
    if not present:
        raise archive.damaged()
    texts = [_chapter_text(archive, chapter) for chapter in present]
    missing = len(chapters) - len(present)
    warnings = (f"{missing} of {len(chapters)} chapters are missing in the file.",) if missing else ()
    return Parsed(tidy("\n\n".join(text for text in texts if text.strip())), warnings=warnings)


def _chapter_text(archive: Archive, chapter: str) -> str:
    decoded = decode(archive.read(chapter), markup=True)
    return html_to_text(decoded.text).strip("\n") if decoded else ""


class _Container(XmlReader):
    """META-INF/container.xml: where the package file is."""

    def __init__(self) -> None:
        self.package = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "rootfile" and not self.package:
            self.package = attributes.get("full-path", "")


class _Package(XmlReader):
    """The package file: the manifest names the parts, the spine orders them."""

    def __init__(self) -> None:
        self._parts: dict[str, str] = {}
        self._spine: list[str] = []

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "item" and "xml" in attributes.get("media-type", ""):
            self._parts[attributes.get("id", "")] = attributes.get("href", "")
        elif name == "itemref":
            self._spine.append(attributes.get("idref", ""))

    def reading_order(self) -> list[str]:
        """Each part of the spine once; a spine that repeats a part would otherwise multiply the text."""
        return [self._parts[part] for part in dict.fromkeys(self._spine) if part in self._parts]


class _Locked(XmlReader):
    """META-INF/encryption.xml: the parts that cannot be read (fonts often, chapters only under DRM)."""

    def __init__(self) -> None:
        self.members: set[str] = set()

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "CipherReference":
            self.members.add(posixpath.normpath(unquote(attributes.get("URI", ""))))


EPUB = Kind("epub", "EPUB", (".epub",), _parse, mark=lambda upload: _CONTAINER in upload.members)
