"""A folder of DICOM files of one frame each: one clip, where they are one series in time."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip, SourceStatement
from echoseg.io import dicom
from echoseg.io.arbitration import decide
from echoseg.io.dicom_frames import decoder
from echoseg.io.dicom_mend import mend
from echoseg.io.dicom_pixels import open_dataset
from echoseg.io.frames import OpenOptions
from echoseg.io.quiet import quiet

_MIN_FILES = 8
"""Stills of a study are fewer."""
_MAX_STEP_S = 0.5
"""Mean time from file to file; stills are taken further apart."""
_TAGS = ["SeriesInstanceUID", "InstanceNumber", "NumberOfFrames", "Rows", "Columns",
         "AcquisitionTime", "ContentTime"]  # fmt: skip
_CLOCKS = {
    "AcquisitionTime": "Acquisition Time (0008,0032)", "ContentTime": "Content Time (0008,0033)"
}  # fmt: skip


def sniff(head: bytes, path: Path) -> bool:
    """Detect a folder of such files."""
    return path.is_dir() and bool(series_files(path))


def series_files(path: Path) -> list[Path]:
    """The files of a folder by Instance Number; none where they are not the frames of one clip."""
    return [file for file, _ in _series(path)]


def _series(path: Path) -> list[tuple[Path, Any]]:
    import pydicom

    frames: list[tuple[Path, Any]] = []
    for file in sorted(file for file in path.iterdir() if file.is_file()):
        with file.open("rb") as content:
            if not dicom.sniff(content.read(2048), file):
                continue
        with quiet():
            try:
                header = pydicom.dcmread(
                    file, force=True, stop_before_pixels=True, specific_tags=_TAGS
                )
                series, size = header.SeriesInstanceUID, (header.Rows, header.Columns)
                number = int(header.InstanceNumber)
                is_single = int(header.get("NumberOfFrames") or 1) == 1
            except Exception:  # no picture of a series; pydicom raises many types
                return []
        header.series, header.size, header.number = series, size, number  # not elements
        if not is_single or (frames and frames[0][1].size != size):
            return []
        frames.append((file, header))
    frames.sort(key=lambda one: one[1].number)
    numbers = np.array([header.number for _, header in frames])
    # de-identification may give each file a series of its own
    num_series = len({header.series for _, header in frames})
    if len(frames) < _MIN_FILES or num_series not in (1, len(frames)):
        return []
    steps = np.diff(numbers)
    if (steps <= 0).any() or (num_series > 1 and (steps > 1).any()):
        return []
    spans_s = [np.ptp(stamps) for name in _CLOCKS if len(stamps := _stamps_s(frames, name))]
    are_stills = any(span > _MAX_STEP_S * (len(frames) - 1) for span in spans_s)
    return [] if are_stills else frames


def _stamps_s(frames: list[tuple[Path, Any]], name: str) -> np.ndarray:
    """Times of day; none where a file states none."""
    texts = [str(header.get(name) or "") for _, header in frames]
    try:
        return np.array([3600 * int(t[:2]) + 60 * int(t[2:4]) + float(t[4:] or 0) for t in texts])
    except ValueError:
        return np.array([])


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the files as one clip; scale, view and cine rate are those of the first."""
    files = _series(path)

    def decode() -> Any:
        for file, _ in files:
            try:
                dataset = open_dataset(file, options)
                mend(dataset)
                yield from decoder(file, dataset, 1)()
            except Exception as error:  # of one frame, which is reported
                yield error

    with quiet():
        dataset = open_dataset(files[0][0], options)
        dataset.NumberOfFrames = len(files)
        clip = dicom.read_dataset(path, dataset, options, decode, len(files))
    for name, origin in _CLOCKS.items():
        stamps_s = _stamps_s(files, name)
        if clip.times_s is None and len(stamps_s) and (np.diff(stamps_s) > 0).all():
            stamps_s = np.delete(stamps_s, list(clip.damaged_frames))
            rate_hz = (len(stamps_s) - 1) / np.ptp(stamps_s)
            rate = decide("frame_rate_hz", [SourceStatement(origin=origin, value=float(rate_hz))])
            others = [one for one in clip.sources if one.quantity != "frame_rate_hz"]
            clip = replace(clip, times_s=stamps_s - stamps_s[0], sources=(rate, *others))
    return clip
