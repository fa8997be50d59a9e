"""A session: frames of one source one at a time -> masks, running measurements, latency.

The first second is shown to the network as it comes; then the sector is known (`sector.find_sector`
on frames kept for that), and the network looks at the sector alone, as `Analyzer` does. A cut or a
probe that moved (`stream.scene`) begins all of that anew. What is kept does not grow.
"""

import math
import time
from dataclasses import dataclass
from numbers import Real

import numpy as np

from echoseg.clip import Clip, Label
from echoseg.errors import ArgumentError, MeasurementError
from echoseg.inference.backends.base import InferenceSession
from echoseg.inference.live.beats import FinishedBeat, RunningBeats
from echoseg.inference.live.latency import LatencyHistogram
from echoseg.inference.live.scene_change import SceneChangeDetector
from echoseg.io.frames import FRAME_SIDE_PX, OpenOptions
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import MIN_LV_FRACTION
from echoseg.measure.plausible import MAX_LV_LENGTH_MM, MIN_LV_LENGTH_MM
from echoseg.measure.volumes import mask_volume_ml
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.sector import Sector, find_sector, sector_gain

SECTOR_FRAMES = 40
"""Frames the sector is found from."""
SECTOR_AFTER_S = 1.0
ASSUMED_RATE_HZ = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """What is known after a frame.

    Attributes:
        frame_index: Frames pushed before it.
        time_s: Its time in the source.
        mask: `H W` uint8, values of `Label`, stray pieces taken away.
        volume_ml: Of the cavity; None without one, without a scale, or where the scale contradicts
            the picture.
        volume_px3: The same in cubic pixels, for ratios only, where there is none in ml.
        last_ed_s: Time of the last end of diastole found; None before the first, as the next.
        last_es_s: Time of the last end of systole.
        ef_percent: Mean EF of the last finished beats (`beats.ROLLING_BEATS` of them); None once
            none has finished for `beats.STALE_S`.
        num_beats: Finished beats since the session or the last reset.
        beat: The last finished one, as long as there is an EF; its volumes are in ml with a scale,
            else in thousands of cubic pixels.
        reset: Why all began anew with this frame: a cut, a move, or what `Session.reset` was told;
            empty when it did not.
        latency_s: From the frame's arrival to this reading.
    """

    frame_index: int
    time_s: float
    mask: np.ndarray
    volume_ml: float | None
    volume_px3: float | None
    last_ed_s: float | None
    last_es_s: float | None
    ef_percent: float | None
    num_beats: int
    beat: FinishedBeat | None
    reset: str
    latency_s: float


class Session:
    """See the module.

    Args:
        network: A session of a streaming network, on any backend.
        spacing_mm: (row, column) millimetres a pixel; without it volumes are relative.
        frame_rate_hz: Of frames that come without a time; also how long a cut may take to be seen.
        sector: Where the ultrasound is, when that is known; otherwise it is found.
        gain: Brightness factor that goes with a given sector.

    Raises:
        ConfigError: If scale or rate is none.
        ArgumentError: If the gain is none.
    """

    def __init__(
        self,
        network: InferenceSession,
        *,
        spacing_mm: tuple[float, float] | None = None,
        frame_rate_hz: float | None = None,
        sector: Sector | None = None,
        gain: float = 1.0,
    ) -> None:
        OpenOptions(spacing_mm=spacing_mm, fps=frame_rate_hz)
        if not (_is_finite(gain) and gain > 0):
            raise ArgumentError(f"gain must be a positive number, got {gain}; 1 leaves it as it is")
        self.network, self.spacing_mm = network, spacing_mm
        network.first_state()  # refuses a network that looks ahead
        self.latencies = LatencyHistogram()
        self.num_frames, self.num_resets = 0, 0
        self.size: tuple[int, int] | None = None
        self._interval_s = 1 / (frame_rate_hz or ASSUMED_RATE_HZ)
        self._given = sector, gain
        self._scene = SceneChangeDetector(self._interval_s)
        self._beats = RunningBeats()
        self._last_time_s: float | None = None
        self._reset = ""

    def push(
        self, frame: np.ndarray, time_s: float | None = None, *, arrived_s: float | None = None
    ) -> FrameResult:
        """Take in one frame.

        Args:
            frame: `H W` uint8, of the first frame's size, its sides within
                `formats.frames.FRAME_SIDE_PX`.
            time_s: Its time in the source, later than the last one's; counted on from the last by
                the frame rate by default.
            arrived_s: `time.perf_counter()` at its arrival; now by default.

        Raises:
            ArgumentError: If it is no frame, of another size, or not later than the last one; the
                session is then as it was.
        """
        arrived_s = time.perf_counter() if arrived_s is None else arrived_s
        if not _is_finite(arrived_s):
            raise ArgumentError(f"arrived_s must be a time in seconds, got {arrived_s!r}; leave it")
        self._check(frame)
        time_s = self._time(time_s)
        if self.size is None:
            self.size = (frame.shape[0], frame.shape[1])
            self._begin(self.size)
        if change := self._scene.watch(frame):
            self.reset(change)
            self._scene.watch(frame)
        reset, self._reset = self._reset, ""
        mask = self._segment(frame, time_s)
        volume, volume_ml, volume_px3 = self._volume(mask)
        self._beats.push(time_s, volume)
        self.num_frames += 1
        self._last_time_s = time_s
        latency_s = time.perf_counter() - arrived_s
        self.latencies.add(latency_s)
        return FrameResult(
            frame_index=self.num_frames - 1,
            time_s=time_s,
            mask=mask,
            volume_ml=volume_ml,
            volume_px3=volume_px3,
            last_ed_s=self._beats.last_ed_s,
            last_es_s=self._beats.last_es_s,
            ef_percent=self._beats.ef_percent,
            num_beats=self._beats.num_beats,
            beat=self._beats.finished[-1] if self._beats.finished else None,
            reset=reset,
            latency_s=latency_s,
        )

    def reset(self, reason: str = "reset") -> None:
        """Forget the picture, the network's memory and the beats; count and latency go on.

        The next reading tells the reason.
        """
        self._reset = reason
        self.num_resets += 1
        self._scene.forget()
        self._beats.forget()
        if self.size is not None:
            self._begin(self.size)

    def restart(self) -> None:
        """Reset, and take frames of any size next: after a source came back."""
        self.reset("restart")
        self.size = None

    def _check(self, frame: object) -> None:
        """Refuse what cannot be a next frame."""
        if not isinstance(frame, np.ndarray) or frame.ndim != 2 or frame.dtype != np.uint8:
            got = (
                f"{frame.shape} {frame.dtype}"
                if isinstance(frame, np.ndarray)
                else type(frame).__name__
            )
            raise ArgumentError(f"frame must be an (H, W) uint8 array of grey levels, got {got}")
        least, most = FRAME_SIDE_PX
        if not all(least <= side <= most for side in frame.shape):
            raise ArgumentError(
                "frame must have sides of {} to {} pixels, got {} x {}; scale it first".format(
                    least, most, *frame.shape
                )
            )
        if self.size is not None and frame.shape != self.size:
            raise ArgumentError(
                "a frame must have the {} x {} pixels of the session's first, got {} x {}; "
                "restart the session for another source".format(*self.size, *frame.shape)
            )
        sector = self._given[0]
        if sector is not None and frame.shape != sector.mask.shape:
            raise ArgumentError(
                "a frame must have the {} x {} pixels of the sector given, got {} x {}; leave the "
                "sector out and it is found".format(*sector.mask.shape, *frame.shape)
            )

    def _time(self, time_s: float | None) -> float:
        """Return the frame's time; refuse one that is none or not later than the last."""
        last_s = self._last_time_s
        if time_s is None:
            return 0.0 if last_s is None else last_s + self._interval_s
        if not _is_finite(time_s):
            raise ArgumentError(
                f"time_s must be a finite number of seconds, got {time_s!r}; leave it out if you "
                "do not know it"
            )
        if last_s is not None and not time_s > last_s:
            raise ArgumentError(
                f"time_s must be later than the last frame's {last_s:g}, got {time_s:g}; leave it "
                "out to count on by the frame rate"
            )
        return float(time_s)

    def _begin(self, size: tuple[int, int]) -> None:
        """Look at the whole picture, or the sector given, with an empty memory."""
        sector, gain = self._given
        self._kept: list[np.ndarray] = []
        self._kept_since_s: float | None = None
        self._knows_sector = sector is not None
        self._look_at(size, sector, gain)

    def _look_at(self, size: tuple[int, int], sector: Sector | None, gain: float) -> None:
        self._transform = FrameTransform(size, self.network.size_px, sector=sector, gain=gain)
        self._state = self.network.first_state()

    def _segment(self, frame: np.ndarray, time_s: float) -> np.ndarray:
        if not self._knows_sector:
            self._look_for_sector(frame, time_s)
        logits, self._state = self.network.step(self._transform.apply(frame), self._state)
        return clean_masks(self._transform.invert(logits)[None])[0]

    def _look_for_sector(self, frame: np.ndarray, time_s: float) -> None:
        """Keep frames of the first second, thinned to a bounded number; then find the sector."""
        if self._kept_since_s is None:
            self._kept_since_s = time_s
        self._kept.append(frame.copy())
        if len(self._kept) == 2 * SECTOR_FRAMES:
            self._kept = self._kept[::2]
        if time_s - self._kept_since_s < SECTOR_AFTER_S or len(self._kept) < 8:
            return
        clip = Clip(frames=np.stack(self._kept))
        sector = find_sector(clip)
        self._kept = []
        self._kept_since_s = None
        if sector is None:  # nothing moves yet: look again in a second
            return
        self._knows_sector = True
        assert self.size is not None
        self._look_at(self.size, sector, sector_gain(clip, sector))

    def _volume(self, mask: np.ndarray) -> tuple[float | None, float | None, float | None]:
        """Return the cavity's volume for the curve, whose unit stays; in ml; in cubic pixels."""
        nothing = None, None, None
        if (mask == Label.LV_CAVITY).sum() < max(1, MIN_LV_FRACTION * mask.size):
            return nothing
        try:
            volume, length_mm = mask_volume_ml(mask, self.spacing_mm or (1.0, 1.0))
            if not volume > 0:
                return nothing
            if self.spacing_mm is None:
                return volume, None, 1000 * volume  # as if a pixel had 1 mm
            if MIN_LV_LENGTH_MM <= length_mm <= MAX_LV_LENGTH_MM:
                return volume, volume, None
            return volume, None, 1000 * mask_volume_ml(mask, (1.0, 1.0))[0]
        except MeasurementError:
            return nothing


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
