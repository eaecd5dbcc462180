"""Bounded reading of zip containers and of the XML inside them. Nothing is ever written to disk."""

import io

# A document type with declarations is refused below, so nothing can expand.
import xml.parsers.expat  # nosec B406 B407
import zipfile
from collections.abc import Mapping

from sliminfer.documents.document import MIB, DocumentLimits
from sliminfer.errors import DocumentError

_CHUNK = MIB


class XmlReader:
    """Receives the parts of an XML file in order; names are without their namespace."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def characters(self, text: str) -> None:
        """A piece of text between two tags."""


class Archive:
    """The members of a zip file by name, unpacked in memory up to a total of `limits.max_expanded_bytes`.

    Sizes written in the archive are not believed: the bytes are counted as they are unpacked, and the elements of its
    XML as they are read.
    """

    def __init__(self, data: bytes, name: str, limits: DocumentLimits) -> None:
        self._name = name
        self._left = limits.max_expanded_bytes
        self._limit = limits.max_expanded_bytes
        self._elements_left = self._most_elements = limits.max_elements
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except Exception as error:
            raise self.damaged() from error
        self.members = frozenset(self._zip.namelist())

    def damaged(self) -> DocumentError:
        """The refusal for an archive that breaks its format's rules."""
        return DocumentError(f"'{self._name}' is damaged and cannot be read: export or download it again.")

    def read(self, member: str) -> bytes:
        """The unpacked bytes of `member`; DocumentError where it is missing, locked, broken or too big."""
        try:
            entry = self._zip.getinfo(member)
            if entry.flag_bits & 1:
                raise DocumentError(f"'{self._name}' has a password: remove it and upload the file again.")
            pieces = []
            with self._zip.open(entry) as stream:
                while piece := stream.read(_CHUNK):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise DocumentError(
                            f"'{self._name}' unpacks to more than {self._limit // MIB} MiB: "
                            "split it, or upload its text as .txt."
                        )
                    pieces.append(piece)
            return b"".join(pieces)
        except (DocumentError, MemoryError):
            raise
        except Exception as error:
            raise self.damaged() from error

    def read_xml(self, member: str, reader: XmlReader) -> None:
        """Feed the XML of `member` to `reader` as a stream, so that neither depth nor size builds a tree.

        Names are cut at their prefix, without a look at what it stands for: a prefix of one letter can stand for a name
        of a megabyte, which would be written out for every element. A document type with declarations of its own is
        refused for the same reason: no office format needs one, and its entities and default attributes make a small
        file a huge one. Raises DocumentError.
        """
        parser = xml.parsers.expat.ParserCreate()
        parser.buffer_text = True

        def start(tag: str, attributes: dict[str, str]) -> None:
            self._elements_left -= 1
            if self._elements_left < 0:
                raise self._too_many_elements()
            reader.start(_local(tag), {_local(key): value for key, value in attributes.items()})

        def end(tag: str) -> None:
            reader.end(_local(tag))

        def document_type(_name: str, _system: str | None, _public: str | None, declares: int) -> None:
            if declares:
                raise self.damaged()

        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = reader.characters
        parser.StartDoctypeDeclHandler = document_type
        try:
            parser.Parse(self.read(member), True)
        except (xml.parsers.expat.ExpatError, ValueError, LookupError) as error:
            raise self.damaged() from error

    def _too_many_elements(self) -> DocumentError:
        return DocumentError(
            f"'{self._name}' has more than {self._most_elements:,} elements: split it, or upload its text as .txt."
        )


def _local(name: str) -> str:
    return name.rpartition(":")[2]
