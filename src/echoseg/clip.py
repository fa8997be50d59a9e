"""A clip: the frames of one view filmed in one go, with what its file says of scale and time."""

from dataclasses import dataclass

import numpy as np

from echoseg.anatomy import View


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipWarning:
    """Something a reader of the numbers must know about the clip.

    Attributes:
        code: Short stable name, such as `stale_scale` or `colour_doppler`.
        message: One sentence for a person.
    """

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Frames of one view filmed in one go.

    Attributes:
        frames: Grey levels, `T H W` uint8.
        times_s: Time of each frame from the first, `T` float64, increasing; None when unknown.
        spacing_mm: (row, column) millimetres a pixel; None when unknown.
        sector_box: (top, left, bottom, right) in pixels, half open, of the part of the
            picture that holds the ultrasound sector as the *file* says; None when it says nothing.
        view: The view, when the file or the user says it.
        r_wave_times_s: Times of R waves from the first frame, when the file has them.
        source: Path or name it came from.
        source_sha256: Hash of the source bytes, hex; empty for clips made in memory.
        format_name: Key in `formats.FORMATS` it was read with; empty for clips made in memory.
        damaged_frames: Indices in the *file's* numbering of frames that could not be read and
            were left out.
        warnings: What a reader of the numbers must know.

    Raises:
        ValueError: If shape, type, spacing or times break the rules above.
    """

    frames: np.ndarray
    times_s: np.ndarray | None = None
    spacing_mm: tuple[float, float] | None = None
    sector_box: tuple[int, int, int, int] | None = None
    view: View = View.UNKNOWN
    r_wave_times_s: tuple[float, ...] = ()
    source: str = ""
    source_sha256: str = ""
    format_name: str = ""
    damaged_frames: tuple[int, ...] = ()
    warnings: tuple[ClipWarning, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would make a later number wrong."""
        if self.frames.ndim != 3 or self.frames.dtype != np.uint8 or 0 in self.frames.shape:
            raise ValueError(
                "frames must be a non-empty (T, H, W) uint8 array, "
                f"got {self.frames.shape} {self.frames.dtype}"
            )
        if self.spacing_mm is not None and not all(
            np.isfinite(s) and s > 0 for s in self.spacing_mm
        ):
            raise ValueError(f"spacing_mm must be positive and finite, got {self.spacing_mm}")
        if self.times_s is not None:
            times = np.asarray(self.times_s)
            if times.shape != (self.num_frames,) or (np.diff(times) <= 0).any():
                raise ValueError(
                    f"times_s must be {self.num_frames} increasing times, one a frame, "
                    f"got shape {times.shape}"
                )

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return self.frames.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of a frame."""
        return self.frames.shape[1], self.frames.shape[2]

    @property
    def frame_rate_hz(self) -> float | None:
        """Mean frame rate; None when times are unknown or there is one frame."""
        if self.times_s is None or self.num_frames < 2:
            return None
        return float((self.num_frames - 1) / (self.times_s[-1] - self.times_s[0]))
