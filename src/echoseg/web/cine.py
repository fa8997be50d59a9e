"""A clip as the page shows it: its frames as JPEG in one file, and what is known of it in another.

    cine.bin    JPEGs, quality 90, one after another, in colour where the file is
    cine.json   `Cine`: where each begins, times, spacing, warnings, what the file states

The server reads these two, never the file that was given. `cine.json` is written last.
"""

import io
import os
from dataclasses import fields
from pathlib import Path
from typing import Self

import numpy as np

from echoseg.clip import Clip, ClipWarning, Ecg, SourceDecision, View
from echoseg.errors import ArgumentError, OutputError
from echoseg.files import atomic_write, read_json, write_json
from echoseg.frame_store import FrameStore, each
from echoseg.measure.measurement import FrozenModel

FRAMES, INFO = "cine.bin", "cine.json"
_QUALITY = 90
_WAY_OUT = "remove the clip's folder and add the clip again"


class Cine(FrozenModel):
    """What is known of a clip; the fields that it shares with `Clip` mean the same.

    Attributes:
        rows: Rows of a frame.
        columns: Its columns.
        offsets: Byte at which each JPEG begins, and the end of the last, `T + 1`.
        ecg_times_s: Times of the ECG's samples; empty where there is none.
        ecg_values: The samples.
    """

    rows: int
    columns: int
    offsets: tuple[int, ...]
    times_s: tuple[float, ...] | None
    spacing_mm: tuple[float, float] | None
    sector_box: tuple[int, int, int, int] | None
    trace_boxes: tuple[tuple[int, int, int, int], ...]
    view: View
    r_wave_times_s: tuple[float, ...]
    ecg_times_s: tuple[float, ...]
    ecg_values: tuple[float, ...]
    source: str
    source_sha256: str
    format_name: str
    damaged_frames: tuple[int, ...]
    source_frames: tuple[int, ...]
    warnings: tuple[ClipWarning, ...]
    sources: tuple[SourceDecision, ...]
    study: str = ""
    acquired_on: str = ""

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.offsets) - 1

    @property
    def frame_rate_hz(self) -> float | None:
        """Mean frame rate; None where times are unknown."""
        if self.times_s is None or self.num_frames < 2:
            return None
        return (self.num_frames - 1) / (self.times_s[-1] - self.times_s[0])

    @classmethod
    def of(cls, clip: Clip, offsets: list[int]) -> Self:
        """That of a clip, whose JPEGs begin at these bytes."""
        ecg, times_s = clip.ecg, clip.times_s
        same = ("spacing_mm", "sector_box", "trace_boxes", "view", "r_wave_times_s", "source")
        same += ("source_sha256", "format_name", "damaged_frames", "source_frames", "warnings")
        same += ("sources", "study", "acquired_on")
        return cls(
            rows=clip.size[0],
            columns=clip.size[1],
            offsets=tuple(offsets),
            times_s=None if times_s is None else tuple(np.asarray(times_s, float).tolist()),
            ecg_times_s=() if ecg is None else tuple(np.asarray(ecg.times_s, float).tolist()),
            ecg_values=() if ecg is None else tuple(np.asarray(ecg.values, float).tolist()),
            **{name: getattr(clip, name) for name in same},
        )

    def clip(self, frames: np.ndarray | None = None) -> Clip:
        """The clip; without frames they are black, in memory one pixel of all.

        Args:
            frames: `T H W` uint8.

        Raises:
            ArgumentError: If the frames have another shape.
        """
        shape = (self.num_frames, self.rows, self.columns)
        if frames is None:
            frames = np.broadcast_to(np.uint8(0), shape)
        if frames.shape != shape:
            raise ArgumentError(f"frames must have the clip's shape {shape}, got {frames.shape}")
        names = {one.name for one in fields(Clip)} & set(type(self).model_fields)
        known = {name: getattr(self, name) for name in names}
        times_s = None if self.times_s is None else np.array(self.times_s)
        ecg = None
        if self.ecg_times_s:
            ecg = Ecg(times_s=np.array(self.ecg_times_s), values=np.array(self.ecg_values))
        return Clip(**(known | {"frames": frames, "times_s": times_s, "ecg": ecg}))


def write_cine(clip: Clip, folder: Path) -> None:
    """Write the cine of a clip into a folder; what is there is replaced.

    Raises:
        OutputError: If it cannot be written.
    """
    from PIL import Image

    offsets, buffer = [0], io.BytesIO()
    with atomic_write(folder / FRAMES) as partial, partial.open("wb") as file:
        for index, frame in enumerate(each(clip.frames)):
            if (jpeg := clip.jpeg(index)) is None:
                buffer.seek(0)
                buffer.truncate()
                Image.fromarray(np.ascontiguousarray(frame)).save(buffer, "JPEG", quality=_QUALITY)
                jpeg = buffer.getvalue()
            file.write(jpeg)
            offsets.append(file.tell())
        file.flush()
        os.fsync(file.fileno())
    write_json(folder / INFO, Cine.of(clip, offsets))


def read_cine(folder: Path) -> Cine | None:
    """What is known of the clip of a folder; None where its cine is not written yet.

    Raises:
        OutputError: If it is damaged.
    """
    return read_json(folder / INFO, Cine, _WAY_OUT)


def read_jpeg(folder: Path, cine: Cine, frame: int) -> bytes:
    """A frame as JPEG.

    Raises:
        ArgumentError: If there is no such frame.
        OutputError: If it cannot be read.
    """
    if not 0 <= frame < cine.num_frames:
        raise ArgumentError(f"frame must be 0 to {cine.num_frames - 1}, got {frame}")
    start, end = cine.offsets[frame : frame + 2]
    try:
        with (folder / FRAMES).open("rb") as file:
            file.seek(start)
            return file.read(end - start)
    except OSError as error:
        raise OutputError(f"the frames cannot be read ({error.strerror}); {_WAY_OUT}") from error


def read_frames(folder: Path, cine: Cine) -> np.ndarray:
    """Grey frames `T H W` uint8 of the JPEGs, which differ from the file's by what JPEG loses.

    Raises:
        OutputError: If they cannot be read.
    """
    from PIL import Image

    with FrameStore() as store:
        for index in range(cine.num_frames):
            jpeg = io.BytesIO(read_jpeg(folder, cine, index))
            try:
                store.add(np.asarray(Image.open(jpeg).convert("L")))
            except OSError as error:
                raise OutputError(f"frame {index} is damaged; {_WAY_OUT}") from error
        return store.frames()
