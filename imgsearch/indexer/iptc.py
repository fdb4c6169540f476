"""The keywords in a block of IPTC-IIM data sets (IPTC-NAA Information Interchange Model 4.2)."""

from __future__ import annotations

from collections.abc import Iterator

_TAG_MARKER = 0x1C
_CHARACTER_SET, _KEYWORDS = (1, 90), (2, 25)
_UTF8_ESCAPE = b"\x1b%G"
# From here on a length is the number of bytes that the length itself takes; no keyword needs that.
_EXTENDED_LENGTH = 0x8000
_MAX_WORDS = 1_000


def read_iptc(block: bytes) -> tuple[str, ...]:
    """Return the keywords (data set 2:25) as they stand there, up to where the block is damaged."""
    encoding: str | None = None
    words: list[bytes] = []
    for data_set, value in _data_sets(block):
        if data_set == _CHARACTER_SET and value.startswith(_UTF8_ESCAPE):
            encoding = "utf-8"
        elif data_set == _KEYWORDS and len(words) < _MAX_WORDS:
            words.append(value)
    return tuple(_decoded(word, encoding) for word in words)


def _data_sets(block: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """Yield ((record, number), value): a marker, both numbers, two bytes of length, the value."""
    at = 0
    while at + 5 <= len(block) and block[at] == _TAG_MARKER:
        length = int.from_bytes(block[at + 3 : at + 5], "big")
        end = at + 5 + length
        if length >= _EXTENDED_LENGTH or end > len(block):
            return
        yield (block[at + 1], block[at + 2]), block[at + 5 : end]
        at = end


def _decoded(value: bytes, encoding: str | None) -> str:
    """Return the text: UTF-8 where that is said or where it fits, else Latin-1."""
    if encoding is not None:
        return value.decode(encoding, errors="replace")
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
