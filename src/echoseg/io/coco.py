"""COCO annotations of a clip (https://cocodataset.org, "Data format"), one image per frame.

Images have `video_id` and `frame_id`, and annotations an `instance_id`, as in video data sets of
that format. Masks are written as run lengths; of any tool polygons and compressed ones are read.
"""

import json
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import FormatError, Unfit, reason_of
from echoseg.files import write_text
from echoseg.io.budget import Budget
from echoseg.io.frame_names import natural_key
from echoseg.io.frames import OpenOptions
from echoseg.io.label_names import NAMES, Region, named_label, paint, polygon
from echoseg.untrusted import read_json

_MAX_LENGTHS = 2**25


def sniff(head: bytes, path: Path) -> bool:
    """Detect a JSON object in a file of that name; whether it is COCO shows when it is read."""
    return head.lstrip()[:1] == b"{" and path.suffix.lower() == ".json"


def load(path: Path, options: OpenOptions) -> np.ndarray:
    """Label maps `T H W` uint8 of the one video in a file.

    Raises:
        FormatError: If it is not COCO, of several videos, or its labels are others.
        TooLargeError: If it would exceed the limit.
    """
    try:
        document = read_json(path)
        images = _in_order(document["images"])
        names = {one["id"]: str(one["name"]) for one in document["categories"]}
        size = _size(images)
        Budget(path, options).check(len(images), *size)
        place = {image["id"]: index for index, image in enumerate(images)}
        regions = [list[Region]() for _ in images]
        for one in document["annotations"]:
            label = named_label(names[one["category_id"]])
            region = partial(_region, one["segmentation"], size)
            regions[place[one["image_id"]]].append((label, region))
        masks = np.zeros((len(images), *size), np.uint8)
        for mask, drawn in zip(masks, regions, strict=True):
            paint(mask, drawn)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OSError) as error:
        raise FormatError(
            f"{path}: must be COCO annotations of one clip ({reason_of(error)}); export it as COCO "
            "with one image per frame"
        ) from error
    return masks


def _in_order(images: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Images by frame number; where none has one, by file name in natural order, else by id."""
    numbers: list[Any] = [image.get("frame_id", image.get("frame_index")) for image in images]
    is_numbered = any(number is not None for number in numbers)
    keys: list[Any] = [natural_key(str(image.get("file_name", ""))) for image in images]
    if is_numbered or len(set(keys)) < len(images):
        try:
            keys = [int(one) for one in (numbers if is_numbered else [i["id"] for i in images])]
        except (TypeError, ValueError):
            keys = []
    if len(set(keys)) < len(images):
        raise Unfit("the order of its images is unknown, give each a frame_id of its own")
    return [image for _, image in sorted(zip(keys, images, strict=True), key=itemgetter(0))]


def _size(images: list[dict[str, Any]]) -> tuple[int, int]:
    sizes = {(int(image["height"]), int(image["width"])) for image in images}
    if len(sizes) != 1 or min(min(sizes)) < 1:
        raise Unfit(f"all images must have one size, there are {len(sizes)}")
    if len({image.get("video_id") for image in images}) > 1:
        raise Unfit("it has several videos; export one")
    if len({image["id"] for image in images}) < len(images):
        raise Unfit("two images have one id")
    return sizes.pop()


def _region(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Pixels `H W` bool of polygons, or of run lengths in columns, compressed or not."""
    if isinstance(segmentation, list):
        region = np.zeros(size, bool)
        for points in segmentation:
            region |= polygon(np.asarray(points, float).reshape(-1, 2), size)
        return region
    if tuple(map(int, segmentation["size"])) != size:
        raise Unfit("a mask has another size than its image")
    counts = segmentation["counts"]
    lengths = _decoded(counts) if isinstance(counts, str) else counts
    return from_lengths(lengths, (size[1], size[0])).T


def from_lengths(lengths: Any, size: tuple[int, int]) -> np.ndarray:
    """Pixels `R C` bool of run lengths along rows, the first of pixels outside.

    Raises:
        Unfit: If they are not whole numbers that fill that size.
    """
    values = np.asarray(lengths, np.int64)
    num_pixels = size[0] * size[1]  # a sum of larger ones might overflow
    if values.ndim != 1 or (values < 0).any() or (values > num_pixels).any():
        raise Unfit("the run lengths of a mask are not numbers from 0 to its number of pixels")
    if len(values) > _MAX_LENGTHS or values.sum() != num_pixels:
        raise Unfit("the run lengths of a mask do not fill it")
    return np.repeat(np.arange(len(values)) % 2 == 1, values).reshape(size)


def _decoded(text: str) -> list[int]:
    """Run lengths of COCO's compressed text.

    Each is written as its difference from the one before the last, in five bits a letter, lowest
    first, the sixth says that more follow (rleFrString in maskApi.c of cocoapi).
    """
    lengths, value, shift = list[int](), 0, 0
    for letter in text.encode("ascii"):
        bits = letter - 48
        value |= (bits & 31) << shift
        shift += 5
        if shift > 60:
            raise Unfit("the run lengths of a mask are broken")
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    return lengths


def write(path: Path, masks: np.ndarray, name: str) -> None:
    """Write label maps `T H W` uint8 as COCO annotations.

    Args:
        path: The file.
        masks: The label maps.
        name: Of the clip; images are named `NAME_000000.png` and so on.

    Raises:
        OutputError: If it cannot be written.
    """
    num_frames, rows, columns = masks.shape
    size = {"height": rows, "width": columns}
    images = [
        {"id": i + 1, "file_name": frame_name(name, i), **size, "video_id": 1, "frame_id": i}
        for i in range(num_frames)
    ]
    annotations = []
    for index, mask in enumerate(masks):
        for label in NAMES:
            if (region := mask == label).any():
                place = {"id": len(annotations) + 1, "image_id": index + 1, "video_id": 1}
                kind = {"category_id": int(label), "instance_id": int(label), "iscrowd": 1}
                annotations.append({**place, **kind, **_shape(region)})
    document = {
        "info": {"description": "echoseg, research software, not a medical device"},
        "videos": [{"id": 1, "name": name, "length": num_frames, **size}],
        "images": images,
        "categories": [{"id": int(label), "name": text} for label, text in NAMES.items()],
        "annotations": annotations,
    }
    write_text(path, json.dumps(document) + "\n")


def _shape(region: np.ndarray) -> dict[str, Any]:
    """Run lengths, area and box of a region `H W` bool."""
    flat = np.concatenate([[0], region.T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    ends = np.concatenate([[0], edges, [region.size]])
    lengths = np.diff(ends).tolist()
    rows, columns = np.nonzero(region)
    top, left = int(rows.min()), int(columns.min())
    box = [left, top, int(columns.max()) - left + 1, int(rows.max()) - top + 1]
    counts = lengths if lengths[-1] else lengths[:-1]
    return {
        "segmentation": {"size": list(region.shape), "counts": counts},
        "area": int(region.sum()),
        "bbox": box,
    }


def frame_name(name: str, index: int) -> str:
    """File name of a frame of a clip, counted from 0."""
    return f"{name}_{index:06d}.png"
