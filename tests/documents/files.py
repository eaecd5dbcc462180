"""Real files made in memory: the documents that the tests and the fuzzer read, change and break."""

import io
import json
import zipfile
import zlib

import docx
import pypdf

ENGLISH = (
    "The lamp was lit at four. By six the fog had come in from the north,\n"
    "and the keeper wrote in his log: nothing seen, nothing heard.\n\n"
    "At midnight a bell rang once, far out, and did not ring again.\n"
)
FRENCH = (
    "Le phare de l’île se dressait au-dessus des falaises, et la mère Élodie y montait chaque soir.\n"
    "« Où êtes-vous passé ? » demanda-t-elle – le café était déjà froid. Ça coûte 45 €.\n"
)
GERMAN = (
    "Die Wärterin prüfte die Lampe täglich. Über dem Meer zogen schwere Wolken auf,\n"
    "und die Möwen flüchteten in die Dünen. „Schließ die Tür!“, rief sie.\n"
)
CHINESE = (
    "南极的冬天漫长而寂静。探险队在冰架上建立了第三号营地,队长记录了每天的气温和风速。\n"
    "补给船要到十一月才能抵达,因此所有人都学会了节约燃料。夜里,发电机的声音像远处的海浪。\n"
)
JAPANESE = (
    "灯台守は毎晩、海に向かって灯りをともした。冬の嵐が来ると、島への船は何週間も途絶えた。\n"
    "彼は日誌に風の向きと、通り過ぎた船の名前を書き残している。ある朝、古い木箱が流れ着いた。\n"
)
RUSSIAN = "Смотритель маяка каждый вечер зажигал лампу. Зимой штормы не пускали корабли к острову.\n"

CONTAINER = (
    '<?xml version="1.0"?><container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0">'
    '<rootfiles><rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles>'
    "</container>"
)


def pdf(pages: list[str], *, compress: bool = True) -> bytes:
    """A PDF written by hand: one line of Helvetica per line of each page; an empty page has no text at all."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica"
               b" /Encoding /WinAnsiEncoding >>"]  # fmt: skip
    kids = []
    for page in pages:
        lines = [line.encode("cp1252") for line in page.splitlines()]
        shown = [b"(%b) Tj T*" % _escaped(line) for line in lines]
        content = b"BT /F1 12 Tf 14 TL 72 720 Td " + b"\n".join(shown) + b" ET" if lines else b"0 0 m 9 9 l S"
        stream = zlib.compress(content) if compress else content
        coding = b" /Filter /FlateDecode" if compress else b""
        objects.append(b"<< /Length %d%b >>\nstream\n%b\nendstream" % (len(stream), coding, stream))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R"
            b" /Resources << /Font << /F1 3 0 R >> >> >>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<< /Type /Pages /Kids [%b] /Count %d >>" % (b" ".join(kids), len(kids))
    return _with_table(objects)


def _escaped(line: bytes) -> bytes:
    return line.replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")


def _with_table(objects: list[bytes]) -> bytes:
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return out.getvalue()


def locked_pdf(pages: list[str], password: str) -> bytes:
    """The same PDF encrypted; an empty password still forbids changes but opens for everyone."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(pages)))
    writer.encrypt(password, owner_password="the owner's", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def word(paragraphs: list[str], table: list[list[str]] | None = None) -> bytes:
    """A Word file from python-docx: a heading, paragraphs, a list of two, and a table."""
    document = docx.Document()
    document.add_heading("Heading", 1)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.add_paragraph("first item", style="List Bullet")
    document.add_paragraph("second item", style="List Bullet")
    if table:
        grid = document.add_table(len(table), len(table[0]))
        for row, values in zip(grid.rows, table, strict=True):
            for cell, value in zip(row.cells, values, strict=True):
                cell.text = value
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def word_xml(body: str, prologue: str = "", **parts: str) -> bytes:
    """A Word file whose main part is the given XML; `parts` are more members, such as footnotes."""
    main = (
        f'<?xml version="1.0" encoding="UTF-8"?>{prologue}<w:document '
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        f'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:body>{body}</w:body></w:document>'
    )
    members = {"[Content_Types].xml": "<Types/>", "word/document.xml": main}
    return zipped(members | {f"word/{name}.xml": part for name, part in parts.items()})


def epub(chapters: dict[str, str], spine: list[str], **members: str) -> bytes:
    """An EPUB: `chapters` by member name under OEBPS, read in the order of `spine`."""
    items = "".join(
        f'<item id="c{number}" href="{name}" media-type="application/xhtml+xml"/>' for number, name in enumerate(spine)
    )
    order = "".join(f'<itemref idref="c{number}"/>' for number in range(len(spine)))
    package = (
        '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
        f"<manifest>{items}</manifest><spine>{order}</spine></package>"
    )
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER, "OEBPS/book.opf": package}
    return zipped(parts | {f"OEBPS/{name}": chapter for name, chapter in chapters.items()} | members)


def chapter(*paragraphs: str) -> str:
    """An XHTML chapter."""
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return (
        '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html><html xmlns="http://www.w3.org/1999/xhtml">'
        f"<head><title/><style>p {{ color: red }}</style></head><body>{body}</body></html>"
    )


RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def relations(targets: dict[str, tuple[str, str]]) -> str:
    """A part's relations: kind and target by id."""
    found = "".join(
        f'<Relationship Id="{identity}" Type="{RELATIONS}/{kind}" Target="{target}"/>'
        for identity, (kind, target) in targets.items()
    )
    return f'<?xml version="1.0"?><Relationships>{found}</Relationships>'


def sheets(*tables: list[list[str]], cells: str = "", formats: str = "") -> bytes:
    """An Excel file whose cells name shared texts; `cells` is XML of a last row of the last sheet."""
    texts = list(dict.fromkeys(value for table in tables for row in table for value in row))
    parts: dict[str, str | bytes] = {}
    places = {text: place for place, text in enumerate(texts)}
    for number, table in enumerate(tables, start=1):
        lines = ("".join(f'<c t="s"><v>{places[value]}</v></c>' for value in row) for row in table)
        rows = "".join(f"<row>{line}</row>" for line in lines)
        last = f"<row>{cells}</row>" if number == len(tables) else ""
        parts[f"xl/worksheets/sheet{number}.xml"] = f"<worksheet><sheetData>{rows}{last}</sheetData></worksheet>"
    named = "".join(f'<sheet name="Sheet {n}" sheetId="{n}" r:id="r{n}"/>' for n in range(1, len(tables) + 1))
    targets = {f"r{n}": ("worksheet", f"worksheets/sheet{n}.xml") for n in range(1, len(tables) + 1)}
    others = {"s": ("sharedStrings", "/xl/sharedStrings.xml"), "t": ("styles", "styles.xml")}
    return zipped(
        parts
        | {
            "xl/workbook.xml": f'<workbook xmlns:r="{RELATIONS}"><sheets>{named}</sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations(targets | others),
            "xl/sharedStrings.xml": f"<sst>{''.join(f'<si><r><t>{text}</t></r></si>' for text in texts)}</sst>",
            "xl/styles.xml": formats or "<styleSheet/>",
        }
    )


def slides(shows: list[list[str]], notes: str = "") -> bytes:
    """A PowerPoint file of slides with paragraphs, told in reverse of their numbers; the first has `notes`."""
    count = len(shows)
    order = "".join(f'<p:sldId id="{256 + n}" r:id="r{count - n}"/>' for n in range(count))
    parts: dict[str, str | bytes] = {
        "ppt/presentation.xml": f"<p:presentation><p:sldIdLst>{order}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            {f"r{n}": ("slide", f"slides/slide{n}.xml") for n in range(1, count + 1)}
        ),
    }
    for place, paragraphs in enumerate(shows):
        body = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in paragraphs)
        parts[f"ppt/slides/slide{count - place}.xml"] = f"<p:sld>{body}</p:sld>"
    if notes:
        target = relations({"n": ("notesSlide", "../notesSlides/notesSlide1.xml")})
        parts[f"ppt/slides/_rels/slide{count}.xml.rels"] = target
        field = '<a:p><a:fld type="slidenum"><a:t>1</a:t></a:fld></a:p>'
        parts["ppt/notesSlides/notesSlide1.xml"] = f"<p:notes><a:p><a:r><a:t>{notes}</a:t></a:r></a:p>{field}</p:notes>"
    return zipped(parts)


def open_document(body: str, manifest: str = "<manifest/>") -> bytes:
    """A text of OpenDocument with the given XML; its type stands first, as it is."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text", zipfile.ZIP_STORED)
        archive.writestr("content.xml", f"<office:text>{body}</office:text>", zipfile.ZIP_DEFLATED)
        archive.writestr("META-INF/manifest.xml", manifest, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def rtf(text: str) -> bytes:
    """A rich text as writers save it: bytes where they suffice, numbers with a stand-in where not."""
    body = "".join(
        character if character.isascii() else "".join(
            f"\\u{int.from_bytes(pair, 'little', signed=True)}?"
            for pair in (encoded[at : at + 2] for encoded in [character.encode("utf-16-le")]
                         for at in range(0, len(encoded), 2))
        )
        for character in text
    )  # fmt: skip
    lines = body.replace("\n", "\\par\r\n")
    return f"{{\\rtf1\\ansi\\ansicpg1252{{\\fonttbl{{\\f0 Courier;}}}}{{\\*\\generator x;}}\\f0 {lines}}}".encode(
        "ascii"
    )


def notebook(*cells: tuple[str, str], outputs: list[dict[str, object]] | None = None) -> bytes:
    """A Jupyter notebook of (type, source) cells; the last has `outputs`."""
    made: list[dict[str, object]] = [{"cell_type": kind, "source": source.splitlines(True)} for kind, source in cells]
    made[-1]["outputs"] = outputs or []
    return json.dumps({"nbformat": 4, "metadata": {}, "cells": made}).encode()


def zipped(members: dict[str, str | bytes]) -> bytes:
    """A zip archive of the given members, in their order."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def one_of_each() -> dict[str, bytes]:
    """A small real file of every format and encoding, by file name."""
    table = [["Name", "Port"], ["Orvane", "Skeld"]]
    page = f"<!doctype html><html><head><title>Log</title></head><body><p>{ENGLISH}</p><ul><li>a</ul></body></html>"
    texts = {
        "utf8.txt": ENGLISH + CHINESE,
        "notes.md": "# Log\n\n" + ENGLISH,
        "guide.rst": "Log\n===\n\n" + ENGLISH,
        "table.csv": "name,port\r\nOrvane,Skeld\r\n",
        "data.json": '{"name": "Orvane", "city": "M\\u00fcnchen", "deep": [[[1.50]]]}',
        "code.py": "def light(hour: int) -> bool:\n\treturn hour > 16\n",
        "page.html": page,
    }
    files = {name: text.encode() for name, text in texts.items()}
    encoded = (
        ("utf-8-sig", ENGLISH), ("utf-16", ENGLISH), ("utf-16-le", CHINESE), ("utf-16-be", FRENCH), ("utf-32", FRENCH),
        ("gb18030", CHINESE), ("cp932", JAPANESE), ("euc_jp", JAPANESE), ("cp1252", FRENCH), ("cp1251", RUSSIAN),
    )  # fmt: skip
    files |= {f"{encoding}.txt": text.encode(encoding) for encoding, text in encoded}
    files["two.pdf"] = pdf([ENGLISH, "Second page."])
    files["plain.pdf"] = pdf([ENGLISH], compress=False)
    files["locked.pdf"] = locked_pdf([ENGLISH], "")
    files["letter.docx"] = word(ENGLISH.splitlines(), table)
    files["table.xlsx"] = sheets(table, [[ENGLISH]])
    files["talk.pptx"] = slides([[ENGLISH], ["End."]], notes="Speak up.")
    files["letter.odt"] = open_document(f"<text:p>{ENGLISH}</text:p><text:p>End.</text:p>")
    files["letter.rtf"] = rtf(FRENCH)
    files["log.ipynb"] = notebook(("markdown", ENGLISH), ("code", "print(1)"))
    files["book.epub"] = epub({"a.xhtml": chapter(ENGLISH), "b.xhtml": chapter("End.")}, ["a.xhtml", "b.xhtml"])
    return files
