"""The parts of an Office Open XML package, and how they name each other."""

import posixpath
from collections.abc import Mapping

from sliminfer.documents.archive import Archive, XmlReader
from sliminfer.documents.document import DocumentLimits
from sliminfer.documents.text import TextFlow
from sliminfer.errors import DocumentError


class Relations(XmlReader):
    """What one part is related to: pairs of type and target, by their id."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.found[attributes.get("Id", "")] = (kind, attributes.get("Target", ""))


def related(archive: Archive, part: str) -> dict[str, tuple[str, str]]:
    """The last word of each relation's type, and the member that it names, by the id that `part` calls it by."""
    folder, name = posixpath.split(part)
    member = posixpath.join(folder, "_rels", f"{name}.rels")
    if member not in archive.members:
        return {}
    relations = Relations()
    archive.read_xml(member, relations)
    return {
        identity: (kind, posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/"))
        for identity, (kind, target) in relations.found.items()
    }


class BoundedFlow(TextFlow):
    """Running text of which there may be so much: a part that is named again and again would otherwise multiply it."""

    def __init__(self, name: str, limits: DocumentLimits) -> None:
        super().__init__()
        self._name, self._limits, self._left = name, limits, limits.max_characters

    def verbatim(self, text: str) -> None:
        """Append `text` as it stands; raises DocumentError beyond the limit."""
        self._left -= len(text)
        if self._left < 0:
            most = self._limits.max_characters
            raise DocumentError(f"'{self._name}' holds more than {most:,} characters: take the part you need.")
        super().verbatim(text)
