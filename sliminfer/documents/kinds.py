"""What kind of file an upload is: by its content where that is telling, else by the end of its name."""

from pathlib import PurePosixPath

from sliminfer.documents.document import DocumentLimits
from sliminfer.documents.formats import KINDS
from sliminfer.documents.formats.plain import TEXT
from sliminfer.documents.kind import Kind, Upload
from sliminfer.documents.refused import refuse_known
from sliminfer.errors import DocumentError

_KIND_OF_SUFFIX: dict[str, Kind] = {suffix: kind for kind in KINDS for suffix in kind.suffixes}
ACCEPTED_SUFFIXES: tuple[str, ...] = tuple(_KIND_OF_SUFFIX)


def upload_of(data: bytes, name: str, limits: DocumentLimits) -> Upload:
    """The upload, with what its name and the list of formats say of it."""
    named = _KIND_OF_SUFFIX.get(PurePosixPath(name).suffix.lower())
    # Formats that can be told by their content: of those a stranger's file may be one under any name.
    *labels, last = [kind.label for kind in KINDS if kind.mark or kind.guess]
    return Upload(data, name, limits, named, f"{', '.join(labels)} or {last}")


def kind_of(upload: Upload) -> Kind:
    """The kind of `upload`; text where nothing tells, which then has to prove itself by its bytes.

    Raises DocumentError for content that is known and not supported, and for a file that is only named like a kind.
    """
    for kind in KINDS:
        if kind.mark and kind.mark(upload):
            return kind
    refuse_known(upload)
    if upload.named and upload.named.mark:
        noun = upload.named.noun or upload.named.label
        raise DocumentError(f"'{upload.name}' is not a {noun} inside, or it is damaged: export it again.")
    return upload.named or next((kind for kind in KINDS if kind.guess and kind.guess(upload)), TEXT)
