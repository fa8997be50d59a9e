"""Clip: the frames of one acquisition of one view. Annotation: what is known of its frames."""

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the command line reads the enums without numpy
    import numpy as np

from echoseg.errors import ArgumentError

_MAX_JITTER = 0.25
"""Allowed deviation of a frame's time from even spacing, in frame intervals."""
NOT_AS_LISTED = "not_as_listed"
"""Code of a warning: the data set's tables contradict the clip."""


class View(StrEnum):
    """Echocardiographic view."""

    A4C = "A4C"
    A2C = "A2C"
    ALAX = "ALAX"
    PLAX = "PLAX"
    PSAX = "PSAX"
    UNKNOWN = "unknown"


class Phase(StrEnum):
    """Phase of the beat: end-diastole, cavity largest; end-systole, cavity smallest."""

    ED = "ED"
    ES = "ES"


class Label(IntEnum):
    """Value of a mask pixel, as in CAMUS (Leclerc et al., IEEE TMI 38, 2019)."""

    BACKGROUND = 0
    LV_CAVITY = 1
    LV_MYOCARDIUM = 2
    LA_CAVITY = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipWarning:
    """A warning about a clip that qualifies its numbers.

    Attributes:
        code: Short stable name, such as `stale_scale` or `colour_doppler`.
        message: One or two sentences for a reader.
    """

    code: str
    message: str


Quantity = Literal["frame_rate_hz", "spacing_mm", "num_frames", "heart_rate_bpm"]
"""What several sources of one file may state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceStatement:
    """What one source states of one quantity.

    Attributes:
        origin: The source, such as `Frame Time (0018,1063)` or `time stamps`.
        value: In the quantity's unit; of spacing (row, column); None where it is not a number.
        text: As it stands in the source, such as `33.3 ms`; may be empty.
        unused_because: Why it is not used, such as `the default of many tools`; empty where it
            is.
    """

    origin: str
    value: float | tuple[float, float] | None
    text: str = ""
    unused_because: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceDecision:
    """All that a clip's sources state of one quantity, and what was taken.

    Attributes:
        quantity: The quantity; its name has the unit.
        statements: The statements, the preferred source first.
        choice: Index of the statement that was taken; None where none is of use.
        contradicting: Indices of statements of use that contradict it.
    """

    quantity: Quantity
    statements: tuple[SourceStatement, ...] = ()
    choice: int | None = None
    contradicting: tuple[int, ...] = ()

    @property
    def value(self) -> float | tuple[float, float] | None:
        """The value that was taken; None where there is none."""
        return None if self.choice is None else self.statements[self.choice].value

    @property
    def contradictions(self) -> tuple[SourceStatement, ...]:
        """The statements of use that contradict the one that was taken."""
        return tuple(self.statements[index] for index in self.contradicting)


@dataclass(frozen=True, kw_only=True, eq=False)
class Ecg:
    """An ECG recorded with a clip.

    Attributes:
        times_s: Time of each sample from the clip's first frame, `N` float64.
        values: The samples, `N`, in the file's unit.
    """

    times_s: "np.ndarray"
    values: "np.ndarray"


@dataclass(frozen=True, kw_only=True, eq=False)
class ColourFrames:
    """Pictures of the frames of a file that show colour, such as a green ECG or a tinted map.

    They are of one array of frames alone. Of another one, be it cut, mirrored or black outside the
    sector, there are none, so that nothing is shown that was taken out.

    Attributes:
        frames: That array, `T H W` uint8.
        data: JPEGs of RGB pictures, one after another, `N` uint8.
        ends: Where that of each frame ends; one without colour is empty.
    """

    frames: "np.ndarray"
    data: "np.ndarray"
    ends: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Frames of one acquisition of one view.

    Attributes:
        frames: Grey levels, `T H W` uint8.
        times_s: Time of each frame from the first, `T` float64, increasing; None when unknown.
        spacing_mm: (row, column) pixel spacing; None when unknown.
        sector_box: (top, left, bottom, right) in pixels, half open, of the ultrasound sector
            as the *file* gives it; None when it does not.
        trace_boxes: Boxes of the same kind that hold an ECG or another trace, as the file says.
        view: The view, where the file or the user gives it.
        r_wave_times_s: Times of R waves from the first frame, where the file has them.
        ecg: The ECG, where the file has its samples.
        source: Path or name of the source.
        source_sha256: Hash of the source bytes, hex; empty for clips made in memory.
        format_name: Key in `io.FORMATS`; empty for clips made in memory.
        damaged_frames: Indices, in the *file's* numbering, of frames that could not be read and
            were dropped.
        source_frames: Index in the *file's* numbering of each frame, where only some of its
            frames were taken; empty where all were that could be read.
        study: Hash of the Study Instance UID; empty where there is none, or with an alias.
        acquired_on: Day of the acquisition, ISO 8601; empty likewise.
        warnings: Qualifications of the numbers.
        sources: Per quantity, all that the file and the user state of it, and what was taken;
            empty for clips made in memory.
        colour: Pictures of the frames that show colour in the file; for `jpeg`.

    Raises:
        ArgumentError: If shape, dtype, spacing or times are invalid.
        TypeError: If the frames or the times are not a numpy array.
    """

    frames: "np.ndarray"
    times_s: "np.ndarray | None" = None
    spacing_mm: tuple[float, float] | None = None
    sector_box: tuple[int, int, int, int] | None = None
    trace_boxes: tuple[tuple[int, int, int, int], ...] = ()
    view: View = View.UNKNOWN
    r_wave_times_s: tuple[float, ...] = ()
    ecg: Ecg | None = None
    source: str = ""
    source_sha256: str = ""
    format_name: str = ""
    damaged_frames: tuple[int, ...] = ()
    source_frames: tuple[int, ...] = ()
    study: str = ""
    acquired_on: str = ""
    warnings: tuple[ClipWarning, ...] = ()
    sources: tuple[SourceDecision, ...] = ()
    colour: ColourFrames | None = None

    def __repr__(self) -> str:
        """One line: frames, columns x rows, view, rate, column x row spacing and file name."""
        rows, columns = self.size
        parts = [f"{self.num_frames} frames", f"{columns} x {rows}", str(self.view)]
        if self.frame_rate_hz is not None:
            parts.append(f"{self.frame_rate_hz:.3g} fps")
        if self.spacing_mm is not None:
            row_mm, column_mm = self.spacing_mm
            parts.append(f"{column_mm:.2g} x {row_mm:.2g} mm")
        if self.source:
            parts.append(repr(self.source.replace("\\", "/").rpartition("/")[2]))
        return f"Clip({', '.join(parts)})"

    def jpeg(self, frame_index: int) -> bytes | None:
        """The picture of a frame that shows colour, as a JPEG; None where the grey frame is it."""
        if self.colour is None or self.colour.frames is not self.frames:
            return None
        start, end = ((0, *self.colour.ends)[frame_index + step] for step in (0, 1))
        return self.colour.data[start:end].tobytes() or None

    def __post_init__(self) -> None:
        """Validate, so that no later number is wrong."""
        _check_stack("frames", self.frames)
        check_spacing(self.spacing_mm)
        check_times(self.times_s, self.num_frames)

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

    def decision(self, quantity: Quantity) -> SourceDecision:
        """What its sources state of a quantity, and what was taken; empty where nothing does."""
        decisions = (one for one in self.sources if one.quantity == quantity)
        return next(decisions, SourceDecision(quantity=quantity))

    def even_frame_rate_hz(self) -> float | None:
        """Frame rate of evenly spaced frames, for formats that hold nothing else.

        Raises:
            ArgumentError: If the frames are not evenly spaced in time.
        """
        import numpy as np

        rate_hz = self.frame_rate_hz
        if rate_hz is None or self.times_s is None:
            return None
        frames_off = (self.times_s - self.times_s[0]) * rate_hz - np.arange(self.num_frames)
        if np.abs(frames_off).max() > _MAX_JITTER:
            raise ArgumentError(
                "times_s must be evenly spaced for a format with one frame rate; frame "
                f"{int(np.abs(frames_off).argmax())} is {np.abs(frames_off).max():.2f} intervals "
                "off. Write DICOM, which has a time per frame"
            )
        return rate_hz


@dataclass(frozen=True, kw_only=True, eq=False)
class Annotation:
    """Ground truth of a clip: masks, ED and ES, volumes.

    Attributes:
        masks: Label maps, `T H W` uint8 of `Label`, one per frame of the clip; only those of
            `labelled_frames` are valid.
        labelled_frames: Increasing indices of the frames that are labeled; all by default.
        ed_frame: Index of the end-diastolic frame; None when unknown.
        es_frame: Index of the end-systolic frame; None when unknown.
        ef_percent: Ejection fraction; None when unknown, as are the volumes.
        edv_ml: End-diastolic volume.
        esv_ml: End-systolic volume.
        quality: Image quality in the data set's words; empty when unknown.

    Raises:
        ArgumentError: If shape, dtype, labels, indices or values are invalid.
        TypeError: If the masks are not a numpy array.
    """

    masks: "np.ndarray"
    labelled_frames: tuple[int, ...] = None  # type: ignore[assignment]  # all frames, see below
    ed_frame: int | None = None
    es_frame: int | None = None
    ef_percent: float | None = None
    edv_ml: float | None = None
    esv_ml: float | None = None
    quality: str = ""

    def __repr__(self) -> str:
        """One line: labeled frames, ED, ES and EF."""
        parts = [f"{len(self.labelled_frames)} of {len(self.masks)} frames labeled"]
        parts += [
            f"{name} {value:g}{unit}"
            for name, value, unit in (
                ("ED", self.ed_frame, ""),
                ("ES", self.es_frame, ""),
                ("EF", self.ef_percent, " %"),
            )
            if value is not None
        ]
        return f"Annotation({', '.join(parts)})"

    def __post_init__(self) -> None:
        """Validate, so that no later number is wrong."""
        _check_stack("masks", self.masks)
        if self.masks.max() > max(Label):
            raise ArgumentError(f"masks must hold labels 0 to {max(Label)}, got {self.masks.max()}")
        if self.labelled_frames is None:
            object.__setattr__(self, "labelled_frames", tuple(range(len(self.masks))))
        self._check_frames()
        self._check_values()

    def _check_frames(self) -> None:
        labelled = self.labelled_frames
        if list(labelled) != sorted(set(labelled)):
            raise ArgumentError(f"labelled_frames must increase, got {labelled}")
        phases = {"ed_frame": self.ed_frame, "es_frame": self.es_frame}
        for name, index in (*phases.items(), *(("labelled_frames", i) for i in labelled)):
            if index is not None and not 0 <= index < len(self.masks):
                raise ArgumentError(
                    f"{name} must be 0 to {len(self.masks) - 1}, the masks' frames, got {index}"
                )
        if self.ed_frame is not None and self.ed_frame == self.es_frame:
            raise ArgumentError(f"ed_frame and es_frame must differ, both are {self.ed_frame}")

    def _check_values(self) -> None:
        if self.ef_percent is not None and not 0 <= self.ef_percent <= 100:
            raise ArgumentError(f"ef_percent must be 0 to 100, got {self.ef_percent:g}")
        for name, value_ml in (("edv_ml", self.edv_ml), ("esv_ml", self.esv_ml)):
            if value_ml is not None and not (math.isfinite(value_ml) and value_ml > 0):
                raise ArgumentError(f"{name} must be positive and finite, got {value_ml:g}")
        if self.edv_ml is not None and self.esv_ml is not None and self.esv_ml > self.edv_ml:
            raise ArgumentError(
                f"esv_ml must not be over edv_ml, got {self.esv_ml:g} and {self.edv_ml:g}"
            )
        if "\n" in self.quality:
            raise ArgumentError(f"quality must be one line, got {self.quality!r}")

    def check_fits(self, clip: Clip) -> None:
        """Check that the masks have the shape of a clip's frames.

        Raises:
            ArgumentError: If number or size of the frames differ.
        """
        if clip.frames.shape != self.masks.shape:
            raise ArgumentError(
                f"masks must have the clip's shape {clip.frames.shape}, got {self.masks.shape}"
            )


def check_spacing(spacing_mm: tuple[float, float] | None) -> None:
    """Check a pixel spacing; None, an unknown one, is right.

    Raises:
        ArgumentError: If it is not two positive, finite numbers.
    """
    if spacing_mm is None:
        return
    try:
        row_mm, column_mm = map(float, spacing_mm)
        is_right = 0 < row_mm < math.inf and 0 < column_mm < math.inf
    except (TypeError, ValueError):
        is_right = False
    if not is_right:
        raise ArgumentError(
            f"spacing_mm must be positive and finite, got {spacing_mm}; give (row, column) in mm"
        )


def check_times(times_s: "np.ndarray | None", num_frames: int) -> None:
    """Check the times of frames; None, unknown ones, are right.

    Raises:
        ArgumentError: If they are not as many increasing times.
        TypeError: If they are not a numpy array.
    """
    if times_s is None:
        return
    _check_array("times_s", times_s)
    is_right = times_s.shape == (num_frames,) and (times_s[1:] > times_s[:-1]).all()
    if not (is_right and math.isfinite(times_s[0]) and math.isfinite(times_s[-1])):
        got = f"got shape {times_s.shape}; leave them out if they are unknown"
        raise ArgumentError(f"times_s must be {num_frames} increasing times, one per frame, {got}")


def _check_stack(name: str, values: "np.ndarray") -> None:
    _check_array(name, values)
    if values.ndim != 3 or values.dtype != "uint8" or 0 in values.shape:
        raise ArgumentError(
            f"{name} must be a non-empty (T, H, W) uint8 array, got {values.shape} {values.dtype}"
        )


def _check_array(name: str, values: object) -> None:
    import numpy as np

    if not isinstance(values, np.ndarray):
        raise TypeError(
            f"{name} must be a numpy array, got {type(values).__name__}; pass np.asarray({name})"
        )
