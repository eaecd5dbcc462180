"""Bytes to text: byte order mark, then strict UTF-8, then UTF-16/32 without a mark, then a guess.

The guess compares what the bytes say in GB18030, Japanese and Western codecs, scored by how much of the
non-ASCII part is common in the languages written in each. charset-normalizer is asked only when none of them
convinces: on short texts it takes CP1252 for CP1250, Big5 or CP949 more often than not.
"""

import codecs
import itertools
import re
from dataclasses import dataclass

from sliminfer.documents.text import control_share
from sliminfer.errors import DocumentError, needs_extra

_SAMPLE_BYTES = 1 << 16
_SAMPLE_CHARACTERS = 4_000
_MOST_CONTROL = 0.05
_MOST_DAMAGE = 0.002

# UTF-32 comes first: its little-endian mark starts with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# What pages declare -> the codec browsers use for it. An allow-list: some Python codecs are slow or unsafe.
_DECLARED = {
    **dict.fromkeys(("gb2312", "gbk", "gb18030", "gb_2312-80"), "gb18030"),
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "x-sjis", "windows-31j", "cp932"), "shift_jis"),
    **dict.fromkeys(("iso-8859-1", "latin1", "us-ascii", "ascii", "windows-1252", "cp1252"), "cp1252"),
    **dict.fromkeys(("big5", "big5-hkscs"), "big5"),
    **dict.fromkeys(("euc-kr", "ks_c_5601-1987"), "cp949"),
    "euc-jp": "euc_jp",
    "koi8-r": "koi8_r",
    "koi8-u": "koi8_u",
    **{f"windows-{number}": f"cp{number}" for number in range(1250, 1259) if number != 1252},
    **{f"iso-8859-{part}": f"iso8859_{part}" for part in (*range(2, 12), 13, 14, 15, 16)},
}
_OTHER_ENCODINGS = ["big5", "cp949", "koi8_r", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256"]
_CONTROL_BYTES = re.compile(rb"[\x01-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_DECLARATION = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z0-9_-]+)""")

# The commonest Chinese characters (simplified, traditional) and punctuation: close to half of running text.
_COMMON_CHINESE = frozenset(
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心"
    "多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知样现分将外"
    "這來國個說們為時會著過學對裡後麼沒於還發當無開經頭動兩長現將,。、:;?!“”《》()"
)
_WESTERN_LETTERS = frozenset("àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿœßšžÀÁÂÄÅÆÇÈÉÊËÌÍÎÑÒÓÔÖØÙÚÛÜŒŠŽ")
_WESTERN_MARKS = frozenset("‘’“”‚„–—…•€£§°«»¡¿\u00a0©®™·±×½¼¾²³ªº¶†‡")
# Scripts of Unicode text apart from Han, of which only the common characters count.
_SCRIPTS = re.compile(
    r"[\t\n\r -~\u00a0-\u024f\u0370-\u06ff\u0900-\u0dff\u0e00-\u0e7f\u2010-\u2027"
    r"\u3000-\u30ff\uac00-\ud7a3\uff01-\uff5e]"
)


@dataclass(frozen=True)
class Decoded:
    """Text, the codec it was decoded with, and whether bytes that did not fit were replaced by U+FFFD."""

    text: str
    encoding: str
    damaged: bool = False


def decode(data: bytes, *, markup: bool = False) -> Decoded | None:
    """The text of `data`, or None where the bytes are not text.

    markup: whether a charset declared in the first 2 KiB counts (HTML, XML).
    Raises DocumentError where charset-normalizer would have to be asked and is not installed.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _text_or_none(_lenient(data[len(mark) :], encoding))
    if b"\x00" in data:
        return _text_or_none(_utf16_or_32(data) or _strict(data, "utf-8"))
    if b"\x1b$" in data and (japanese := _strict(data, "iso2022_jp")):
        return japanese
    if exact := _text_or_none(_strict(data, "utf-8")):
        return exact
    if markup and (declared := _declared(data)):
        return _text_or_none(declared)
    mostly = _lenient(data, "utf-8")
    if mostly and len(mostly.text.encode()) - len(mostly.text) > 40 * mostly.text.count("\ufffd"):
        return _text_or_none(mostly)
    return _text_or_none(_guess(data))


def is_utf(decoded: Decoded) -> bool:
    """Whether the bytes proved themselves text, with no guess: every Unicode encoding is self-checking."""
    return decoded.encoding.startswith("utf") and not decoded.damaged


def _strict(data: bytes, encoding: str) -> Decoded | None:
    # Windows writes "Shift-JIS" with its own extensions, which only the codec cp932 knows.
    codec = "cp932" if encoding == "shift_jis" else encoding
    try:
        return Decoded(data.decode(codec), encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _lenient(data: bytes, encoding: str) -> Decoded | None:
    """Like `_strict`, but a few bad bytes (a cut end, one wrong character) are replaced."""
    if exact := _strict(data, encoding):
        return exact
    if len(data) > 2 * _SAMPLE_BYTES and _lenient(data[:_SAMPLE_BYTES], encoding) is None:
        return None
    codec = "cp932" if encoding == "shift_jis" else encoding
    text = data.decode(codec, errors="replace")
    if text.count("\ufffd") > max(1, _MOST_DAMAGE * len(text)):
        return None
    return Decoded(text, encoding, damaged=True)


def _text_or_none(decoded: Decoded | None) -> Decoded | None:
    return None if decoded is None or control_share(decoded.text) > _MOST_CONTROL else decoded


def _declared(data: bytes) -> Decoded | None:
    found = _DECLARATION.search(data[:2048])
    encoding = _DECLARED.get(found[1].decode("ascii").lower()) if found else None
    return _strict(data, encoding) if encoding else None


def _utf16_or_32(data: bytes) -> Decoded | None:
    for encoding in ("utf-32-le", "utf-32-be"):
        if len(data) % 4 == 0 and (wide := _strict(data, encoding)):
            return wide
    options = [_lenient(data, encoding) for encoding in ("utf-16-le", "utf-16-be")]
    candidates = [(_unicode_score(option.text), option) for option in options if option]
    if not candidates:
        return None
    score, best = max(candidates, key=lambda candidate: candidate[0])
    others = sum(other for other, _ in candidates) - score
    return best if score > 0.4 and score > 1.5 * others else None


def _unicode_score(text: str) -> float:
    sample = text[:_SAMPLE_CHARACTERS]
    common = sum(character in _COMMON_CHINESE for character in sample)
    return (len(_SCRIPTS.findall(sample)) + common) / max(1, len(sample))


def _guess(data: bytes) -> Decoded | None:
    best: Decoded | None = None
    best_score = 1.0
    for encoding, score, convincing in (
        ("gb18030", _chinese_score, 0.25),
        ("shift_jis", _japanese_score, 0.25),
        ("euc_jp", _japanese_score, 0.25),
        ("cp1252", _western_score, 0.7),
    ):
        option = _lenient(data, encoding)
        if option is None:
            continue
        relative = score(_non_ascii_sample(option.text)) / convincing
        if relative >= best_score:
            best, best_score = option, relative
    if best:
        return best
    # Far Eastern UTF-16 may lack zero bytes, but never bytes that would be control characters.
    wide = _utf16_or_32(data) if _CONTROL_BYTES.search(data) else None
    return wide or _ask_charset_normalizer(data) or _strict(data, "cp1252")


def _non_ascii_sample(text: str) -> list[tuple[str, str, str]]:
    """Each non-ASCII character with its two neighbours, from the first part of the text that has some."""
    found = re.finditer(r"[^\x00-\x7f]", text)
    padded = f" {text} "
    places = [match.start() for match in itertools.islice(found, _SAMPLE_CHARACTERS)]
    return [(padded[place], padded[place + 1], padded[place + 2]) for place in places]


def _chinese_score(sample: list[tuple[str, str, str]]) -> float:
    common = sum(character in _COMMON_CHINESE for _, character, _ in sample)
    kana = sum("\u3041" <= character <= "\u30fe" for _, character, _ in sample)
    return (common - kana) / max(1, len(sample))


def _japanese_score(sample: list[tuple[str, str, str]]) -> float:
    kana = sum("\u3001" <= character <= "\u30fe" for _, character, _ in sample)
    half_width = sum("\uff61" <= character <= "\uff9f" for _, character, _ in sample)
    return (kana - half_width) / max(1, len(sample))


def _western_score(sample: list[tuple[str, str, str]]) -> float:
    """Accented letters stand among plain ones; in any other alphabet they would stand in rows."""
    plausible = 0
    for before, character, after in sample:
        if character in _WESTERN_LETTERS:
            plausible += not _accented(before) and (not _accented(after) or before.isalpha())
        elif character in _WESTERN_MARKS:
            plausible += character in "’·–—…" or not (before.isalpha() and after.isalpha())
    return plausible / max(1, len(sample))


def _accented(character: str) -> bool:
    return character.isalpha() and not character.isascii()


def _ask_charset_normalizer(data: bytes) -> Decoded | None:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        what = "Guessing the encoding of a text that is not Unicode"
        raise DocumentError(needs_extra(what, "charset-normalizer", "documents")) from error
    # Only the lines that say something about the encoding: plain ones would drown the rest.
    sample = b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE_BYTES]
    best = from_bytes(sample, cp_isolation=_OTHER_ENCODINGS).best()
    return _lenient(data, best.encoding) if best else None
