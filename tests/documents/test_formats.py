"""Every format gives back the text that was put in."""

import json

import pytest

from sliminfer.documents import ACCEPTED_SUFFIXES, load_document, parse_document
from tests.documents import files


def test_every_accepted_suffix_is_read() -> None:
    made = {"pdf": files.pdf([files.ENGLISH]), "docx": files.word([files.ENGLISH])}
    made["epub"] = files.epub({"a.xhtml": files.chapter(files.ENGLISH)}, ["a.xhtml"])
    made |= {"pptx": files.slides([[files.ENGLISH]]), "xlsx": files.sheets([[files.ENGLISH]])}
    made |= {"odt": files.open_document(f"<text:p>{files.ENGLISH}</text:p>"), "rtf": files.rtf(files.ENGLISH)}
    made["notebook"] = files.notebook(("markdown", files.ENGLISH))
    others = {".docm": "docx", ".pptm": "pptx", ".xlsm": "xlsx", ".ott": "odt", ".ipynb": "notebook"}
    for suffix in ACCEPTED_SUFFIXES:
        kind = others.get(suffix, suffix[1:] if suffix[1:] in made else "")
        document = parse_document(made.get(kind, files.ENGLISH.encode()), f"log{suffix}")
        assert "a bell rang once, far out" in document.text.replace("\n", " ")
        assert document.characters == len(document.text)
        assert document.name == f"log{suffix}"
        assert not kind or document.kind == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.txt", "text"),
        ("a.MD", "markdown"),
        ("a.rst", "rst"),
        ("a.csv", "csv"),
        ("a.rs", "code"),
        ("Makefile", "text"),
    ],
)
def test_plain_formats_keep_every_character(name: str, kind: str) -> None:
    text = "first\tline  \n\n\n\n  indented – ünïcode\n"
    document = parse_document(text.encode(), name)
    assert (document.text, document.kind, document.encoding) == (text, kind, "utf-8")
    assert document.pages is None
    assert document.warnings == ()


def test_line_ends_become_newlines_and_control_characters_vanish() -> None:
    data = f"\ufeffone\r\ntwo\rthree\x0cfour\x00\x07\x1b[0m\x85five\tsix{files.ENGLISH}".encode()
    assert parse_document(data, "a.txt").text == f"one\ntwo\nthree\nfour[0m\nfive\tsix{files.ENGLISH}"


def test_json_escapes_become_readable_and_the_meaning_stays() -> None:
    value = {"city": "北京", "face": "😀", "quote": '"\\\x07\u2028', "path": "C:\\u00e9", "number": 1.50}
    data = json.dumps(value).encode()
    document = parse_document(data, "a.json")
    assert "北京" in document.text
    assert "😀" in document.text
    assert json.loads(document.text) == value


def test_html_reads_like_the_page() -> None:
    page = """<!DOCTYPE html><html><head><title>The  log</title><style>p{}</style><script>if (a<b) {}</script></head>
    <body><h1>Day &amp; night</h1><p>Cold <b>wind</b>,
    no s<i>no</i>w.<br>Later:</p><ul><li>tea<li><p>bread</p></ul><svg><text>x</text><svg></svg></svg>
    <table><tr><th>A</th><th> B </th></tr><tr><td></td><td>2</td></tr></table><pre>
 a   b
</pre><template>hidden</template><![CDATA[kept]]><![odd[ gone ]]>!</body></html>"""
    assert parse_document(page.encode(), "page.html").text == (
        "The log\n\nDay & night\n\nCold wind, no snow.\nLater:\n\n- tea\n\n- bread\n\nA\tB\n\t2\n\n a   b\n\nkept!"
    )


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("a<!-- <p>x --> b", "a b"),
        ("a <!-- no end", "a"),
        ("a<p title=\"x > y\" alt='>'>b", "a\n\nb"),
        ("a<p title=it's>b<p>c's", "a\n\nb\n\nc's"),
        ('a<b c="no end>d</b> e', "ad e"),
        ("1 < 2 &lt; 3 <4 &nosuch; &#65;&#x42;", "1 < 2 < 3 <4 &nosuch; AB"),
        ("&#" + "9" * 5000 + "; kept", "&#" + "9" * 5000 + "; kept"),
        ("<title>a <b> &amp; c</title>d", "a <b> & c\n\nd"),
        ("<SCRIPT>x</Script >a<script src=x />b<script>c", "ab"),
        ("<style>a</styled> b</style>c", "c"),
        ("<select><option>x</select>a<template>x<p>y</template>b", "ab"),
        ("<?xml version='1.0'?><!DOCTYPE html><p>a</p", "a"),
        ("<![CDATA[a < b]]> c<![CDATA[open", "a < b copen"),
        ("<div>a<div>b</div></div><br><br>c<hr>d", "a\nb\n\nc\n\nd"),
    ],
)
def test_odd_html(page: str, text: str) -> None:
    assert parse_document(page.encode(), "a.html").text == text


def test_html_is_known_by_its_content() -> None:
    document = parse_document(b"\n<!DOCTYPE html><p>Hello &lt;you&gt;", "download")
    assert (document.kind, document.text) == ("html", "Hello <you>")


def test_pdf_pages_come_in_order_with_accents() -> None:
    document = parse_document(files.pdf(["Été (1)\nsecond line", "Übung \\ two"]), "a.pdf")
    assert document.text == "Été (1)\nsecond line\n\nÜbung \\ two"
    assert (document.kind, document.pages, document.encoding) == ("pdf", 2, None)


def test_a_pdf_named_txt_is_read_as_a_pdf() -> None:
    assert parse_document(files.pdf(["Hello there"]), "a.txt").kind == "pdf"
    assert parse_document(b"junk before\n" + files.pdf(["Hello there"]), "a.pdf").text == "Hello there"


def test_a_text_about_pdfs_is_a_text() -> None:
    text = "Every such file starts with %PDF-1.7 and a line end.\n"
    assert parse_document(text.encode(), "formats.md").text == text


def test_a_pdf_that_only_forbids_printing_is_read() -> None:
    assert parse_document(files.locked_pdf(["Hello there"], ""), "a.pdf").text == "Hello there"


def test_pages_without_text_are_counted() -> None:
    document = parse_document(files.pdf(["", "words", ""]), "a.pdf")
    assert document.text == "words"
    assert document.warnings == ("2 of 3 pages hold no text (blank or images).",)


def test_word_paragraphs_lists_and_tables() -> None:
    data = files.word(["One\ttab.", "Two – 北京."], [["a", "b"], ["", "d"]])
    document = parse_document(data, "a.docx")
    assert document.text == "Heading\n\nOne\ttab.\n\nTwo – 北京.\n\nfirst item\n\nsecond item\n\na\tb\n\td"


def test_word_shows_insertions_and_hides_deletions() -> None:
    body = (
        "<w:p><w:r><w:t>kept</w:t></w:r><w:ins><w:r><w:t> added</w:t></w:r></w:ins>"
        "<w:del><w:r><w:t>x</w:t><w:delText>gone</w:delText></w:r></w:del><w:moveFrom><w:r><w:t>y</w:t></w:r></w:moveFrom>"
        "<mc:AlternateContent><mc:Choice><w:t> new</w:t></mc:Choice><mc:Fallback><w:t>old</w:t></mc:Fallback>"
        "</mc:AlternateContent><w:r><w:br/><w:t>line</w:t><w:noBreakHyphen/><w:t>two</w:t></w:r></w:p>"
        '<w:sdt><w:sdtContent><w:p><w:pPr><w:tabs><w:tab w:pos="9"/></w:tabs><w:numPr/></w:pPr>'
        "<w:t>boxed</w:t></w:p></w:sdtContent></w:sdt><w:p><w:t>end</w:t></w:p>"
    )
    assert parse_document(files.word_xml(body), "a.docx").text == "kept added new\nline-two\n\nboxed\nend"


def test_word_notes_follow_the_text() -> None:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    notes = f"<w:footnotes {space}><w:footnote><w:p><w:t>See page 4.</w:t></w:p></w:footnote></w:footnotes>"
    data = files.word_xml("<w:p><w:t>Text.</w:t></w:p>", footnotes=notes)
    assert parse_document(data, "a.docx").text == "Text.\n\nSee page 4."


def test_word_main_part_may_have_another_name() -> None:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    data = files.zipped({
        "_rels/.rels": f'<Relationships><Relationship Type="{kind}" Target="/word/document2.xml"/></Relationships>',
        "word/document2.xml": f"<w:document {space}><w:p><w:t>Found.</w:t></w:p></w:document>",
    })  # fmt: skip
    assert parse_document(data, "a.docx").text == "Found."


def test_epub_chapters_come_in_the_order_of_the_spine() -> None:
    chapters = {
        "z.xhtml": files.chapter("First &#233;."),
        "text/a b.xhtml": files.chapter("Second."),
        "unused.xhtml": files.chapter("Never."),
    }
    document = parse_document(files.epub(chapters, ["z.xhtml", "text/a%20b.xhtml", "z.xhtml"]), "book.epub")
    assert document.text == "First é.\n\nSecond.\n\nFirst é."


def test_epub_with_a_missing_chapter_says_so() -> None:
    document = parse_document(files.epub({"a.xhtml": files.chapter("Only.")}, ["a.xhtml", "b.xhtml"]), "book.epub")
    assert document.text == "Only."
    assert document.warnings == ("1 of 2 chapters are missing in the file.",)


def test_epub_with_obfuscated_fonts_is_read() -> None:
    lock = '<encryption><CipherReference URI="OEBPS/font.otf"/></encryption>'
    data = files.epub({"a.xhtml": files.chapter("Text.")}, ["a.xhtml"], **{"META-INF/encryption.xml": lock})
    assert parse_document(data, "book.epub").text == "Text."


@pytest.mark.parametrize("name", ["../../etc/passwd.txt", "C:\\temp\\passwd.txt", "/etc/\x00passwd.txt"])
def test_the_shown_name_has_no_path(name: str) -> None:
    assert parse_document(b"text", name).name == "passwd.txt"


def test_long_names_keep_their_end() -> None:
    name = parse_document(b"text", "n" * 300 + ".txt").name
    assert len(name) == 80
    assert name.endswith("nnn.txt")


def test_load_document_reads_a_file(tmp_path) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(files.CHINESE.encode("gb18030"))
    document = load_document(path)
    assert (document.text, document.encoding, document.name) == (files.CHINESE, "gb18030", "log.txt")


def test_a_sheet_reads_as_it_shows() -> None:
    formats = (
        '<styleSheet><numFmts><numFmt numFmtId="164" formatCode="yyyy\\-mm"/>'
        '<numFmt numFmtId="165" formatCode="0 &quot;days&quot;"/></numFmts>'
        '<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/>'
        '<xf numFmtId="164"/><xf numFmtId="165"/><xf numFmtId="22"/></cellXfs></styleSheet>'
    )
    cells = (
        '<c r="B3"><f>1+1</f><v>2</v></c><c r="E3" t="b"><v>1</v></c><c r="F3" t="inlineStr"><is><t>a\n b</t></is></c>'
        '<c r="G3" s="1"><v>45000</v></c><c r="H3" s="2"><v>45000.75</v></c><c r="I3" s="3"><v>7</v></c>'
        '<c r="J3" s="4"><v>0.5</v></c><c r="K3" s="1"><v>1e9</v></c><c r="L3" t="s"><v>99</v></c>'
    )
    data = files.sheets([["x"]], [["Name", "Port"], ["Orvane", "Skeld"]], cells=cells, formats=formats)
    document = parse_document(data, "a.xlsx")
    assert document.kind == "xlsx"
    assert document.text == (
        "# Sheet 1\nx\n\n# Sheet 2\nName\tPort\nOrvane\tSkeld\n"
        "\t2\t\t\tTRUE\ta b\t2023-03-15\t2023-03-15 18:00:00\t7\t12:00:00\t1e9"
    )


def test_slides_come_in_the_order_of_the_show_with_their_notes() -> None:
    document = parse_document(files.slides([["One", "and more"], ["Two"]], notes="Speak up."), "a.pptx")
    assert (document.kind, document.pages) == ("pptx", 2)
    assert document.text == "Slide 1\nOne\nand more\nNotes:\nSpeak up.\n\nSlide 2\nTwo"
    assert [document.text[start:].partition("\n")[0] for start in document.page_starts] == ["Slide 1", "Slide 2"]


def test_slides_without_an_order_come_by_their_numbers() -> None:
    parts = {f"ppt/slides/slide{n}.xml": f"<p><a:p><a:t>{n}</a:t></a:p></p>" for n in (10, 9)}
    table = "<a:tbl><a:tr><a:tc><a:p><a:t>a</a:t></a:p></a:tc><a:tc><a:p><a:t>b</a:t></a:p></a:tc></a:tr></a:tbl>"
    parts["ppt/slides/slide9.xml"] = f"<p>{table}<a:p><a:t>x</a:t><a:br/><a:t>y</a:t></a:p></p>"
    data = files.zipped({"ppt/presentation.xml": '<p><sldId id="a"/><sldId id="b"/></p>', **parts})
    assert parse_document(data, "a.pptx").text == "Slide 1\na\tb\nx\ny\n\nSlide 2\n10"


def test_an_open_document_reads_as_it_shows_with_all_changes_accepted() -> None:
    body = (
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes><text:h>Log</text:h>"
        '<text:p>The <text:span>lamp</text:span>,<text:s text:c="2"/>lit<text:tab/>at<text:line-break/>nine'
        "<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>By hand.</text:p>"
        "<text:p>Twice.</text:p></text:note-body></text:note>.</text:p>"
        "<text:list><text:list-item><text:p>tea</text:p></text:list-item>"
        "<text:list-item><text:p>bread</text:p></text:list-item></text:list>"
        "<table:table><table:table-row><table:table-cell><text:p>A</text:p></table:table-cell>"
        "<table:table-cell><text:p>B</text:p><text:p>C</text:p></table:table-cell></table:table-row></table:table>"
        "<text:p>End<office:annotation><text:p>remark</text:p></office:annotation>.</text:p>"
    )
    document = parse_document(files.open_document(body), "a.odt")
    assert document.kind == "odt"
    assert document.text == ("Log\n\nThe lamp,  lit\tat\nnine [By hand. Twice.].\n\ntea\nbread\n\nA\tB C\n\nEnd.")


@pytest.mark.parametrize("text", [files.ENGLISH, files.FRENCH, files.CHINESE, files.RUSSIAN, "\U0001f600 a"])
def test_rich_text_reads_as_it_was_written(text: str) -> None:
    document = parse_document(files.rtf(text), "a.rtf")
    assert document.kind == "rtf"
    assert document.text.split("\n\n") == [line for line in text.split("\n") if line]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb"a\'e9\b  b\b0 c", "aé bc"),
        (rb"{\pict 0123}{\*\unknown x}{\info{\title t}}a\~b\{\}\\", "a\u00a0b{}\\"),
        (rb"\ansicpg932 \'82\'a0", "あ"),
        (rb"{\uc2 \u8211 xxy}\u8212 zw", "–y—w"),
        (rb"\trowd a\cell b\cell\row c}}}", "a\tb\nc"),
        (rb"{{{a", "a"),
        (rb"\ansicpg99999 \u99999999 ?a\u-4?b", "\ue0ffa\ufffcb"),
    ],
)
def test_rich_text_of_many_writers(body: bytes, text: str) -> None:
    assert parse_document(b"{\\rtf1 " + body, "a.txt").text == text


def test_a_notebook_reads_by_its_cells() -> None:
    outputs: list[dict[str, object]] = [
        {"output_type": "stream", "text": ["3\n", "4\n"]},
        {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "<Figure>"}},
        {"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": ["..."]},
        {"output_type": "display_data", "data": {"image/png": "iVBOR"}},
    ]
    cells = (("markdown", "# Log\n\nThe lamp."), ("raw", ""), ("code", "a = 1\n\n\nprint('```')"))
    document = parse_document(files.notebook(*cells, outputs=outputs), "a.ipynb")
    assert document.kind == "notebook"
    assert document.text == (
        "# Log\n\nThe lamp.\n\n````python\na = 1\n\n\nprint('```')\n````\n\n```\n3\n4\n```\n\n"
        "```\n<Figure>\n```\n\n```\nKeyError: 'a'\n```"
    )
