"""Every reader's work grows with what it reads and no faster, whatever a hostile file is made of."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sliminfer.documents import DocumentLimits, parse_document
from tests.documents import files
from tests.work import assert_near_linear

LIMITS = DocumentLimits(max_bytes=1 << 30, max_characters=1 << 30, max_expanded_bytes=1 << 30)
Part = Callable[[int], bytes]


def repeated(unit: str, encoding: str = "utf-8") -> Part:
    return lambda n: (unit * (n // len(unit))).encode(encoding)


def long_prefix(n: int) -> bytes:
    """A prefix that stands for a name as long as half the file, on as many elements as the other half holds."""
    return files.word_xml(f'<w:p xmlns:z="{"a" * (n // 2)}">{"<z:t>a</z:t>" * (n // 24)}</w:p>')


def many_attributes(n: int) -> bytes:
    attributes = " ".join(f'a{number}="b"' for number in range(n // 10))
    return files.word_xml(f"<w:p {attributes}/>")


def nested_prefixes(n: int) -> bytes:
    depth = n // 30
    return files.word_xml("".join(f'<w:p xmlns:a{at}="u{at}">' for at in range(depth)) + "</w:p>" * depth)


def many_chapters(n: int) -> bytes:
    names = [f"c{number}.xhtml" for number in range(n // 1000)]
    return files.epub({name: files.chapter("word " * 100) for name in names}, names)


def one_chapter_many_times(n: int) -> bytes:
    return files.epub({"a.xhtml": files.chapter("word")}, ["a.xhtml"] * (n // 100))


HOSTILE: dict[str, tuple[str, Part]] = {
    "tags with an open quote": ("a.html", repeated('<a =">"')),
    "tags with the other quote": ("a.html", repeated("<a ='>'")),
    "tags that never end": ("a.html", repeated("<a ")),
    "equals signs": ("a.html", repeated("<a =")),
    "comments that never end": ("a.html", repeated("<!--")),
    "raw text that never ends": ("a.html", repeated("<script>")),
    "deep nesting": ("a.html", repeated("<div>")),
    "cells": ("a.html", repeated("<td> ")),
    "character references": ("a.html", repeated("&#1;&#x1;&amp;&nosuch;")),
    "one long reference": ("a.html", lambda n: b"&#" + b"9" * n + b";"),
    "white space": ("a.html", repeated("a \t")),
    "escapes": ("a.json", repeated("\\\\\\u0041")),
    "backslashes": ("a.json", repeated("\\")),
    "spaces before an end": ("a.txt", lambda n: b" " * n + b"x"),
    "line ends": ("a.html", repeated("<pre>\r\n \n")),
    "western letters": ("a.txt", repeated("café à l’île ", "cp1252")),
    "a cyrillic codec": ("a.txt", repeated("привет мир\n", "koi8_r")),
    "chinese": ("a.txt", repeated("的一是不 ", "gb18030")),
    "bytes of no codec": ("a.txt", lambda n: bytes(128 + number * 37 % 128 for number in range(n))),
    "a long prefix": ("a.docx", long_prefix),
    "many attributes": ("a.docx", many_attributes),
    "nested prefixes": ("a.docx", nested_prefixes),
    "nested paragraphs": ("a.docx", lambda n: files.word_xml("<w:p>" * (n // 11) + "</w:p>" * (n // 11))),
    "nested cells": ("a.docx", lambda n: files.word_xml("<w:tc>" * (n // 13) + "</w:tc>" * (n // 13))),
    "text in pieces": ("a.docx", lambda n: files.word_xml("<w:t>a</w:t>" * (n // 12))),
    "members": ("a.docx", lambda n: files.zipped({f"m{number}": b"" for number in range(n // 50)})),
    "chapters": ("a.epub", many_chapters),
    "a chapter again and again": ("a.epub", one_chapter_many_times),
    "cells of a sheet": ("a.xlsx", lambda n: files.sheets([["a"] * 10] * (n // 300))),
    "a white text named again": ("a.xlsx", lambda n: files.sheets([[" " * (n // 60) + "a"] * (n // 60)])),
    "formats": ("a.xlsx", lambda n: files.sheets([["a"]], formats=f'<s><numFmt formatCode="{"[" * n}"/></s>')),
    "slides": ("a.pptx", lambda n: files.slides([["word " * 100]] * (n // 1000))),
    "spans": ("a.odt", lambda n: files.open_document("<p><s/>a</p>" * (n // 12))),
    "deep lists": ("a.odt", lambda n: files.open_document("<list>" * (n // 13) + "</list>" * (n // 13))),
    "control words": ("a.rtf", lambda n: b"{\\rtf1 " + b"\\b a\\'e9" * (n // 10)),
    "groups": ("a.rtf", lambda n: b"{\\rtf1 " + b"{a}" * (n // 3)),
    "a long control word": ("a.rtf", lambda n: b"{\\rtf1 a\\" + b"a" * n),
    "a notebook's cells": ("a.ipynb", lambda n: files.notebook(*[("code", "a" * 20)] * (n // 60))),
    "pages": ("a.pdf", lambda n: files.pdf(["word " * 20] * (n // 1000))),
    "lines of a page": ("a.pdf", lambda n: files.pdf(["\n".join(["word " * 10] * (n // 60))])),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_the_work_grows_with_the_file(case: str) -> None:
    name, make = HOSTILE[case]
    few, many = (8_000, 50_000) if name.endswith(".pdf") else (8_000, 100_000)
    assert_near_linear(make, lambda data: parse_document(data, name, LIMITS), few, many)
