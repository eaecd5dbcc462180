"""Damage of the kinds that files meet: flipped bytes, cuts, repeats, and pieces swapped in from elsewhere."""

from random import Random

_DICTIONARY = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"%PDF-", b"endobj", b"stream", b"/Length 99999999", b"/Kids [2 0 R]",
    b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"<![CDATA[", b"<![x[", b"<!ENTITY a 'b'>", b"&a;", b"<script>",
    b"]]>", b"\xed\xa0\x80", b"\x1b$B", b"\x84\x31\x95\x33", b"\\ud800", b"<" * 500, b"(" * 500, b"[" * 500,
    b"&#" + b"9" * 5000, b"<a b='", b"<!--",
)  # fmt: skip


def mutate(data: bytes, rng: Random) -> bytes:
    """`data` after one to eight random edits."""
    edited = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(edited) + 1)
        length = rng.choice((1, 1, 4, 16, 64, 512))
        match rng.randrange(6):
            case 0:
                edited[at : at + length] = rng.randbytes(length)
            case 1:
                del edited[at : at + length]
            case 2:
                edited[at:at] = edited[at : at + length] * rng.choice((1, 2, 30))
            case 3:
                edited[at:at] = rng.choice(_DICTIONARY)
            case 4:
                if at < len(edited):
                    edited[at] ^= 1 << rng.randrange(8)
            case 5:
                if rng.random() < 0.2:
                    del edited[at:]
    return bytes(edited)
