"""Fragments of compressed Pixel Data: items that hold a frame each, or parts of one (PS3.5 A.4)."""

import io
from typing import Any, NamedTuple

ITEM = b"\xfe\xff\0\xe0"
_CODESTREAMS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
"""First bytes of JPEG, JPEG-LS, JPEG 2000 and JP2."""


class Item(NamedTuple):
    """Where an item starts and ends in the file, and the first bytes of its content, at most 12."""

    start: int
    end: int
    begin: bytes


def list_items(pixels: Any, first: int = 0) -> list[Item]:
    """List the items of a seekable binary file from a place on, and rewind it.

    The first of Pixel Data is the table of frame offsets. The last may end beyond a cut file.
    """
    items: list[Item] = []
    place = pixels.seek(first)
    while len(head := pixels.read(20)) >= 8 and head[:4] == ITEM:
        length = int.from_bytes(head[4:8], "little")
        items.append(Item(place, place + 8 + length, head[8 : 8 + length]))
        place = pixels.seek(place + 8 + length)
    pixels.seek(0, io.SEEK_SET)
    return items


def first_of_frames(fragments: list[Item]) -> list[Item]:
    """The fragments with which frames begin.

    All that are filled where none has the first bytes of a known encoding, such as run lengths.
    """
    begin = [one for one in fragments if one.begin.startswith(_CODESTREAMS)]
    return begin or [one for one in fragments if one.begin]
