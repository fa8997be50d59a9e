"""Settings of an animated clip, and when its heart contracts."""

from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from echoseg.errors import ConfigError
from echoseg.phantom.config import Rhythm
from echoseg.phantom.rhythm import Beats

FRAME_RATES_HZ = (20.0, 60.0)
HEART_RATES_BPM = (50.0, 95.0)
TISSUE_DECORRELATION_S = (0.06, 0.25)
BLOOD_DECORRELATION_S = (0.02, 0.05)
MIN_SCALE, MAX_SCALE = -0.3, 1.3
"""Range of the phase of a motion: 0 is the still of ED and 1 that of ES; beyond, extrapolated."""
Scale = Annotated[float, Field(ge=MIN_SCALE, le=MAX_SCALE)]
MAX_DECORRELATION_S = 10.0
MAX_THROUGH_PLANE = 0.03
BEAT_VARIATION = 0.03
"""Standard deviation of other beats' length and strength, relative to the annotated beat's."""


class AnimationConfig(BaseModel):
    """What an animated clip is like; None draws a value by the seed.

    Attributes:
        seed: Random seed.
        heart_rate_bpm: Drawn from 50 to 95.
        frame_rate_hz: Drawn from 20 to 60; lower where ED and ES would not fit into `num_frames`.
        num_beats: Length of the clip, where `num_frames` is None.
        num_frames: Length of the clip.
        ef_percent: Ejection fraction to reach by scaling the motion; None: that of `scales`.
        scales: Phase at ED and at ES, -0.3 to 1.3. (0, 1) shows both stills unchanged.
        tissue_decorrelation_s: Time in which the correlation of speckle falls to 1/e in tissue;
            drawn from 0.06 to 0.25 s.
        blood_decorrelation_s: The same in blood; drawn from 0.02 to 0.05 s.
        through_plane: Standard deviation of the slow deformation, as a fraction of the picture's
            side; drawn from 0 to 0.03.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(default=0, ge=0)
    heart_rate_bpm: float | None = Field(default=None, ge=30, le=200)
    frame_rate_hz: float | None = Field(default=None, ge=5, le=200)
    num_beats: int = Field(default=1, ge=1, le=100)
    num_frames: int | None = Field(default=None, ge=2, le=10_000)
    ef_percent: float | None = Field(default=None, gt=0, lt=100)
    scales: tuple[Scale, Scale] = (0.0, 1.0)
    tissue_decorrelation_s: float | None = Field(default=None, gt=0, le=MAX_DECORRELATION_S)
    blood_decorrelation_s: float | None = Field(default=None, gt=0, le=MAX_DECORRELATION_S)
    through_plane: float | None = Field(default=None, ge=0, le=MAX_THROUGH_PLANE)


class Timeline(NamedTuple):
    """When the heart contracts.

    Attributes:
        times_s: Time of each frame, `T`.
        contraction: Of each frame, `T`: 0 at `ed_frame`, 1 at `es_frame`.
        ed_frame: First frame of the annotated beat.
        es_frame: End of its ejection.
        r_wave_times_s: Starts of beats within the clip.
    """

    times_s: np.ndarray
    contraction: np.ndarray
    ed_frame: int
    es_frame: int
    r_wave_times_s: tuple[float, ...]


def timeline(config: AnimationConfig, rng: np.random.Generator) -> Timeline:
    """Draw beats of a sinus rhythm; those beside the annotated one vary slightly.

    Frames fall on the R waves and on the end of the annotated beat's ejection, which moves that by
    up to half a frame interval.

    Raises:
        ConfigError: If `num_frames` cannot hold ED and ES.
    """
    heart_rate_bpm = config.heart_rate_bpm or float(rng.uniform(*HEART_RATES_BPM))
    interval_s, early_share = 60 / heart_rate_bpm, float(rng.uniform(0.6, 0.8))
    es_s = _ejection_end_s(interval_s)
    rate_hz = config.frame_rate_hz
    if rate_hz is None:
        low_hz, high_hz = FRAME_RATES_HZ
        fits_hz = np.inf if config.num_frames is None else (config.num_frames - 1) / es_s
        rate_hz = min(float(rng.uniform(low_hz, max(low_hz, min(high_hz, fits_hz)))), fits_hz)
    per_beat, es_offset = max(4, round(interval_s * rate_hz)), max(1, round(es_s * rate_hz))
    length = config.num_frames or config.num_beats * per_beat
    if length < es_offset + 1:
        raise ConfigError(
            f"num_frames must be at least {es_offset + 1} to hold ED and ES at {rate_hz:g} Hz and "
            f"{heart_rate_bpm:.0f} beats per minute, got {length}"
        )
    ed_frame = int(rng.integers(min(per_beat, length - es_offset)))
    starts, strength, annotated = _beats(length, per_beat, ed_frame, rng)
    beats = Beats(
        rhythm=Rhythm.SINUS,
        r_peaks_s=starts / rate_hz,
        strength=strength,
        early_share=early_share,
        premature=np.zeros(len(strength), bool),
    )
    times_s = np.arange(length) / rate_hz
    first_s, last_s = beats.r_peaks_s[annotated : annotated + 2]
    marks_s = np.array([first_s, first_s + es_offset / rate_hz, last_s])
    end_s = first_s + _ejection_end_s(float(last_s - first_s))
    inside = (times_s >= first_s) & (times_s < last_s)
    warped_s = np.where(inside, np.interp(times_s, marks_s, [first_s, end_s, last_s]), times_s)
    contraction = beats.contraction(warped_s)
    contraction[[ed_frame, ed_frame + es_offset]] = 0.0, 1.0  # not up to rounding
    r_waves_s = (float(t) for t in beats.r_peaks_s if 0 <= t <= times_s[-1])
    return Timeline(times_s, contraction, ed_frame, ed_frame + es_offset, tuple(r_waves_s))


def _beats(
    length: int, per_beat: int, ed_frame: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Frames at which beats start, `B + 1`, their strengths `B`, and the annotated one's index."""

    def vary() -> int:
        return max(4, round(per_beat * (1 + BEAT_VARIATION * float(rng.standard_normal()))))

    starts = [ed_frame, ed_frame + per_beat]
    while starts[-1] < length:
        starts.append(starts[-1] + vary())
    annotated = 0
    while starts[0] > 0:
        starts.insert(0, starts[0] - vary())
        annotated += 1
    strength = 1 + BEAT_VARIATION * rng.standard_normal(len(starts) - 1).clip(-2, 2)
    strength[annotated] = 1
    return np.array(starts, float), strength, annotated


def _ejection_end_s(interval_s: float) -> float:
    """Time from the R wave to the end of ejection in the phantom's heart."""
    beats = Beats(
        rhythm=Rhythm.SINUS,
        r_peaks_s=np.array([0.0, interval_s]),
        strength=np.ones(1),
        early_share=1.0,
        premature=np.zeros(1, bool),
    )
    times_s = np.linspace(0, interval_s, 2000, endpoint=False)
    return float(times_s[beats.contraction(times_s).argmax()])
