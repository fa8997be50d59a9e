"""De-identify files and folders: which are copied, what was removed, and why others are not.

    OUT/clip-HASH.dcm, .mkv, .nii.gz   the copies, each written at once
    OUT/deidentified.json              an entry per file, by the names of `private.Pseudonyms`

What cannot be cleaned is not copied: no clip, a still without motion, a broken frame, and text
inside the sector, seen by `preprocess.burned_in` or read by tesseract, unless it may be blackened;
both look at the clip and at parts of it, and may miss what stands on less than a third of it.
Of DICOM everything but the header and what is outside the sector stays; of other formats the grey
levels, times and pixel spacing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from echoseg.clip import Clip
from echoseg.deidentify.dicom import clean_dicom, removed_of_series, write_series
from echoseg.deidentify.header import summarize
from echoseg.deidentify.ocr import read_words
from echoseg.deidentify.sector import sector_of
from echoseg.errors import (
    ArgumentError,
    ConfigError,
    DamagedError,
    EchosegError,
    MeasurementError,
    OutputError,
)
from echoseg.files import HIDDEN, atomic_write, locked_dir, write_json
from echoseg.frame_store import each
from echoseg.io import dicom_writer, is_frame_folder, load_clip, nifti
from echoseg.io.clip_header import is_clip_name
from echoseg.io.quiet import quiet
from echoseg.io.video import GrowingVideo
from echoseg.preprocess.burned_in import TextBox, find_passing_text, find_text, split_in_time
from echoseg.private import Pseudonyms

REPORT = "deidentified.json"
_MAX_OCR_PASSES = 3
_MARGIN_PX = 2
"""What is blackened around a line of text, whose strokes are soft at their edges."""
_METHOD = (
    "PS3.15 Basic Application Level Confidentiality Profile, Clean Pixel Data Option: a new header "
    "from a list of what may stay, UIDs by keyed hash, black outside the ultrasound sector"
)


class File(BaseModel):
    """What became of a file; it names no value that was removed.

    Attributes:
        name: Its name by keyed hash; the table of the key says which file that is.
        outcome: Whether there is a copy.
        reason: Why there is none.
        copy_name: The copy's name in the folder.
        removed: Keywords of the DICOM elements that the copy lacks or that were replaced.
        private_elements: Number of private DICOM elements, all of which were removed.
        sector_percent: Part of the picture that stays.
        removed_summary: The same by kind, in words.
        text_in_sector: Lines of text seen in it, by either check, which are black in the copy.
        is_checked_by_ocr: Whether tesseract reads no word in the copy: in what stays of the clip,
            of each of its parts (`split_in_time`), in its first and last frame. A word on a few
            frames inside a part may be missed. False where tesseract is missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    outcome: Literal["copied", "not copied"]
    reason: str = ""
    copy_name: str = ""
    removed: tuple[str, ...] = ()
    removed_summary: str = ""
    private_elements: int = 0
    sector_percent: float | None = None
    text_in_sector: int = 0
    is_checked_by_ocr: bool = False


class Report(BaseModel):
    """All of `deidentified.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    software: str = f"echoseg {version('echoseg')}"
    method: str = _METHOD
    files: tuple[File, ...]


def deidentify(
    sources: Sequence[Path],
    out: Path,
    names: Pseudonyms,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    blank_text: bool = False,
) -> Report:
    """Write de-identified copies of the clips among files and folders.

    Args:
        sources: Files and folders; a folder of frames is one clip.
        out: A new or empty folder.
        names: The key of names, UIDs and pseudonyms: the same key gives the same.
        progress: Called with (files done, all files).
        blank_text: Blacken what seems to be text inside the sector, instead of refusing the file.

    Raises:
        ConfigError: If a source is missing, or there are no files.
        OutputError: If `out` holds files, or cannot be written.
    """
    for number, source in enumerate(sources, 1):
        if not source.exists():  # its name may be a patient's
            raise ConfigError(
                f"source {number} of {len(sources)} does not exist; give files or folders that do"
            )
    _check_empty(out)
    paths = [path for source in sources for path in _files(source, out)]
    if not paths:
        raise ConfigError(f"{sources[0]} holds no files; give clips, or folders of clips")
    files = []
    with locked_dir(out):
        _check_empty(out)  # another process may have had the lock before
        for index, path in enumerate(paths, 1):
            files.append(_copy(path, out, names, blank_text))
            progress(index, len(paths))
        report = Report(files=tuple(files))
        write_json(out / REPORT, report)
    return report


def _check_empty(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(one.name != HIDDEN for one in out.iterdir())):
        raise OutputError(f"{out} exists and is not empty; choose another output folder")


def _files(source: Path, out: Path) -> Iterator[Path]:
    """What may be clips of a folder, in order; a folder of frames as one, links to folders not."""
    if not source.is_dir() or is_frame_folder(source):
        yield source
        return
    for entry in sorted(source.iterdir()):
        is_left_out = entry.is_symlink() if entry.is_dir() else not is_clip_name(entry)
        if not is_left_out and entry.absolute() != out.absolute():
            yield from _files(entry, out)


def _copy(path: Path, out: Path, names: Pseudonyms, blank_text: bool) -> File:
    """Copy a file if it can be cleaned, and say what became of it."""
    name = names.name(path)
    try:
        with quiet():
            return _clean(path, out, names, blank_text)
    except OutputError:
        raise
    except EchosegError as error:
        reason = names.hide(str(error)).removeprefix(f"{name}: ")
        if isinstance(error, DamagedError):  # without --allow-damaged, which hides it
            fault = reason.removesuffix(f"; {error.way_out}")
            reason = f"{fault}; give a whole copy of the file"
    except Exception as error:  # of one file
        reason = f"unexpected {type(error).__name__}; please report it"
    return File(name=name, outcome="not copied", reason=reason)


def _clean(path: Path, out: Path, names: Pseudonyms, blank_text: bool) -> File:
    name = names.name(path)
    clip = load_clip(path, alias=name)
    mask = sector_of(clip)
    lines = find_text(clip.frames, mask) + find_passing_text(clip.frames, mask)
    mask = _without(mask, lines, blank_text)
    words = None
    ends = slice(1), slice(clip.num_frames - 1, None)
    for part in (slice(None), *split_in_time(clip.num_frames), *ends):
        for _ in range(1 + _MAX_OCR_PASSES):
            words = read_words(_static_part(clip.frames[part], mask))
            lines += words or []
            mask = _without(mask, words or [], blank_text)
            if not words:
                break
        else:
            raise MeasurementError(
                f"tesseract still reads words inside the sector after {_MAX_OCR_PASSES} passes of "
                "blackening, so it is not copied; blacken them by another program first"
            )
    known: dict[str, Any] = {
        "sector_percent": round(100 * float(mask.mean()), 1),
        "text_in_sector": len(lines),
    }
    if clip.format_name == "dicom":
        copy_name = f"{name}.dcm"
        known |= clean_dicom(path, out / copy_name, mask, names)
    else:
        copy_name = _write_pixels(path, clip, mask, out, names)
        if clip.format_name == "dicom_series":
            known |= removed_of_series(path, out / copy_name)
    if "removed" in known:
        known["removed_summary"] = summarize(known["removed"], known["private_elements"])
    return File(
        name=name,
        outcome="copied",
        copy_name=copy_name,
        is_checked_by_ocr=words is not None,
        **known,
    )


def _without(mask: np.ndarray, lines: Sequence[TextBox], blank_text: bool) -> np.ndarray:
    """The sector without lines of text.

    Raises:
        MeasurementError: If there are lines that may not be blackened.
    """
    if lines and not blank_text:
        top, left, bottom, right = lines[0]
        raise MeasurementError(
            f"text seems to be inside the sector (rows {top} to {bottom - 1}, columns {left} to "
            f"{right - 1}), so it is not copied; use --blank-text (blank_text) to blacken it"
        )
    mask = mask.copy()
    for top, left, bottom, right in lines:
        first_row, first_column = max(0, top - _MARGIN_PX), max(0, left - _MARGIN_PX)
        mask[first_row : bottom + _MARGIN_PX, first_column : right + _MARGIN_PX] = False
    return mask


def _write_pixels(path: Path, clip: Clip, mask: np.ndarray, out: Path, names: Pseudonyms) -> str:
    """Write a clip's grey levels, black outside the sector, with what is known of time and scale.

    A series of DICOM files becomes one object, as does a clip of uneven frame times; a clip
    without pixel spacing FFV1, which has no loss; any other NIfTI. A frame rate that was assumed
    is not written.
    """
    is_timed = all(warning.code != "assumed_frame_rate" for warning in clip.warnings)
    frames = np.stack([np.where(mask, frame, 0) for frame in each(clip.frames)]).astype(np.uint8)
    clean = replace(clip, frames=frames, times_s=clip.times_s if is_timed else None)
    if is_timed and clip.format_name == "dicom_series":
        write_series(path, out / f"{clip.source}.dcm", clean, names)
        return f"{clip.source}.dcm"
    if is_timed and not _is_even(clean):
        digest = names.digest("clip", clip.source_sha256)
        dicom_writer.write(out / f"{clip.source}.dcm", clean, pseudonym=f"subject-{digest}")
        return f"{clip.source}.dcm"
    if clip.spacing_mm is not None or not is_timed:
        nifti.write_clip(out / f"{clip.source}.nii.gz", clean)
        return f"{clip.source}.nii.gz"
    with atomic_write(out / f"{clip.source}.mkv") as partial:
        video = GrowingVideo(str(partial), lossless=True, name=clip.source)
        for frame, time_s in zip(frames, clip.times_s, strict=True):  # type: ignore[arg-type]
            video.add(frame, float(time_s))
        video.close()
    return f"{clip.source}.mkv"


def _is_even(clip: Clip) -> bool:
    """Whether a format with one frame rate holds the times."""
    try:
        clip.even_frame_rate_hz()
    except ArgumentError:
        return False
    return True


def _static_part(frames: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The darkest value of each pixel of the sector over time: text stays, the heart fades."""
    chosen = np.unique(np.linspace(0, len(frames) - 1, 24).round().astype(int))
    return np.where(mask, frames[chosen].min(0), 0).astype(np.uint8)
