"""Bounded reading of zip containers and of the XML inside them. Nothing is ever written to disk."""

import io

# Entity declarations are refused below, so nothing can expand.
import xml.parsers.expat  # nosec B406 B407
import zipfile
from collections.abc import Callable, Mapping

from sliminfer.documents.document import MIB, DocumentLimits
from sliminfer.errors import DocumentError

_CHUNK = MIB
_NAMESPACE_END = " "


class Archive:
    """The members of a zip file by name, unpacked in memory up to a total of `limits.max_expanded_bytes`.

    Sizes written in the archive are not believed: the bytes are counted as they are unpacked.
    """

    def __init__(self, data: bytes, name: str, limits: DocumentLimits) -> None:
        self._name = name
        self._left = limits.max_expanded_bytes
        self._limit = limits.max_expanded_bytes
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


class XmlReader:
    """Receives the parts of an XML file in order; names are without their namespace."""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""

    def characters(self, text: str) -> None:
        """A piece of text between two tags."""


def read_xml(data: bytes, reader: XmlReader, broken: Callable[[], DocumentError]) -> None:
    """Feed the XML in `data` to `reader` as a stream, so that neither depth nor size builds a tree.

    Entity declarations are refused: no office format needs them, and they make a small file a huge one.
    """
    parser = xml.parsers.expat.ParserCreate(namespace_separator=_NAMESPACE_END)
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        reader.start(_local(tag), {_local(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        reader.end(_local(tag))

    def entity(*_: object) -> None:
        raise broken()

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = reader.characters
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except (xml.parsers.expat.ExpatError, ValueError, LookupError) as error:
        raise broken() from error


def _local(name: str) -> str:
    return name.rpartition(_NAMESPACE_END)[2]
