"""CVAT's XML 1.1 (https://docs.cvat.ai, "CVAT for image", "CVAT for video"), one image per frame.

Polygons and masks are read of both kinds; masks of images are written.
"""

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from echoseg.errors import FormatError, Unfit, reason_of
from echoseg.files import write_text
from echoseg.io import coco
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions
from echoseg.io.label_names import NAMES, Region, named_label, paint, polygon
from echoseg.untrusted import read_bytes

_SHAPES = ("polygon", "mask")
_OTHER_SHAPES = ("box", "ellipse", "polyline", "points", "cuboid", "skeleton")
_MAX_FRAMES = 100_000


def sniff(head: bytes, path: Path) -> bool:
    """Detect the root of CVAT's XML."""
    return b"<annotations" in head and b"<" == head.lstrip(b"\xef\xbb\xbf \r\n\t")[:1]


def load(path: Path, options: OpenOptions) -> np.ndarray:
    """Label maps `T H W` uint8 of the frames of one task.

    Raises:
        FormatError: If it is not CVAT's XML, or has labels or shapes that are not regions.
        TooLargeError: If it would exceed the limit.
    """
    try:
        content = read_bytes(path)
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise Unfit("it declares entities")
        root = ElementTree.fromstring(content)
        if root.tag != "annotations":
            raise Unfit("its root is not annotations")
        size, num_frames = _size(root)
        if not 0 < num_frames <= _MAX_FRAMES:
            raise Unfit("it has no frames, or too many")
        Budget(path, options).check(num_frames, *size)
        regions = _regions(root, size)
        if regions and not 0 <= min(regions) <= max(regions) < num_frames:
            raise Unfit("a shape is on a frame that is not there")
        masks = np.zeros((num_frames, *size), np.uint8)
        for frame, drawn in regions.items():
            paint(masks[frame], drawn)
    except (KeyError, ValueError, OSError, ElementTree.ParseError, OverflowError) as error:
        raise FormatError(
            f"{path}: must be CVAT annotations of one clip ({reason_of(error)}); export them as "
            "CVAT for images 1.1"
        ) from error
    return masks


def _size(root: ElementTree.Element) -> tuple[tuple[int, int], int]:
    """(rows, columns) and number of the frames."""
    images = root.findall("image")
    if images:
        sizes = {(int(image.attrib["height"]), int(image.attrib["width"])) for image in images}
        if len(sizes) > 1:
            raise Unfit("the images differ in size")
        return sizes.pop(), 1 + max(int(image.attrib["id"]) for image in images)
    texts = {name: root.findtext(f".//{name}") for name in ("height", "width", "size")}
    if None in texts.values():
        raise Unfit("it states no original_size or size of the task")
    rows, columns, number = (int(str(texts[name])) for name in ("height", "width", "size"))
    return (rows, columns), number


def _regions(root: ElementTree.Element, size: tuple[int, int]) -> dict[int, list[Region]]:
    """Regions of each frame that has any."""
    shapes = list[tuple[int, str, Any]]()
    for image in root.findall("image"):
        shapes += [(int(image.attrib["id"]), one.attrib.get("label", ""), one) for one in image]
    for track in root.findall("track"):
        name = track.attrib["label"]
        shapes += [
            (int(one.attrib["frame"]), name, one)
            for one in track
            if one.attrib.get("outside", "0") != "1"
        ]
    regions = defaultdict(list)
    for frame, name, shape in shapes:
        if shape.tag in _OTHER_SHAPES:
            raise Unfit(f"shapes must be polygons or masks, there is a {shape.tag}")
        if shape.tag in _SHAPES:
            regions[frame].append((named_label(name), partial(_region, shape, size)))
    return dict(regions)


def _region(shape: ElementTree.Element, size: tuple[int, int]) -> np.ndarray:
    """Pixels `H W` bool of a polygon, or of a mask: run lengths in the rows of its box."""
    values = shape.attrib
    if shape.tag == "polygon":
        pairs = [pair.split(",") for pair in values["points"].split(";")]
        return polygon(np.array(pairs, float), size)
    left, top, width, height = (int(values[n]) for n in ("left", "top", "width", "height"))
    is_inside = left >= 0 and top >= 0 and top + height <= size[0] and left + width <= size[1]
    if not is_inside or min(width, height) < 1:
        raise Unfit("a mask does not fit its image")
    region = np.zeros(size, bool)
    box = coco.from_lengths(values["rle"].split(","), (height, width))
    region[top : top + height, left : left + width] = box
    return region


def write(path: Path, masks: np.ndarray, name: str) -> None:
    """Write label maps `T H W` uint8 as CVAT for images 1.1.

    Args:
        path: The file.
        masks: The label maps.
        name: Of the clip; images are named as in `coco.write`.

    Raises:
        OutputError: If it cannot be written.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    _, rows, columns = masks.shape
    for index, mask in enumerate(masks):
        about = {
            "id": index,
            "name": coco.frame_name(name, index),
            "width": columns,
            "height": rows,
        }
        image = ElementTree.SubElement(root, "image", _texts(about))
        for label, text in NAMES.items():
            if (region := mask == label).any():
                shape = {"label": text, "source": "auto", "occluded": 0, "z_order": 0}
                ElementTree.SubElement(image, "mask", _texts(shape | _box(region)))
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="unicode")
    write_text(path, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')


def _texts(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _box(region: np.ndarray) -> dict[str, Any]:
    """Box of a region `H W` bool, and its run lengths in the rows of that box."""
    rows, columns = np.nonzero(region)
    top, left = int(rows.min()), int(columns.min())
    box = region[top : rows.max() + 1, left : columns.max() + 1]
    flat = np.concatenate([[0], box.ravel().astype(np.int8), [0]])
    ends = np.concatenate([[0], np.flatnonzero(np.diff(flat)), [box.size]])
    lengths = np.diff(ends).tolist()
    rle = ", ".join(map(str, lengths if lengths[-1] else lengths[:-1]))
    return {"rle": rle, "left": left, "top": top, "width": box.shape[1], "height": box.shape[0]}
