"""Content that is known and not read: what it is called, and what to do instead."""

from sliminfer.documents.kind import Upload
from sliminfer.errors import DocumentError

_EXPORT = "save it as .docx, .pdf or .txt and upload that"
_OCR = "run it through OCR and upload the text"
_UNPACK = "unpack it and upload the document inside"
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file, or one with a password", _EXPORT),
    (b"\x89PNG", "an image", _OCR),
    (b"\xff\xd8\xff", "an image", _OCR),
    (b"GIF89a", "an image", _OCR),
    (b"II*\x00", "an image", _OCR),
    (b"MM\x00*", "an image", _OCR),
    (b"\x1f\x8b", "a compressed archive", _UNPACK),
    (b"BZh", "a compressed archive", _UNPACK),
    (b"\xfd7zXZ\x00", "a compressed archive", _UNPACK),
    (b"(\xb5/\xfd", "a compressed archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a compressed archive", _UNPACK),
    (b"Rar!\x1a\x07", "a compressed archive", _UNPACK),
    (b"%!PS-Adobe", "a PostScript file", "convert it to PDF and upload that"),
)


def refuse_known(upload: Upload) -> None:
    """Raise DocumentError where the content is of a format that is known and not supported."""
    if upload.is_zip:
        raise _refused_zip(upload)
    for beginning, what, remedy in _BEGINNINGS:
        if upload.data.startswith(beginning):
            raise DocumentError(f"'{upload.name}' is {what}, which is not supported: {remedy}.")


def _refused_zip(upload: Upload) -> DocumentError:
    name, members = upload.name, upload.members
    if any(member.startswith("xl/") for member in members):
        return DocumentError(f"'{name}' is a spreadsheet of a kind that is not supported: save it as .xlsx or .csv.")
    if any(member.startswith("ppt/") for member in members):
        return DocumentError(f"'{name}' is a slide show of a kind that is not supported: save it as .pptx or PDF.")
    if "content.xml" in members:
        return DocumentError(f"'{name}' is OpenDocument but no text, which is not supported: {_EXPORT}.")
    return DocumentError(f"'{name}' is an archive: {_UNPACK}.")
