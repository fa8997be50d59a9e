"""What a file states of itself, and what is taken of it: for `echoseg inspect`.

It holds numbers, words of standards and our own, and *names* of the fields that may identify a
patient, but no text of the file and no path: it is made to be sent with a report of an error.
"""

import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from echoseg.clip import Clip
from echoseg.errors import reason_of
from echoseg.io import load_clip
from echoseg.io.arbitration import describe as state
from echoseg.io.describe_arrays import (
    hdf5_header,
    metaimage_header,
    nifti_header,
    nrrd_header,
    numpy_header,
    zarr_header,
)
from echoseg.io.describe_dicom import dicom_header, series_header
from echoseg.io.describe_pictures import folder_header, pictures_header, video_header
from echoseg.io.describe_words import Header
from echoseg.io.formats import FORMATS, find_format, only_file, source_sha256
from echoseg.io.images import is_picture
from echoseg.measure.plausible import depth_warnings
from echoseg.preprocess.sector import Sector, find_sector
from echoseg.private import hide_path

HEADERS: dict[str, Callable[[Path], Header]] = {
    "dicom": dicom_header,
    "nifti": nifti_header,
    "metaimage": metaimage_header,
    "nrrd": nrrd_header,
    "images": pictures_header,
    "numpy": numpy_header,
    "hdf5": hdf5_header,
    "video": video_header,
    "zarr": zarr_header,
    "dicom_series": series_header,
    "image_folder": folder_header,
}
"""Per format what its header states."""
_DECODERS = {
    "dicom": ("pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg", "av", "pillow"),
    "images": ("tifffile",),
}
_DECODERS["dicom_series"] = _DECODERS["dicom"]
_STARTS = {b"\x1f\x8b": "gzip", b"PK": "ZIP", b"%PDF": "PDF", b"MATLAB": "MATLAB"}
"""First bytes of other files, by which a refusal is understood."""
_ALIAS = "FILE"


def describe(
    path: Path, *, max_decoded_gib: float = 2.0, allow_outside: bool = False
) -> dict[str, Any]:
    """What a file, or a folder of frames, states of itself, and what is taken.

    Never raises for a file that cannot be read: what can be is in the result, with the refusal.
    The limits are those of `load_clip`.

    Returns:
        Values for JSON, by section: `versions`, `file`, `header` (sections by name), `identity`
        (names of fields), `clip` (None where there is none), `sources`, `warnings`, `refusal`
        (empty where there is a clip).
    """
    name, refusal = "", ""
    try:
        path = only_file(path)
        name = find_format(path)
    except Exception as error:  # as of `_header`
        refusal = _public(error, path)
    header, clip, sector = _header(path, name), None, None
    if name:
        try:
            clip = load_clip(
                path,
                allow_damaged=True,
                alias=_ALIAS,
                max_decoded_gib=max_decoded_gib,
                allow_outside=allow_outside,
            )
            sector = find_sector(clip)
        except Exception as error:
            refusal = _public(error, path)
    return {
        "versions": _versions(name),
        "file": _file(path, name),
        "header": header.sections,
        "identity": header.identity,
        "clip": None if clip is None else _clip(clip, sector),
        "sources": [] if clip is None else _sources(clip),
        "warnings": [] if clip is None else _warnings(clip, sector),
        "refusal": refusal,
    }


def _public(error: Exception, path: Path) -> str:
    return hide_path(reason_of(error), path, _ALIAS)


def _header(path: Path, name: str) -> Header:
    try:
        return HEADERS[name](path) if name else Header({}, [])
    except Exception as error:  # libraries raise many types; loading says what is broken
        return Header({"header": {"cannot be read": _public(error, path)}}, [])


def _versions(name: str) -> dict[str, str]:
    """Versions of echoseg, and of what decodes the format."""
    libraries = (FORMATS[name].library, *_DECODERS.get(name, ())) if name else ()
    versions = {"echoseg": version("echoseg"), "python": platform.python_version()}
    versions["system"] = f"{platform.system()} {platform.machine()}"
    for library in libraries:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = "not installed"
    return versions


def _file(path: Path, name: str) -> dict[str, Any]:
    known: dict[str, Any] = {"format": name or f"none that is read ({_begins_as(path)})"}
    try:
        files = FORMATS[name].files(path) if name else [path] if path.is_file() else []
        known |= {"files": len(files), "bytes": sum(file.stat().st_size for file in files)}
    except Exception as error:
        known["files"] = f"cannot be listed: {_public(error, path)}"
    return known | {"sha256": source_sha256(path) or "none"}


def _begins_as(path: Path) -> str:
    """What a file is that is not read, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        return reason_of(error)
    if is_picture(head):
        return "one picture"
    return next((name for start, name in _STARTS.items() if head.startswith(start)), "unknown")


def _clip(clip: Clip, sector: Sector | None) -> dict[str, Any]:
    """What the clip was read as."""
    rows, columns = clip.size
    ecg, rate_hz = clip.ecg, clip.frame_rate_hz
    samples = ecg and f"{len(ecg.values)} samples, {ecg.times_s[0]:.3f} to {ecg.times_s[-1]:.3f} s"
    row_mm = clip.spacing_mm[0] if clip.spacing_mm else None
    depth_mm = round(sector.num_rows * row_mm, 1) if sector and row_mm else None
    return {
        "num_frames": clip.num_frames,
        "damaged_frames": list(clip.damaged_frames),
        "rows": rows,
        "columns": columns,
        "view": str(clip.view),
        "frame_rate_hz": rate_hz and round(rate_hz, 4),
        "spacing_mm": clip.spacing_mm and [round(step, 6) for step in clip.spacing_mm],
        "sector_box_of_file": clip.sector_box and list(clip.sector_box),
        "sector_box_found": list(sector.box) if sector else None,
        "sector_depth_mm": depth_mm,
        "trace_boxes": [list(box) for box in clip.trace_boxes],
        "r_waves": len(clip.r_wave_times_s),
        "ecg": samples,
    }


def _sources(clip: Clip) -> list[dict[str, Any]]:
    """Every statement of every quantity, and its use: used, or why not."""
    rows = []
    for decision in clip.sources:
        for index, one in enumerate(decision.statements):
            use = "used" if index == decision.choice else one.unused_because or "agrees"
            use = "contradicts" if index in decision.contradicting else use
            text = f"{state(decision.quantity, one)}: {use}"
            rows.append({"quantity": decision.quantity, "value": one.value, "text": text})
    return rows


def _warnings(clip: Clip, sector: Sector | None) -> list[dict[str, str]]:
    """Warnings of the clip, and of the depth of its sector, which a measurement gives."""
    depth = depth_warnings(sector.num_rows, clip.spacing_mm) if sector else ()
    return [asdict(one) for one in (*clip.warnings, *depth)]
