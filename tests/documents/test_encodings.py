"""Text survives every encoding, with and without a byte order mark, and in short and long files."""

import pytest

from sliminfer.documents import parse_document
from sliminfer.documents.encoding import decode
from tests.documents import files

TEXTS = {
    "english": files.ENGLISH,
    "french": files.FRENCH,
    "german": files.GERMAN,
    "chinese": files.CHINESE,
    "japanese": files.JAPANESE,
    "russian": files.RUSSIAN,
}
UNICODE = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")


@pytest.mark.parametrize("codec", UNICODE)
@pytest.mark.parametrize("language", TEXTS)
def test_unicode_encodings(language: str, codec: str) -> None:
    for times in (1, 40):
        text = TEXTS[language] * times
        assert parse_document(text.encode(codec), "a.txt").text == text


@pytest.mark.parametrize(
    ("language", "codec", "reported"),
    [
        ("chinese", "gb18030", "gb18030"),
        ("chinese", "gbk", "gb18030"),
        ("japanese", "cp932", "shift_jis"),
        ("japanese", "shift_jis", "shift_jis"),
        ("japanese", "euc_jp", "euc_jp"),
        ("japanese", "iso2022_jp", "iso2022_jp"),
        ("french", "cp1252", "cp1252"),
        ("german", "cp1252", "cp1252"),
        ("russian", "cp1251", "cp1251"),
    ],
)
def test_legacy_encodings(language: str, codec: str, reported: str) -> None:
    text = TEXTS[language]
    for sample in (text[:24], text, text * 40, files.ENGLISH * 200 + text):
        document = parse_document(sample.encode(codec), "a.txt")
        assert (document.text, document.encoding) == (sample, reported)
        assert document.warnings == ()


def test_gb18030_reaches_all_of_unicode() -> None:
    text = files.CHINESE + "㐀𠀀😀é"
    assert parse_document(text.encode("gb18030"), "a.txt").text == text


@pytest.mark.parametrize(("label", "codec"), [("GBK", "gb18030"), ("x-sjis", "cp932"), ("ISO-8859-2", "iso8859_2")])
def test_a_page_may_declare_its_encoding(label: str, codec: str) -> None:
    word = {"gb18030": "极", "cp932": "灯", "iso8859_2": "łódź"}[codec]
    page = f'<html><head><meta http-equiv="Content-Type" content="text/html; charset={label}"></head>{word}'
    assert parse_document(page.encode(codec), "a.html").text == word


def test_a_wrong_declaration_does_not_beat_valid_utf8() -> None:
    page = '<meta charset="iso-8859-1"><p>déjà vu'
    assert parse_document(page.encode(), "a.html").text == "déjà vu"


@pytest.mark.parametrize("label", ["zlib", "idna", "punycode", "unicode_escape", "undefined", "rot13", "no-such"])
def test_a_declaration_never_picks_an_odd_codec(label: str) -> None:
    page = f'<meta charset="{label}"><p>caf'.encode() + b"\xe9 cr\xe8me"
    assert parse_document(page, "a.html").text == "café crème"


def test_a_few_broken_bytes_are_shown_and_reported() -> None:
    data = bytearray((files.CHINESE * 20).encode())
    data[100] = 0xFF
    document = parse_document(bytes(data), "a.txt")
    assert document.encoding == "utf-8"
    assert 1 <= document.text.count("\ufffd") <= 3
    assert document.warnings == ("Some bytes do not fit utf-8; they show as \ufffd.",)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "gb18030", "cp932"])
def test_a_file_cut_in_mid_character_is_read(codec: str) -> None:
    text = (files.JAPANESE if codec == "cp932" else files.CHINESE) * 20 + "海"
    document = parse_document(text.encode(codec)[:-1], "a.txt")
    assert document.text.startswith(text[:-1])


def test_binary_is_no_text() -> None:
    noise = bytes(range(256)) * 40
    assert decode(noise) is None
    assert decode(b"\x00" * 1000) is None
