"""A folder of DICOM files of one frame each: one clip, where they are one series in time."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip, SourceStatement
from echoseg.errors import DamagedError, NotAClipError
from echoseg.io import dicom
from echoseg.io.arbitration import decide
from echoseg.io.dicom_frames import decoder
from echoseg.io.dicom_kind import no_clip_reason
from echoseg.io.dicom_mend import mend
from echoseg.io.dicom_pixels import open_dataset
from echoseg.io.frames import OpenOptions, numbered_row
from echoseg.io.quiet import quiet

_MIN_FILES = 8
"""Stills of a study are fewer."""
_MAX_STEP_S = 0.5
"""Mean time from file to file; stills are taken further apart."""
_TAGS = ["SOPInstanceUID", "SeriesInstanceUID", "InstanceNumber", "NumberOfFrames", "Rows",
         "Columns", "AcquisitionTime", "ContentTime"]  # fmt: skip
_CLOCKS = {
    "AcquisitionTime": "Acquisition Time (0008,0032)", "ContentTime": "Content Time (0008,0033)"
}  # fmt: skip
_NUMBER = "Instance Number (0020,0013)"


def sniff(head: bytes, path: Path) -> bool:
    """Detect a folder of such files."""
    return path.is_dir() and bool(series_files(path))


def series_files(path: Path) -> list[Path]:
    """The files of a folder by Instance Number; none where they are not the frames of one clip."""
    return [file for file, _ in _series(path)[0]]


def instance_places(path: Path) -> dict[str, int]:
    """The frame of the clip of each SOP Instance UID, from 0; frames without a file count."""
    files = _series(path)[0]
    numbers = [header.number for _, header in files]
    row = numbered_row(path, files, numbers, OpenOptions(allow_damaged=True))
    return {one[1].instance: place for place, one in enumerate(row) if one is not None}


def no_series_reason(path: Path) -> str:
    """Why the DICOM files of a folder are not the frames of one clip; empty where none tells."""
    return _series(path)[1]


def _series(path: Path) -> tuple[list[tuple[Path, Any]], str]:
    """Files and headers of the frames in order; or none, and the reason."""
    frames: list[tuple[Path, Any]] = []
    instances = set[str]()
    for file in sorted(file for file in path.iterdir() if file.is_file()):
        with file.open("rb") as content:
            if not dicom.sniff(content.read(2048), file):
                continue
        header = _header(file)
        if header is None:
            return [], ""
        if header.instance not in instances:  # copies of one object
            instances.add(header.instance)
            frames.append((file, header))
    if len(frames) < _MIN_FILES:
        return [], ""
    if reason := _misfit([header for _, header in frames]):
        return [], reason
    frames.sort(key=lambda one: one[1].number)
    spans_s = [np.ptp(stamps) for name in _CLOCKS if len(stamps := _stamps_s(frames, name))]
    are_stills = any(span > _MAX_STEP_S * (len(frames) - 1) for span in spans_s)
    return ([], "they were acquired too far apart for a clip") if are_stills else (frames, "")


def _header(file: Path) -> Any:
    """The header of a picture of one frame; None of any other object."""
    import pydicom

    with quiet():
        try:
            header = pydicom.dcmread(file, force=True, stop_before_pixels=True, specific_tags=_TAGS)
            # not elements
            header.series, header.size = header.SeriesInstanceUID, (header.Rows, header.Columns)
            header.instance = str(header.get("SOPInstanceUID") or file)
            is_single = int(header.get("NumberOfFrames") or 1) == 1
        except Exception:  # pydicom raises many types
            return None
        try:
            header.number = int(header.InstanceNumber)
        except Exception:
            header.number = None
    return header if is_single else None


def _misfit(headers: list[Any]) -> str:
    """Why pictures of one frame each are not one series in a known order; empty where they are."""
    if len({header.size for header in headers}) > 1:
        return "they differ in size"
    numbers = [header.number for header in headers]
    if None in numbers:
        return f"{numbers.count(None)} have no {_NUMBER}, so their order is unknown"
    counts = Counter(numbers)
    number = max(counts, key=lambda one: counts[one])
    if counts[number] > 1:
        return f"{counts[number]} have {_NUMBER} {number}, so their order is unknown"
    # de-identification may give each file a series of its own
    num_series = len({header.series for header in headers})
    is_gapless = max(numbers) - min(numbers) == len(numbers) - 1
    if num_series > 1 and not (num_series == len(headers) and is_gapless):
        return f"they are of {num_series} series"
    return ""


def _stamps_s(frames: list[tuple[Path, Any]], name: str) -> np.ndarray:
    """Times of day; none where a file states none."""
    texts = [str(header.get(name) or "") for _, header in frames]
    try:
        return np.array([3600 * int(t[:2]) + 60 * int(t[2:4]) + float(t[4:] or 0) for t in texts])
    except ValueError:
        return np.array([])


def _increases(stamps_s: np.ndarray) -> bool:
    return len(stamps_s) > 0 and bool((np.diff(stamps_s) > 0).all())


def _of_all(
    path: Path, files: list[tuple[Path, Any]], num_frames: int, options: OpenOptions
) -> Any:
    """The first object, whose header counts for the clip, as if it held all frames.

    Raises:
        NotAClipError: If the objects are of another kind.
    """
    dataset = open_dataset(files[0][0], options)
    if "PixelData" in dataset:  # else it is a damaged frame
        mend(dataset)
    dataset.NumberOfFrames = num_frames
    has_clock = any(_increases(_stamps_s(files, name)) for name in _CLOCKS)
    if reason := no_clip_reason(dataset, is_timed=options.fps is not None or has_clock):
        raise NotAClipError(f"{path}: {reason}")
    return dataset


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the files as one clip; scale, view and cine rate are those of the first."""
    files = _series(path)[0]
    row = numbered_row(path, files, [header.number for _, header in files], options)

    def decode() -> Any:
        for one in row:
            if one is None:
                yield DamagedError("its file is missing")
                continue
            file, _ = one
            try:
                dataset = open_dataset(file, options)
                mend(dataset)
                yield from decoder(file, dataset, 1)()
            except Exception as error:  # of one frame, which is reported
                yield error

    with quiet():
        dataset = _of_all(path, files, len(row), options)
        clip = dicom.read_dataset(path, dataset, options, decode, len(row))
    for name, origin in _CLOCKS.items():
        stamps_s = _stamps_s(files, name)
        if not _increases(stamps_s):
            continue
        places = [index for index, one in enumerate(row) if one is not None]
        stamps_s = stamps_s[~np.isin(places, clip.damaged_frames)]
        stated = SourceStatement(origin=origin, value=1 / float(np.median(np.diff(stamps_s))))
        rate = clip.decision("frame_rate_hz")
        others = [one for one in clip.sources if one.quantity != "frame_rate_hz"]
        if clip.times_s is None:
            rate = decide("frame_rate_hz", [stated])
            clip = replace(clip, times_s=stamps_s - stamps_s[0], sources=(rate, *others))
        elif name == "AcquisitionTime":  # that of content may be of the export
            rate = decide("frame_rate_hz", [*rate.statements, stated])
            clip = replace(clip, sources=(rate, *others))
    return clip
