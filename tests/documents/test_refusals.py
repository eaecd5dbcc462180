"""What cannot be read is refused in one sentence that says what to do."""

import pytest

from sliminfer.documents import DocumentLimits, load_document, parse_document, parse_document_safely
from sliminfer.errors import DocumentError
from tests.documents import files

LAUGHS = (
    '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;">]>'
)
BOMB = files.word_xml(f"<w:p><w:t>{'0' * 30_000_000}</w:t></w:p>")
LOCKED_BOOK = files.epub(
    {"a.xhtml": files.chapter("x")},
    ["a.xhtml"],
    **{"META-INF/encryption.xml": '<encryption><CipherReference URI="OEBPS/a.xhtml"/></encryption>'},
)


def _locked_zip() -> bytes:
    data = bytearray(files.word(["text"]))
    # The encryption flag of every member, in both of its places.
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(mark, at + 1)) >= 0:
            data[at + offset] |= 1
    return bytes(data)


CASES = {
    "empty": ("a.txt", b"", "is empty"),
    "blank": ("a.txt", b" \n\t\r\n", "holds no text"),
    "blank page": ("a.html", b"<html><script>x</script></html>", "holds no text"),
    "binary": ("a.txt", bytes(range(256)) * 9, "is binary"),
    "zeros": ("a.md", bytes(5000), "is binary"),
    "unknown type": ("a.xyz", "caf\xe9 au lait, d\xe9j\xe0 vu".encode("cp1252"), "is not known"),
    "spreadsheet": ("a.xlsb", files.zipped({"[Content_Types].xml": "x", "xl/workbook.bin": "x"}), "as .xlsx or .csv"),
    "broken spreadsheet": ("a.xlsx", files.zipped({"[Content_Types].xml": "x", "xl/workbook.xml": "x"}), "is damaged"),
    "spreadsheet without sheets": ("a.xlsx", files.zipped({"xl/workbook.xml": "<workbook/>"}), "is damaged"),
    "no spreadsheet inside": ("a.xlsx", b"a,b", "not a spreadsheet inside"),
    "a text named again and again": ("a.xlsx", files.sheets([["x" * 100_000] * 11]), "more than 1,000,000 characters"),
    "slides": ("a.ppsx", files.zipped({"ppt/x.xml": "x"}), "as .pptx or PDF"),
    "broken slides": ("a.pptx", files.zipped({"ppt/presentation.xml": "x"}), "is damaged"),
    "show without slides": ("a.pptx", files.zipped({"ppt/presentation.xml": "<presentation/>"}), "is damaged"),
    "too many slides": ("a.pptx", files.slides([["a"]] * 6), "has 6 slides and the limit is 5"),
    "open document": ("a.ods", files.zipped({"mimetype": "x", "content.xml": "x"}), "OpenDocument but no text"),
    "locked open document": (
        "a.odt", files.open_document("<text:p/>", "<manifest><encryption-data/></manifest>"), "has a password",
    ),
    "broken open document": ("a.odt", files.open_document("<text:p>"), "is damaged"),
    "notebook of junk": ("a.ipynb", b'{"cells": [1, 2]}', "not a notebook inside"),
    "list for a notebook": ("a.ipynb", b"[[]]", "not a notebook inside"),
    "deep notebook": ("a.ipynb", b"[" * 100_000, "not a notebook inside"),
    "deep rtf": ("a.rtf", b"{\\rtf1 " + b"{" * 2_000, "nested too deeply"),
    "no rtf inside": ("a.rtf", b"<html>", "not a rich text file inside"),
    "archive": ("a.zip", files.zipped({"a.txt": "x"}), "unpack it"),
    "old office": ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "old Office file"),
    "image": ("a.txt", b"\x89PNG\r\n\x1a\n" + bytes(99), "OCR"),
    "compressed": ("a.txt.gz", b"\x1f\x8b\x08" + bytes(99), "unpack it"),
    "image-only PDF": ("a.pdf", files.pdf(["", "", ""]), "only images of its 3 pages"),
    "encrypted PDF": ("a.pdf", files.locked_pdf(["text"], "secret"), "is encrypted"),
    "broken PDF": ("a.pdf", files.pdf(["text"])[:60], "damaged PDF"),
    "PDF of junk": ("a.pdf", b"%PDF-1.7\n" + bytes(range(256)), "damaged PDF"),
    "no PDF inside": ("a.pdf", b"<html>404 not found</html>", "not a PDF inside"),
    "no Word inside": ("a.docx", b"plain text", "not a Word document inside"),
    "cut archive": ("a.docx", files.word(["text"])[:900], "is damaged"),
    "Word without text part": ("a.docx", files.zipped({"word/styles.xml": "<x/>"}), "is damaged"),
    "broken XML": ("a.docx", files.word_xml("<w:p>"), "is damaged"),
    "locked Word": ("a.docx", _locked_zip(), "has a password"),
    "billion laughs": ("a.docx", files.word_xml("<w:p><w:t>&c;</w:t></w:p>", LAUGHS), "is damaged"),
    "zip bomb": ("a.docx", BOMB, "unpacks to more than 16 MiB"),
    "elements": ("a.docx", files.word_xml("<w:p/>" * 50_001), "more than 50,000 elements"),
    "elements in all": (
        "a.docx", files.word_xml("<w:p/>" * 30_000, footnotes=f"<w:f>{'<w:p/>' * 30_000}</w:f>"), "more than 50,000",
    ),
    "book without contents": ("a.epub", files.zipped({"META-INF/container.xml": files.CONTAINER}), "is damaged"),
    "book without chapters": ("a.epub", files.epub({}, ["a.xhtml"]), "is damaged"),
    "protected book": ("a.epub", LOCKED_BOOK, "copy protection"),
    "too large": ("a.txt", b"x" * 2_000_001, "is 1.9 MiB and the limit is 1.90735 MiB"),
    "too long": ("a.txt", b"x" * 1_000_001, "holds 1,000,001 characters and the limit is 1,000,000"),
    "too many pages": ("a.pdf", files.pdf(["a"] * 6), "has 6 pages and the limit is 5"),
}
LIMITS = DocumentLimits(
    max_bytes=2_000_000, max_characters=1_000_000, max_pages=5, max_expanded_bytes=16 << 20, max_elements=50_000
)


@pytest.mark.parametrize("case", CASES)
def test_refusal(case: str) -> None:
    name, data, expected = CASES[case]
    with pytest.raises(DocumentError) as refusal:
        parse_document(data, name, LIMITS)
    message = str(refusal.value)
    assert expected in message
    assert f"'{name}'" in message
    # One sentence, and after the colon the remedy.
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message.partition(": ")[2]) > 10


def test_a_pdf_with_too_much_text_is_refused_before_it_is_all_read() -> None:
    with pytest.raises(DocumentError, match="more than 50 characters"):
        parse_document(files.pdf(["word " * 20] * 3), "a.pdf", DocumentLimits(max_characters=50))


def test_a_bomb_in_a_part_that_is_not_read_does_no_harm() -> None:
    media = {"media/image1": "0" * 30_000_000}
    assert parse_document(files.word_xml("<w:p><w:t>fine</w:t></w:p>", **media), "a.docx", LIMITS).text == "fine"


def test_depth_is_no_limit() -> None:
    deep = 100_000
    assert parse_document(b"<div>" * deep + b"core" + b"</div>" * deep, "a.html").text == "core"
    assert parse_document(b"<svg>" * deep + b"x" + b"</svg>" * deep + b"core", "a.html").text == "core"
    assert parse_document(b"[" * deep + b"]" * deep, "a.json").characters == 2 * deep
    nested = "<w:tbl>" * 20_000 + "<w:p><w:t>core</w:t></w:p>" + "</w:tbl>" * 20_000
    assert parse_document(files.word_xml(nested), "a.docx").text == "core"


HOSTILE = (
    "<",
    "<!--",
    "<a ",
    "&#",
    "</",
    "<?",
    "<a b='",
    "<script/",
    '<a b="x" ',
    "<svg>",
    "<![CDATA[",
    " ",
    "<title>",
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_pages_take_linear_time(unit: str) -> None:
    page = (unit * (300_000 // len(unit)) + "x").encode()
    try:
        parse_document_safely(page, "a.html", DocumentLimits(seconds=20))
    except DocumentError as refusal:
        message = str(refusal)
    else:
        message = ""
    # A parser that is quadratic on one of these needs minutes for it.
    assert "took longer" not in message


def test_entities_of_an_xml_file_stay_source_text() -> None:
    source = LAUGHS + "<d>&c;</d>"
    assert parse_document(source.encode(), "a.xml").text == source


def test_a_missing_file_says_so(tmp_path) -> None:
    with pytest.raises(DocumentError, match="no such file or directory"):
        load_document(tmp_path / "none.txt")
    with pytest.raises(DocumentError, match="is a directory"):
        load_document(tmp_path)
    with pytest.raises(DocumentError, match="the limit is"):
        load_document("/dev/zero")


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_pages must be positive, not 0"):
        DocumentLimits(max_pages=0)
