"""EchoXFlow's own Zarr stores: one recording, its 2-D B-mode as beams.

The layout is that of https://github.com/Ahus-AIM/EchoXFlow: frames in `data/2d_brightness_mode`,
rows along the depth and columns along the angle; times in s in `timestamps/2d_brightness_mode`; the
root's attribute `recording_manifest` describes a sector whose `semantic_id` is `bmode`, with its
depths in m and its angles in radians, and the times of the QRS complexes.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import Clip, ClipWarning, Ecg, SourceStatement
from echoseg.errors import FormatError, NotAClipError, Unfit
from echoseg.io.arbitration import decide
from echoseg.io.beams import MAX_PLACES, Grid
from echoseg.io.budget import Budget
from echoseg.io.frames import OpenOptions, file_scale
from echoseg.io.grey import collect
from echoseg.io.header_scale import stamp_statement
from echoseg.io.zarr_array import ZarrArray, read_attributes

_ROOT_FILES = ("zarr.json", ".zgroup", ".zarray")
"""Files at the root of a store, of Zarr 3 and 2."""
_BMODE = re.compile(r"2d_brightness_mode(_\d{1,2})?")
_MAX_SAMPLES = 10**7
_ANGLES = (("angle_start_rad", "AngleStart"), ("angle_end_rad", "AngleEnd"))
_DEPTHS = (("depth_start_m", "DepthStart"), ("depth_end_m", "DepthEnd"))
_CENTER, _WIDTH = ("tilt_rad", "Tilt", "Angle"), ("width_rad", "Width")
"""Names of a sector's numbers in the releases of the layout."""


def sniff(head: bytes, path: Path) -> bool:
    """Detect a Zarr store."""
    return path.is_dir() and any((path / name).is_file() for name in _ROOT_FILES)


def store_files(path: Path) -> list[Path]:
    """All files of a store, in order; no links."""
    return sorted(one for one in path.rglob("*") if one.is_file() and not one.is_symlink())


def no_clip_reason(path: Path) -> str:
    """Why a recording of EchoXFlow is not a 2-D clip, such as a Doppler spectrum; else empty."""
    if _bmode_names(path) or not (path / "data").is_dir() or not _is_recording(path):
        return ""
    if (path / "data" / "3d_brightness_mode").is_dir():
        return "this recording is a 3-D volume, not a 2-D clip; give one of 2-D B-mode"
    return "this recording holds no 2-D B-mode (data/2d_brightness_mode)"


def subject_id(path: Path) -> str:
    """The exam that a store names; empty where it names none."""
    value = read_attributes(path).get("exam_id", "")
    return value if isinstance(value, str) else ""


def read(path: Path, options: OpenOptions) -> Clip:
    """Read the 2-D B-mode of a recording.

    Raises:
        FormatError: If zarr is missing, the layout is another, or nothing says where the beams lie.
        NotAClipError: If the recording holds no 2-D B-mode.
    """
    if reason := no_clip_reason(path):
        raise NotAClipError(f"{path}: {reason}")
    names, attributes = _bmode_names(path), read_attributes(path)
    if len(names) != 1:
        raise FormatError(
            f"{path}: a Zarr store is read in EchoXFlow's layout, with one clip of 2-D B-mode in "
            f"data/2d_brightness_mode, this holds {len(names)}; save the frames as .npy and give "
            "--spacing-mm and --fps"
        )
    array = ZarrArray(path, f"data/{names[0]}")
    if len(array.shape) != 3:
        raise FormatError(f"{path}: a clip must be (T, H, W), its B-mode is {array.shape}")
    Budget(path, options).check(*array.shape)
    sector = _sector(attributes, names[0])
    grid = _grid(path, sector, array.shape[1:])

    def decode() -> Iterator[np.ndarray | Exception]:
        for frame in array.frames():
            yield frame if isinstance(frame, Exception) else grid.draw(frame)

    grey = collect(path, decode, options, expected=array.shape[0])
    spacing_mm, notes = file_scale(*grid.spacing_mm)
    if array.num_missing:
        message = f"{array.num_missing} chunks of its pixels are not in the store: black is shown."
        notes += (ClipWarning(code="missing_chunks", message=message),)
    statements, stamps_s = _times(path, attributes, sector, names[0], grey.total)
    clip = Clip(
        frames=grey.frames,
        spacing_mm=spacing_mm,
        damaged_frames=grey.damaged,
        warnings=grey.warnings + notes,
        sources=(decide("frame_rate_hz", statements),),
    )
    return _placed(path, clip, attributes, stamps_s)


def _placed(path: Path, clip: Clip, attributes: dict[str, Any], stamps_s: np.ndarray) -> Clip:
    """The clip with the times of its frames; R waves and ECG are on the clock of the stamps."""
    rate = clip.sources[0]
    if rate.value is None:
        return clip
    if rate.choice or not len(stamps_s):
        times_s = np.arange(clip.num_frames + len(clip.damaged_frames)) / rate.value
        times_s = np.delete(times_s, list(clip.damaged_frames))
        return replace(clip, times_s=times_s - times_s[0])
    stamps_s = np.delete(stamps_s, list(clip.damaged_frames))
    qrs = _of(_of(attributes, "recording_manifest"), "ecg").get("qrs_trigger_times")
    waves_s = [one for one in qrs if isinstance(one, int | float)] if isinstance(qrs, list) else []
    is_there = any(stamps_s[0] <= one <= stamps_s[-1] for one in waves_s)
    return replace(
        clip,
        times_s=stamps_s - stamps_s[0],
        r_wave_times_s=tuple(float(one - stamps_s[0]) for one in waves_s) if is_there else (),
        ecg=_ecg(path, float(stamps_s[0])),
    )


def _is_recording(path: Path) -> bool:
    return bool({"recording_manifest", "content_types", "exam_id"} & set(read_attributes(path)))


def _bmode_names(path: Path) -> list[str]:
    folder = path / "data"
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    return sorted(name for name in names if _BMODE.fullmatch(name))


def _of(document: Any, name: str) -> dict[str, Any]:
    value = document.get(name) if isinstance(document, dict) else None
    return value if isinstance(value, dict) else {}


def _sector(attributes: dict[str, Any], name: str) -> dict[str, Any]:
    """The sector of the B-mode: the one that names its array, or else the first that names none."""
    sectors = _of(attributes, "recording_manifest").get("sectors")
    every = [one for one in sectors if isinstance(one, dict)] if isinstance(sectors, list) else []
    named = [(one, str(_of(one, "frames").get("array_path", "")).strip("/")) for one in every]
    roles = ("semantic_id", "sector_role_id", "track_role_id")
    fitting = [one for one, place in named if place == f"data/{name}"] or [
        one for one, place in named if not place and "bmode" in map(one.get, roles)
    ]
    return fitting[0] if fitting else {}


def _grid(path: Path, sector: dict[str, Any], size: tuple[int, ...]) -> Grid:
    """Where the pixels lie: rows from the first depth to the last, columns likewise by angle."""
    geometry = _of(sector, "geometry")
    depths = [_number(geometry, names) for names in _DEPTHS]
    angles = [_number(geometry, names) for names in _ANGLES]
    width = _number(geometry, _WIDTH)
    if None in angles and width is not None:
        center = _number(geometry, _CENTER) or 0.0
        angles = [center - width / 2, center + width / 2]
    if None in (*depths, *angles) or size[0] * size[1] > MAX_PLACES:
        raise FormatError(
            f"{path}: the recording does not state depths and angles of its B-mode, whose columns "
            "are beams; convert it to a scan-converted image, save that as .npy and give "
            "--spacing-mm and --fps"
        )
    depth_mm = 1000 * np.linspace(*depths, size[0])  # type: ignore[call-overload]  # two ends
    angle = np.linspace(*angles, size[1])  # type: ignore[call-overload]  # two ends
    x, z = np.outer(depth_mm, np.sin(angle)), np.outer(depth_mm, np.cos(angle))
    return Grid(np.stack([x, z], -1))


def _number(geometry: dict[str, Any], names: tuple[str, ...]) -> float | None:
    values = [geometry.get(name) for name in names]
    return next((float(one) for one in values if isinstance(one, int | float)), None)


def _times(
    path: Path, attributes: dict[str, Any], sector: dict[str, Any], name: str, num_frames: int
) -> tuple[list[SourceStatement], np.ndarray]:
    """What the store states of the frame rate, and the stamps of its frames; empty without any."""
    statements, stamps_s = list[SourceStatement](), np.zeros(0)
    place = str(_of(sector, "timestamps").get("array_path") or f"timestamps/{name}").strip("/")
    try:
        stamps_s = ZarrArray(path, place).values(_MAX_SAMPLES).astype(float)
        statements.append(stamp_statement(stamps_s, num_frames))
    except (FormatError, Unfit):  # a clock never costs the pixels
        why = "missing or broken"
        statements.append(SourceStatement(origin="time stamps", value=None, unused_because=why))
    step_s = _number(_of(attributes, "median_delta_time"), (name,))
    if step_s and step_s > 0:
        stated = SourceStatement(origin="median_delta_time", value=1 / step_s, text=f"{step_s:g} s")
        statements.append(stated)
    return statements, stamps_s


def _ecg(path: Path, start_s: float) -> Ecg | None:
    """The ECG from the first frame; None where there is none of use."""
    if not (path / "data" / "ecg").is_dir():
        return None
    try:
        values = ZarrArray(path, "data/ecg").values(_MAX_SAMPLES).astype(float)
        times_s = ZarrArray(path, "timestamps/ecg").values(_MAX_SAMPLES).astype(float)
    except (FormatError, Unfit):
        return None
    is_sound = values.shape == times_s.shape and values.ndim == 1 and np.isfinite(values).all()
    if not is_sound or len(values) < 2 or not (np.diff(times_s) > 0).all():
        return None
    return Ecg(times_s=times_s - start_s, values=values)
