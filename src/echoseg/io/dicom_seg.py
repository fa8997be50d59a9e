"""Segmentation objects (SEG) of a clip as label maps, whoever wrote them.

A frame of a SEG belongs to the frame of the clip that it refers to (Referenced Frame Number);
where it refers to none, by its temporal position, and else by its order within its segment.
Segments are recognized by the code of their property type, else by their label.
"""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Label
from echoseg.errors import FormatError
from echoseg.io.budget import Budget
from echoseg.io.dicom_series import instance_places, series_files
from echoseg.io.frames import OpenOptions

SEGMENTS = {
    Label.LV_CAVITY: ("LV cavity", ("87878005", "SCT", "Left ventricle")),
    Label.LV_MYOCARDIUM: ("LV myocardium", ("49848007", "SCT", "Left Ventricle Myocardium")),
    Label.LA_CAVITY: ("LA cavity", ("82471001", "SCT", "Left atrium")),
}
"""Segment label and SNOMED code of each label, in their order."""
_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation, and Label Map Segmentation."""
_MIN_FRAME_BYTES = 2**14
"""What a frame counts as at least: its description takes about 7 kB when it is read."""


def is_seg(dataset: Any) -> bool:
    """Whether an object is a segmentation of pixels."""
    return str(dataset.get("SOPClassUID", "")) in _CLASSES


def load(path: Path, options: OpenOptions) -> np.ndarray:
    """Label maps `T H W` uint8 up to the last frame that the segmentation has.

    Args:
        path: The file.
        options: As in `load_clip`.

    Raises:
        FormatError: If it is another object, has a segment of another kind than `SEGMENTS`, is of
            objects other than those of `masked_clip`, or its frames cannot be put in order.
    """
    import pydicom

    dataset = pydicom.dcmread(path, force=True)
    if not is_seg(dataset):
        raise FormatError(
            f"{path}: masks in DICOM must be a segmentation object (SEG), this is another object; "
            "export the masks as SEG or NIfTI"
        )
    budget = Budget(path, options, _MIN_FRAME_BYTES)
    budget.check(int(dataset.NumberOfFrames), dataset.Rows, dataset.Columns)
    pixels = dataset.pixel_array
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    labels = _labels(path, dataset)
    places = _places(path, dataset, len(pixels), options)
    budget.check(max(places) + 1, dataset.Rows, dataset.Columns)
    masks = np.zeros((max(places) + 1, *pixels.shape[1:]), np.uint8)
    if str(dataset.get("SegmentationType")) == "LABELMAP":
        for place, frame in zip(places, pixels, strict=True):
            for number, label in labels.items():
                masks[place][frame == number] = label
        return masks
    threshold = int(dataset.get("MaximumFractionalValue") or 1) / 2
    numbers = [_segment_number(dataset, index) for index in range(len(pixels))]
    for number, place, frame in zip(numbers, places, pixels, strict=True):
        masks[place][frame > threshold] = labels[number]
    return masks


def check_refers(path: Path, clip: Path) -> None:
    """Check that a SEG is of a clip, where both are DICOM and the SEG names what it is of.

    Raises:
        FormatError: If it is of other objects.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        seg = pydicom.dcmread(path, stop_before_pixels=True)
        files = series_files(clip) if clip.is_dir() else [clip]
        headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in files]
    except (InvalidDicomError, OSError):  # masks or clip of another format
        return
    series = seg.get("ReferencedSeriesSequence") or []
    instances = [one for item in series for one in item.get("ReferencedInstanceSequence") or []]
    uids = {str(one.ReferencedSOPInstanceUID) for one in instances}
    own = {str(one.get("SOPInstanceUID") or "") for one in headers} - {""}
    if is_seg(seg) and uids and own and not uids & own:
        raise FormatError(
            f"{path}: the segmentation must be of the clip, it refers to another object; give the "
            "clip that it was drawn on"
        )


def _labels(path: Path, dataset: Any) -> dict[int, Label]:
    """The label of each segment number."""
    from pydicom.sr.coding import Code

    known: dict[int, Label] = {}
    for segment in dataset.SegmentSequence:
        items = segment.get("SegmentedPropertyTypeCodeSequence") or []
        types = [Code(one.CodeValue, one.CodingSchemeDesignator, "") for one in items]
        name = str(segment.get("SegmentLabel", "")).casefold()
        for label, (title, code) in SEGMENTS.items():
            if Code(*code) in types or name == title.casefold():
                known[int(segment.SegmentNumber)] = label
    unknown = [int(one.SegmentNumber) for one in dataset.SegmentSequence]
    unknown = [number for number in unknown if number not in known]
    if unknown:
        names = ", ".join(title for title, _ in SEGMENTS.values())
        raise FormatError(
            f"{path}: each segment must be one of {names}, segment {unknown[0]} is another; name "
            "it so, or remove it"
        )
    return known


def _groups(dataset: Any, index: int, name: str) -> Any:
    """A functional group of a frame, its own or that of all frames; None without one."""
    own = dataset.PerFrameFunctionalGroupsSequence[index]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]
    sequence = own.get(name) or shared.get(name)
    return sequence[0] if sequence else None


def _segment_number(dataset: Any, index: int) -> int:
    group = _groups(dataset, index, "SegmentIdentificationSequence")
    return int(group.ReferencedSegmentNumber) if group else 1


def _places(path: Path, dataset: Any, count: int, options: OpenOptions) -> list[int]:
    """Index in the clip of each frame, from 0."""
    images = [_source_image(dataset, index) for index in range(count)]
    objects = {str(one.ReferencedSOPInstanceUID) for one in images if one is not None}
    if len(objects) > 1:  # their positions in time count those with masks alone
        folder = options.masked_clip
        known = instance_places(folder) if folder and folder.is_dir() else {}
        uids = [str(one.ReferencedSOPInstanceUID) for one in images if one is not None]
        if len(uids) < count or not objects <= known.keys():
            raise FormatError(
                f"{path}: the segmentation is of a series of objects, one per frame, which must be "
                "files of the clip's folder; give that folder by --clip (masked_clip), or the "
                "masks of all frames as NIfTI or NumPy"
            )
        return [known[uid] for uid in uids]
    places = [_place(dataset, index) for index in range(count)]
    if None not in places:
        return [place for place in places if place is not None]
    segments = [_segment_number(dataset, index) for index in range(count)]
    sizes = set(Counter(segments).values())
    if len(sizes) != 1 or any(place is not None for place in places):
        raise FormatError(
            f"{path}: the frames must refer to those of the clip (Referenced Frame Number), some "
            "do not; export the masks of all frames, or as NIfTI"
        )
    orders = {number: itertools.count() for number in set(segments)}
    return [next(orders[number]) for number in segments]


def _source_image(dataset: Any, index: int) -> Any:
    """Reference to the frame that a frame is of; None without one."""
    derivation = _groups(dataset, index, "DerivationImageSequence")
    images = (derivation.get("SourceImageSequence") or []) if derivation else []
    return next((one for one in images if one.get("ReferencedSOPInstanceUID")), None)


def _place(dataset: Any, index: int) -> int | None:
    image = _source_image(dataset, index)
    if image is not None and image.get("ReferencedFrameNumber"):
        return int(np.atleast_1d(image.ReferencedFrameNumber)[0]) - 1
    content = _groups(dataset, index, "FrameContentSequence")
    position = content.get("TemporalPositionIndex") if content else None
    return None if position is None else int(position) - 1
