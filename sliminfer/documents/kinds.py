"""What kind of file an upload is: by its content where that is telling, else by the end of its name."""

import io
import zipfile
from pathlib import PurePosixPath

from sliminfer.errors import DocumentError

_CODE = """
.asm .awk .bash .bat .bib .c .cc .cfg .clj .cls .cmake .conf .cpp .cs .css .cu .cuh .cxx .dart .diff .el
.erl .ex .f90 .fs .go .gradle .graphql .h .hpp .hs .hxx .ini .ipynb .java .jl .js .jsx .kt .lean .lisp .lua
.m .mjs .ml .mlir .nim .nix .patch .php .pl .proto .ps1 .py .pyi .r .rb .rs .sass .scala .scm .scss .sh .sql
.sty .svelte .swift .tcl .tex .tf .toml .ts .tsx .vb .vim .vue .xml .xsd .xsl .yaml .yml .zig .zsh
"""
_KIND_OF_SUFFIX: dict[str, str] = {
    **dict.fromkeys((".txt", ".text", ".log", ".srt", ".vtt", ".org", ".adoc"), "text"),
    **dict.fromkeys((".md", ".markdown"), "markdown"),
    ".rst": "rst",
    **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
    ".pdf": "pdf",
    **dict.fromkeys((".docx", ".docm"), "docx"),
    ".epub": "epub",
    **dict.fromkeys((".csv", ".tsv"), "csv"),
    **dict.fromkeys((".json", ".jsonl", ".geojson"), "json"),
    **dict.fromkeys(_CODE.split(), "code"),
}
ACCEPTED_SUFFIXES: tuple[str, ...] = tuple(_KIND_OF_SUFFIX)

_CONTAINERS = {"pdf": "PDF", "docx": "Word document", "epub": "EPUB"}
_EXPORT = "save it as .docx, .pdf or .txt and upload that"
_REFUSED_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file, or one with a password", _EXPORT),
    (b"{\\rtf", "an RTF file", _EXPORT),
    (b"\x89PNG", "an image", "run it through OCR and upload the text"),
    (b"\xff\xd8\xff", "an image", "run it through OCR and upload the text"),
    (b"GIF89a", "an image", "run it through OCR and upload the text"),
    (b"II*\x00", "an image", "run it through OCR and upload the text"),
    (b"MM\x00*", "an image", "run it through OCR and upload the text"),
    (b"\x1f\x8b", "a compressed archive", "unpack it and upload the document inside"),
    (b"BZh", "a compressed archive", "unpack it and upload the document inside"),
    (b"\xfd7zXZ\x00", "a compressed archive", "unpack it and upload the document inside"),
    (b"(\xb5/\xfd", "a compressed archive", "unpack it and upload the document inside"),
    (b"7z\xbc\xaf\x27\x1c", "a compressed archive", "unpack it and upload the document inside"),
    (b"Rar!\x1a\x07", "a compressed archive", "unpack it and upload the document inside"),
    (b"%!PS-Adobe", "a PostScript file", "convert it to PDF and upload that"),
)


def kind_of(data: bytes, name: str) -> tuple[str, bool]:
    """The kind of `data`, and whether its name is one we know.

    A name that is not known gives "text" (or "html" where the content starts like a page); the caller then
    asks for stronger proof that the bytes are text. Raises DocumentError for content that is known and not
    supported.
    """
    suffix = PurePosixPath(name).suffix.lower()
    kind = _KIND_OF_SUFFIX.get(suffix)
    # Readers accept up to 1,024 bytes of something else before the header; a text may just be about PDFs.
    if b"%PDF-" in data[: 1024 if kind in ("pdf", None) else 8]:
        return "pdf", True
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _kind_of_zip(data, name), True
    for magic, what, remedy in _REFUSED_MAGIC:
        if data.startswith(magic):
            raise DocumentError(f"'{name}' is {what}, which is not supported: {remedy}.")
    if kind in _CONTAINERS:
        what = _CONTAINERS[kind]
        raise DocumentError(f"'{name}' is not a {what} inside, or it is damaged: export it again.")
    if kind:
        return kind, True
    head = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return ("html" if head.startswith((b"<!doctype html", b"<html")) else "text"), False


def _kind_of_zip(data: bytes, name: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = set(archive.namelist())
    except Exception as error:
        raise DocumentError(f"'{name}' is damaged and cannot be read: export or download it again.") from error
    if "META-INF/container.xml" in members:
        return "epub"
    if any(member.startswith("word/") for member in members):
        return "docx"
    if any(member.startswith("xl/") for member in members):
        raise DocumentError(f"'{name}' is a spreadsheet, which is not supported: save the sheet as .csv.")
    if any(member.startswith("ppt/") for member in members):
        raise DocumentError(f"'{name}' is a slide show, which is not supported: export it as PDF.")
    if "content.xml" in members:
        raise DocumentError(f"'{name}' is an OpenDocument file, which is not supported: {_EXPORT}.")
    raise DocumentError(f"'{name}' is an archive: unpack it and upload the document inside.")
