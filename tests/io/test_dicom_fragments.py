"""Items of compressed pixels: where each lies, and which begin a frame."""

import io

import pytest

from echoseg.io.dicom_fragments import ITEM, first_of_frames, list_items

JPEG, RUN_LENGTHS = b"\xff\xd8\xff\xe0 one", b"\x01\0\0\0 two "


def item(content: bytes) -> bytes:
    return ITEM + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize("first", [0, 16])
def test_items_are_listed_from_a_place_on_and_the_file_is_rewound(first):
    contents = [bytes(8), JPEG, b"its rest, of 20 bytes.", b"", JPEG]
    file = io.BytesIO(b"".join(map(item, contents)) + b"\xfe\xff\xdd\xe0\0\0\0\0")
    items = list_items(file, first)
    assert [one.begin for one in items] == [c[:12] for c in contents[first // 16 :]]
    assert [one.end for one in items[:-1]] == [one.start for one in items[1:]]
    assert items[0].start == first and items[-1].end == len(file.getvalue()) - 8
    assert file.tell() == 0


def test_an_item_may_end_beyond_a_cut_file():
    assert [one.end for one in list_items(io.BytesIO(item(JPEG)[:12]))] == [16]
    assert list_items(io.BytesIO(item(JPEG)[:6])) == []


def test_a_frame_begins_with_a_known_encoding_or_else_with_each_filled_fragment():
    pieces = list_items(io.BytesIO(b"".join(map(item, (JPEG, b"rest", JPEG)))))
    assert first_of_frames(pieces) == [pieces[0], pieces[2]]
    runs = list_items(io.BytesIO(b"".join(map(item, (RUN_LENGTHS, b"", RUN_LENGTHS)))))
    assert first_of_frames(runs) == [runs[0], runs[2]]
