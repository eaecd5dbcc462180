"""What a document format is: what its files look like, and how one becomes text. `formats/` has one file for each."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from sliminfer.documents.document import DocumentLimits
from sliminfer.errors import DocumentError

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True)
class Upload:
    """The bytes of one file, and what is known before they are read.

    data: the file, not empty.
    name: its name, safe to show.
    limits: what its parse may take.
    named: the kind that the end of its name stands for; None where that is not known.
    advice: the labels of what to upload in place of a file that cannot be read, as in "PDF or HTML".
    """

    data: bytes
    name: str
    limits: DocumentLimits
    named: Kind | None
    advice: str

    @property
    def is_zip(self) -> bool:
        return self.data.startswith(_ZIP)

    @cached_property
    def members(self) -> frozenset[str]:
        """Names of what a zip file holds; empty for another file. Raises DocumentError for a damaged one."""
        if not self.is_zip:
            return frozenset()
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return frozenset(archive.namelist())
        except Exception as error:
            raise DocumentError(f"'{self.name}' is damaged and cannot be read: export or download it again.") from error


@dataclass(frozen=True)
class Parsed:
    """What a parser found in one upload: the fields of `Document` that are its to say."""

    text: str
    encoding: str | None = None
    pages: int | None = None
    warnings: tuple[str, ...] = ()
    page_starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A document format. A new one is a file in `formats/` that ends with one of these, named in `formats.KINDS`.

    name: what `Document.kind` says of its documents, such as "pdf".
    label: what a reader calls it, as in "upload a PDF".
    suffixes: ends of file names that stand for it, in lower case with their dot.
    parse: the text of an upload, as it is to be read: `text.clean` or `text.tidy` has gone over it. Raises
        DocumentError, one sentence with the remedy, for what cannot be read.
    mark: whether the content is of this kind beyond doubt, whatever the file's name. A kind with a mark is one
        whose every file bears it: another file with such a name is refused.
    guess: whether the content looks like this kind, asked only where neither a mark nor the file's name tells.
    noun: what one file of it is called, where that is not the label.
    late: packages of which a part is imported only when `parse` runs. Strangers' files are parsed where nothing can be
        loaded any more, so these are loaded first, whole, for uploads that may be of this kind by name, mark or guess;
        the latter two must then look at no more than a few bytes.
    """

    name: str
    label: str
    suffixes: tuple[str, ...]
    parse: Callable[[Upload], Parsed]
    mark: Callable[[Upload], bool] | None = None
    guess: Callable[[Upload], bool] | None = None
    noun: str = ""
    late: tuple[str, ...] = ()

    def may_be(self, upload: Upload) -> bool:
        """Whether `upload` might be of this kind: by its name, its mark, or how it looks."""
        return upload.named is self or any(look is not None and look(upload) for look in (self.mark, self.guess))
