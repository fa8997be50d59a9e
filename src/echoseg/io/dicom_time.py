"""What a DICOM object states of time: frame times, R waves, heart rate.

The element that the Frame Increment Pointer names comes first (PS3.3 C.7.6.5), then the others in
the order of `_SOURCES`. An element that is not a number is ignored, and costs nothing else.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from echoseg.clip import SourceDecision, SourceStatement
from echoseg.io.arbitration import decide, decide_for_user

_VECTOR = "FrameTimeVector"
_SOURCES = {
    _VECTOR: ("Frame Time Vector (0018,1065)", "ms"),
    "FrameTime": ("Frame Time (0018,1063)", "ms"),
    "CineRate": ("Cine Rate (0018,0040)", "per s"),
    "RecommendedDisplayFrameRate": ("Recommended Display Frame Rate (0008,2144)", "per s"),
    "ActualFrameDuration": ("Actual Frame Duration (0018,1242)", "ms"),
    "EffectiveDuration": ("Effective Duration (0018,0072)", "s"),
}
"""Keyword -> origin and unit, the preferred one first."""
_FEW_DIGITS = re.compile(r"[\d.,+-]{1,7}")
"""A number with another decimal mark; shorter than a date or an identity number."""
_RATES = ("CineRate", "RecommendedDisplayFrameRate")
_HEART_RATE_BPM = (10.0, 1000.0)
"""Heart rates that R waves may imply; in seconds instead of milliseconds they imply thousands."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DicomTimes:
    """What a DICOM object states of time.

    Attributes:
        times_s: Time of each decoded frame from the first, `T`; None when unknown.
        r_wave_times_s: R waves, from the same frame where the frames have times.
        rate: Decision on the frame rate.
        heart_rate: Statements on the heart rate.
        start_s: Time of the first frame that is not damaged, from the first of all.
    """

    times_s: np.ndarray | None
    r_wave_times_s: tuple[float, ...]
    rate: SourceDecision
    heart_rate: SourceDecision
    start_s: float = 0.0


def read_numbers(dataset: Any, keyword: str) -> tuple[list[float], str]:
    """The finite numbers of an element, and their text; no numbers where one of them is not.

    A text that is not a number may be anything, a name too: only a few digits are repeated.
    """
    element = None
    try:
        element = dataset.get_item(keyword)
        values = dataset.get(keyword)
        if values is None or values == "":
            return [], ""
        if isinstance(values, bytes):  # a text over 64 KiB is written as UN (PS3.5 6.2.2)
            values = values.decode("ascii").strip(" \0").split("\\")
        numbers = [float(value) for value in np.atleast_1d(np.asarray(values, object))]
        text = ", ".join(f"{number:g}" for number in numbers[:3])
        return (numbers if np.isfinite(numbers).all() else []), text
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError):
        raw = getattr(element, "value", "")
        text = (raw.decode("latin-1") if isinstance(raw, bytes) else str(raw)).strip()
        return [], text if _FEW_DIGITS.fullmatch(text) else "a text"


def read_number(dataset: Any, keyword: str) -> float | None:
    """The first number of an element; None where it has none."""
    numbers = read_numbers(dataset, keyword)[0]
    return numbers[0] if numbers else None


def read_times(
    dataset: Any,
    total: int,
    damaged: Sequence[int],
    *,
    fps: float | None = None,
    stream_rate_hz: float | None = None,
) -> DicomTimes:
    """Decide on the frame times.

    Args:
        dataset: The object.
        total: Number of frames, those that are damaged included.
        damaged: Their indices; R waves move with the first frame that remains.
        fps: What the user says.
        stream_rate_hz: Frame rate of the video stream inside, where it states one.
    """
    statements, steps_s = _statements(dataset, total)
    if stream_rate_hz:
        statements.append(SourceStatement(origin="rate of the video stream", value=stream_rate_hz))
    rate = decide_for_user(decide("frame_rate_hz", statements), fps)
    r_waves_s = sorted({value / 1000 for value in read_numbers(dataset, "RWaveTimeVector")[0]})
    heart_rate = decide("heart_rate_bpm", _heart_rates(dataset, r_waves_s))
    if any(one.unused_because for one in heart_rate.statements):
        r_waves_s = []
    if rate.choice is None:
        return DicomTimes(
            times_s=None, r_wave_times_s=tuple(r_waves_s), rate=rate, heart_rate=heart_rate
        )
    times_s = np.arange(total) / float(rate.value)  # type: ignore[arg-type]
    if rate.statements[rate.choice].origin == _SOURCES[_VECTOR][0]:
        times_s = np.cumsum([0.0, *steps_s])
    times_s = np.delete(times_s, list(damaged))
    return DicomTimes(
        times_s=times_s - times_s[0],
        r_wave_times_s=tuple(float(time_s - times_s[0]) for time_s in r_waves_s),
        rate=rate,
        heart_rate=heart_rate,
        start_s=float(times_s[0]),
    )


def _statements(dataset: Any, total: int) -> tuple[list[SourceStatement], list[float]]:
    """The statements on the frame rate in their order, and the vector's steps in s."""
    statements, steps_s = [], []
    for keyword in sorted(_SOURCES, key=lambda one: one not in _pointed_at(dataset)):
        origin, unit = _SOURCES[keyword]
        numbers, text = read_numbers(dataset, keyword)
        if not numbers and not text:
            continue
        rate_hz, why = None, ""
        if keyword == _VECTOR and numbers:
            rate_hz, why, steps_s = _vector_rate(numbers, total)
        elif len(numbers) != 1 or numbers[0] <= 0:
            why = "not one positive number"
        elif keyword in _RATES:
            rate_hz = numbers[0]
        else:
            rate_hz = (total if keyword == "EffectiveDuration" else 1000) / numbers[0]
        text = f"{text} {unit}" if numbers else text
        statements.append(
            SourceStatement(origin=origin, value=rate_hz, text=text, unused_because=why)
        )
    return statements, steps_s


def _pointed_at(dataset: Any) -> list[str]:
    """Keywords of the elements that the Frame Increment Pointer names."""
    from pydicom.datadict import keyword_for_tag

    try:
        tags = dataset.get("FrameIncrementPointer")
        return [keyword_for_tag(tag) for tag in (tags if isinstance(tags, list) else [tags])]
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        return []


def _vector_rate(numbers: list[float], total: int) -> tuple[float | None, str, list[float]]:
    """Mean rate of a Frame Time Vector, why it is not used, and the steps between frames in s.

    The first of `total` values precedes the first frame; some writers leave it out. Others write
    the times instead of the steps between them: values that grow by one step each.
    """
    if len(numbers) not in (total, total - 1) or total < 2:
        return None, f"of {len(numbers)} values for {total} frames", []
    steps_s = np.array(numbers[len(numbers) - total + 1 :]) / 1000
    growth_s = np.diff(numbers if len(numbers) == total else [0.0, *numbers]) / 1000
    if total > 3 and 0 < growth_s.max() < 1.2 * growth_s.min() and steps_s[-1] > 2 * steps_s[0]:
        steps_s = growth_s
    if steps_s.min() <= 0:
        return None, "not increasing", []
    return len(steps_s) / float(steps_s.sum()), "", steps_s.tolist()


def _heart_rates(dataset: Any, r_waves_s: list[float]) -> list[SourceStatement]:
    """Statements on the heart rate: the R waves, and the machine's own number."""
    statements = []
    intervals_s = np.diff(r_waves_s)
    if len(intervals_s) and (intervals_s > 0).all():
        rate_bpm = 60 / float(np.median(intervals_s))
        is_of_heart = _HEART_RATE_BPM[0] <= rate_bpm <= _HEART_RATE_BPM[1]
        statements.append(
            SourceStatement(
                origin="R Wave Time Vector (0018,6060)",
                value=rate_bpm,
                text=f"{len(r_waves_s)} R waves",
                unused_because="" if is_of_heart else "the rate of no heart",
            )
        )
    if rate_bpm := read_number(dataset, "HeartRate"):
        statements.append(SourceStatement(origin="Heart Rate (0018,1088)", value=rate_bpm))
    return statements
