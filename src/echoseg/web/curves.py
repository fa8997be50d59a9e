"""The curves of a clip's frames as its worker fits them, before any reader looks at it.

    clips/ID/curves.jsonl    `FrameContours` of one frame after another, from the first; after the
                             analysis a last line with the SHA-256 of the masks they are of

While the file grows it shows the contours of a clip that is being analyzed. A reading begins with
the curves only where the hash is that of its masks; otherwise they are fitted when it is opened.
"""

import contextlib
import json
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import ValidationError

from echoseg.measure.frame import measure_frame
from echoseg.web.api import FrameContours
from echoseg.web.reading.contours import frame_contours

CURVES = "curves.jsonl"
_MASKS = "masks_sha256"


class CurveWriter:
    """Writes the curves of frames as they are segmented; what was there is replaced.

    A disk that fails costs the curves only, which are then fitted when the clip is opened.

    Args:
        folder: The clip's folder.
        spacing_mm: Pixel spacing (row, column) that frames are measured with; None: in pixels.
    """

    def __init__(self, folder: Path, spacing_mm: tuple[float, float] | None) -> None:
        self._path, self._spacing_mm, self._frame = folder / CURVES, spacing_mm, 0
        self._write("", "w")

    def add(self, mask: np.ndarray) -> None:
        """Fit and write the curves of the next frame's label map `H W`, which is cleaned."""
        frame = measure_frame(mask, self._spacing_mm)
        curves = frame_contours(frame, {}, is_reader=False)
        line = FrameContours(frame=self._frame, contours=curves).model_dump_json()
        self._frame += 1
        self._write(f"{line}\n", "a")

    def finish(self, masks_sha256: str) -> None:
        """State the hash of the masks that the curves are of."""
        self._write(json.dumps({_MASKS: masks_sha256}) + "\n", "a")

    def _write(self, text: str, mode: str) -> None:
        with contextlib.suppress(OSError), self._path.open(mode, encoding="utf-8") as file:
            file.write(text)


class Curves:
    """The curves of a clip's folder, as far as they are written.

    Attributes:
        frames: Those of the first frames.
        masks_sha256: Hash of their masks; empty before the analysis has ended.
    """

    def __init__(self, frames: tuple[FrameContours, ...], masks_sha256: str = "") -> None:
        self.frames, self.masks_sha256 = frames, masks_sha256

    @classmethod
    def read(cls, folder: Path, first: int = 0) -> Self:
        """Read those from one frame on, up to a line that is damaged or not whole yet."""
        try:
            lines = (folder / CURVES).read_bytes().split(b"\n")[first:-1]
        except OSError:
            return cls(())
        frames: list[FrameContours] = []
        for line in lines:
            with contextlib.suppress(ValidationError):
                frames.append(FrameContours.model_validate_json(line))
                continue
            with contextlib.suppress(ValueError, TypeError, KeyError):
                return cls(tuple(frames), str(json.loads(line)[_MASKS]))
            break
        return cls(tuple(frames))
