"""Label maps that an edit changed, as bytes of a row: each cut to its heart, all compressed."""

import zlib

import numpy as np

from echoseg.box import region_box
from echoseg.errors import OutputError

_LEVEL = 1
_NUM_FIELDS = 5


def pack(masks: dict[int, np.ndarray]) -> bytes:
    """Label maps `H W` uint8 by their frame; none: no bytes."""
    if not masks:
        return b""
    header, pixels = [], []
    for frame, mask in sorted(masks.items()):
        rows, columns = region_box(mask)
        header.append((frame, rows.start, columns.start, *mask[rows, columns].shape))
        pixels.append(mask[rows, columns].tobytes())
    fields = np.array([len(header), *np.ravel(header)], "<i4").tobytes()
    return zlib.compress(fields + b"".join(pixels), _LEVEL)


def unpack(data: bytes, size: tuple[int, int]) -> dict[int, np.ndarray]:
    """The label maps of `pack`.

    Args:
        data: Bytes of `pack`.
        size: (rows, columns) of a label map.

    Raises:
        OutputError: If the bytes are not those of label maps of this size.
    """
    if not data:
        return {}
    try:
        content = zlib.decompress(data)
        count = int(np.frombuffer(content, "<i4", 1)[0])
        header = np.frombuffer(content, "<i4", count * _NUM_FIELDS, 4).reshape(count, -1)
        masks, start = {}, 4 * (1 + count * _NUM_FIELDS)
        for frame, top, left, rows, columns in header.tolist():
            mask = np.zeros(size, np.uint8)
            crop = np.frombuffer(content, np.uint8, rows * columns, start)
            mask[top : top + rows, left : left + columns] = crop.reshape(rows, columns)
            masks[frame], start = mask, start + rows * columns
        return masks
    except (zlib.error, ValueError, IndexError) as error:
        raise OutputError(
            "a stored edit is damaged, so this reading cannot be opened; restore the database "
            "from a backup"
        ) from error
