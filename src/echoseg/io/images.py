"""Pictures by Pillow: files of several (TIFF, animated PNG and WebP), and the pixels of any one."""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip, Label
from echoseg.errors import FormatError
from echoseg.frame_store import each
from echoseg.io.budget import MAX_FRAME_PIXELS, Budget
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import Decoded, collect
from echoseg.io.header_scale import default_delay

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAX_PAGES = 2**17
_DESCRIPTION, _PHOTOMETRIC = 270, 262
"""Tags of TIFF 6.0: ImageDescription; PhotometricInterpretation, 0 where zero is white."""
_MAX_TEXT = 2**16
_AXES = (
    ("frames", r"(?m)^frames=(\d{1,9})", r'SizeT="(\d{1,9})"'),
    ("slices", r"(?m)^slices=(\d{1,9})", r'SizeZ="(\d{1,9})"'),
    ("channels", r"(?m)^channels=(\d{1,9})", r'SizeC="(\d{1,9})"'),
)
"""What ImageJ and OME call the axes of a stack in its first page's description."""
SUFFIXES = frozenset(".png .jpg .jpeg .tif .tiff .bmp .webp".split())
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def is_picture(head: bytes) -> bool:
    """Detect PNG, JPEG, TIFF, BMP and WebP by their first bytes, of one picture or several."""
    return (
        head.startswith((_PNG, _JPEG, *_TIFF))
        or (head[:2] == b"BM" and head[6:10] == bytes(4))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
    )


def sniff(head: bytes, path: Path) -> bool:
    """Detect a TIFF of several pages, an animated PNG, an animated WebP."""
    if head.startswith(_TIFF):
        with contextlib.suppress(Exception):  # one page, as far as can be seen
            return _is_cut_tiff(path) or num_pages(path) > 1
    is_animated_webp = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & 2)
    return is_animated_webp or (head.startswith(_PNG) and b"acTL" in head)


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the pictures of a file; an animation has times where each picture states its duration.

    Resolution in dots per inch is of a print, not of a heart, and is not read.
    """
    durations_ms: list[float] = []

    def decode() -> Iterator[Decoded]:
        durations_ms.clear()
        return _decode(path, durations_ms, options)

    _check_axes(path)
    expected = num_pages(path)
    Budget(path, options).check(expected, 0, 0)
    grey = collect(path, decode, options, expected=expected, bits=16)
    times_s, rate = None, None
    if len(durations_ms) == grey.total and min(durations_ms[:-1]) > 0:  # the last is a pause
        starts_ms = np.cumsum([0, *durations_ms[:-1]])
        times_s = np.delete(starts_ms, list(grey.damaged)) / 1000
        times_s -= times_s[0]
        rate = default_delay(times_s)
    return Clip(
        frames=grey.frames,
        times_s=times_s if rate is None else None,
        damaged_frames=grey.damaged,
        warnings=grey.warnings,
        sources=() if rate is None else (rate,),
    )


def _decode(path: Path, durations_ms: list[float], options: OpenOptions) -> Iterator[Decoded]:
    if (array := _one_page_stack(path)) is not None:
        is_white_zero = _is_white_zero(path)
        for frame in each(array):
            yield _inverted(frame) if is_white_zero else frame
        return
    with open_picture(path, options) as image:
        for index in range(getattr(image, "n_frames", 1)):
            try:
                image.seek(index)
                Budget(path, options).check(1, image.height, image.width)
                yield pixels(image)
                durations_ms.append(float(image.info.get("duration", 0)))
            except (OSError, EOFError, SyntaxError, ValueError) as error:
                durations_ms.append(0)
                yield error


def _check_axes(path: Path) -> None:
    """Refuse a stack of ImageJ or OME whose pages are channels or slices at each time.

    Raises:
        FormatError: If it has two such axes.
    """
    with path.open("rb") as file:
        if not file.read(4).startswith(_TIFF):
            return
    if _is_cut_tiff(path):
        raise FormatError(f"{path}: the TIFF is cut off or broken; get a whole copy")
    with open_picture(path, OpenOptions()) as image:
        text = str(image.tag_v2.get(_DESCRIPTION, ""))[:_MAX_TEXT]
    sizes: dict[str, int] = {}
    for name, *patterns in _AXES:
        numbers = (re.search(pattern, text) for pattern in patterns)
        sizes[name] = max([int(one[1]) for one in numbers if one], default=1)
    many = [f"{number} {name}" for name, number in sizes.items() if number > 1]
    if len(many) > 1:  # tools that are given one axis call it anything
        raise FormatError(
            f"{path}: the pages of a TIFF must be frames in time, these are {' x '.join(many)}; "
            "save one channel and one slice as a stack of its own"
        )


def num_pages(path: Path) -> int:
    """Number of pictures in a file, of an ImageJ stack more than it has pages."""
    if (array := _one_page_stack(path)) is not None:
        return len(array)
    if pages := _tiff_pages(path):  # Pillow compares each page with all before
        return len(set(pages))
    with open_picture(path, OpenOptions()) as image:
        return getattr(image, "n_frames", 1)


def _tiff_pages(path: Path) -> list[int]:
    """Where the pages of a TIFF begin; the last twice where they form a loop; none of others.

    Of one that is cut off the last is beyond its end. Each begins with the number of its tags and
    ends with the place of the next (TIFF 6.0, section 2; BigTIFF has larger numbers). tifffile
    follows a loop 4 million times.
    """
    pages, known = list[int](), set[int]()
    with path.open("rb") as file:
        head = file.read(16)
        if not head.startswith(_TIFF):
            return pages
        order: Any = "little" if head[:2] == b"II" else "big"
        is_big = 43 in head[2:4]
        tag_bytes, number_bytes, place_bytes = (20, 8, 8) if is_big else (12, 2, 4)
        place = int.from_bytes(head[8:] if is_big else head[4:8], order)
        while place and len(pages) < _MAX_PAGES:
            file.seek(min(place, 2**62))
            pages.append(place)
            if len(number := file.read(number_bytes)) < number_bytes:
                break
            if place in known:
                break
            known.add(place)
            file.seek(min(tag_bytes * int.from_bytes(number, order), 2**32), 1)
            place = int.from_bytes(file.read(place_bytes), order)
    return pages


def _is_cut_tiff(path: Path) -> bool:
    """Whether a page of a TIFF would begin after its end."""
    return bool(pages := _tiff_pages(path)) and pages[-1] >= path.stat().st_size


def _one_page_stack(path: Path) -> np.ndarray | None:
    """`T H W` (3) of an uncompressed TIFF that describes one page and holds more, as ImageJ's."""
    import tifffile

    if len(_tiff_pages(path)) != 1:
        return None
    with tifffile.TiffFile(path) as tiff:
        series = tiff.series[0]
        shape = [
            n for n, axis in zip(series.shape, series.axes, strict=True) if n > 1 or axis in "YX"
        ]
        if len(tiff.pages) > 1 or len(shape) < 3 or (series.axes[-1] == "S" and len(shape) < 4):
            return None
    return tifffile.memmap(path, mode="r").reshape(shape)


def _is_white_zero(path: Path) -> bool:
    with open_picture(path, OpenOptions()) as image:
        return image.tag_v2.get(_PHOTOMETRIC) == 0


def _inverted(values: np.ndarray) -> np.ndarray:
    """Values of a picture whose zero is white: black becomes zero, or the lowest, of its type."""
    return ~values if values.dtype.kind == "u" else -values


def label_pages(path: Path, options: OpenOptions) -> Iterator[np.ndarray]:
    """Yield the label maps `H W` of a picture of one or several pages, as they are stored.

    A palette's entries are labels where they are few and low, as in indexed PNG; of colors other
    than grey, one beside black is a mask.

    Raises:
        FormatError: If there are several colors, whose labels cannot be known.
    """
    from PIL import ImageSequence

    if (stack := _one_page_stack(path)) is not None:
        yield from stack
        return
    with open_picture(path, options) as image:
        for page in ImageSequence.Iterator(image):
            values = np.asarray(page)
            if page.mode == "P" and values.max() > max(Label):
                values = np.asarray(page.convert("RGB"))
            if page.mode in ("LA", "PA", "RGBA") or values.ndim == 3:
                values = np.asarray(page.convert("RGB")).max(-1) * _one_hue(path, page)
            yield values


def _one_hue(path: Path, page: Any) -> int:
    """1 where a picture has grey colors only, or one beside black."""
    colors = np.unique(np.asarray(page.convert("RGB")).reshape(-1, 3), axis=0)
    if (colors == colors[:, :1]).all() or (len(colors) <= 2 and not colors[0].any()):
        return 1
    raise FormatError(
        f"{path}: masks in {len(colors)} colors do not state their labels; save them as 0 "
        "background, 1 LV cavity, 2 LV myocardium and 3 left atrium"
    )


@contextlib.contextmanager
def open_picture(path: Path, options: OpenOptions) -> Iterator[Any]:
    """Open a picture whose header states a size within the limit; nothing is decoded.

    Raises:
        TooLargeError: If it is larger.
        OSError: If it is not a picture, as others of Pillow.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is lower
        try:
            image = Image.open(path)
        except Image.DecompressionBombError:
            Budget(path, options).check(1, 2 * MAX_FRAME_PIXELS, 1)
            raise
    with image:
        Budget(path, options).check(1, image.height, image.width)
        yield image


def pixels(image: Any) -> np.ndarray:
    """Pixels of a Pillow image, upright by its EXIF tag: `H W` of any type, or RGB `H W 3`."""
    from PIL import ImageOps

    is_tiff = image.format == "TIFF"  # transposed it has no format
    is_white_zero = is_tiff and image.tag_v2.get(_PHOTOMETRIC) == 0
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") and not is_tiff:  # names vary with Pillow's age
        return np.asarray(image).astype(np.uint16)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        return _inverted(values) if is_white_zero else values  # Pillow does so for 8 bits only
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
