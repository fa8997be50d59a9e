"""A session: frames of one source one at a time -> masks, running measurements, latency.

The first second is shown to the network as it comes; then the sector is known (`sector.find_sector`
on frames kept for that), and the network looks at the sector alone, as `Analyzer` does. A cut or a
probe that moved (`stream.scene`) begins all of that anew. What is kept does not grow.
"""

import time
from dataclasses import dataclass

import numpy as np

from echoseg.anatomy import Label
from echoseg.clip import Clip
from echoseg.errors import ArgumentError, MeasurementError
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import LEAST_LV_SHARE
from echoseg.measure.plausible import LONGEST_LV_MM, SHORTEST_LV_MM
from echoseg.measure.volumes import mask_volume_ml
from echoseg.runtime.lens import Lens
from echoseg.runtime.stepper import Stepper
from echoseg.sector import Sector, find_sector, sector_gain
from echoseg.stream.beats import FinishedBeat, RunningBeats
from echoseg.stream.latency import Latencies
from echoseg.stream.scene import SceneWatch

SECTOR_FRAMES = 40
"""Frames the sector is found from."""
SECTOR_AFTER_S = 1.0
ASSUMED_RATE_HZ = 30.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """What is known after a frame.

    Attributes:
        frame_index: Frames pushed before it.
        time_s: Its time in the source.
        mask: `H W` uint8, values of `Label`, stray pieces taken away.
        volume: Of the cavity: ml with a scale, else cubic pixels (ratios only); None without one.
        volume_ml: The same where it is in ml.
        last_ed_s: Time of the last end of diastole found; None before the first, as the next.
        last_es_s: Time of the last end of systole.
        ef_percent: Mean EF of the last finished beats (`beats.ROLLING_BEATS` of them).
        num_beats: Finished beats since the session or the last reset.
        beat: The last finished one.
        reset: Why all began anew with this frame; empty when it did not.
        latency_s: From the frame's arrival to this reading.
    """

    frame_index: int
    time_s: float
    mask: np.ndarray
    volume: float | None
    volume_ml: float | None
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
        stepper: Any runtime of any streaming network.
        spacing_mm: (row, column) millimetres a pixel; without it volumes are relative.
        frame_rate_hz: Of frames that come without a time; also how long a cut may take to be seen.
        sector: Where the ultrasound is, when that is known; otherwise it is found.
        gain: Brightness factor that goes with a given sector.
    """

    def __init__(
        self,
        stepper: Stepper,
        *,
        spacing_mm: tuple[float, float] | None = None,
        frame_rate_hz: float | None = None,
        sector: Sector | None = None,
        gain: float = 1.0,
    ) -> None:
        if frame_rate_hz is not None and not frame_rate_hz > 0:
            raise ArgumentError(f"frame_rate_hz must be positive, got {frame_rate_hz:g}")
        self.stepper, self.spacing_mm = stepper, spacing_mm
        self.latencies = Latencies()
        self.num_frames, self.num_resets = 0, 0
        self.size: tuple[int, int] | None = None
        self._interval_s = 1 / (frame_rate_hz or ASSUMED_RATE_HZ)
        self._given = sector, gain
        self._scene = SceneWatch(self._interval_s)
        self._beats = RunningBeats()
        self._last_time_s = -np.inf

    def push(
        self, frame: np.ndarray, time_s: float | None = None, *, arrived_s: float | None = None
    ) -> Reading:
        """Take in one frame.

        Args:
            frame: `H W` uint8, of the first frame's size.
            time_s: Its time in the source, later than the last one's; counted on from the last by
                the frame rate by default.
            arrived_s: `time.perf_counter()` at its arrival; now by default.

        Raises:
            ArgumentError: If it is no frame, of another size, or not later than the last one.
        """
        arrived_s = time.perf_counter() if arrived_s is None else arrived_s
        time_s = self._check(frame, time_s)
        reset = self._scene.watch(frame)
        if reset:
            self.reset()
            self._scene.watch(frame)
        mask = self._segment(frame, time_s)
        volume, scaled = self._volume(mask)
        self._beats.push(time_s, volume)
        self.num_frames += 1
        self._last_time_s = time_s
        latency_s = time.perf_counter() - arrived_s
        self.latencies.add(latency_s)
        return Reading(
            frame_index=self.num_frames - 1,
            time_s=time_s,
            mask=mask,
            volume=volume,
            volume_ml=volume if scaled else None,
            last_ed_s=self._beats.last_ed_s,
            last_es_s=self._beats.last_es_s,
            ef_percent=self._beats.ef_percent,
            num_beats=self._beats.num_beats,
            beat=self._beats.finished[-1] if self._beats.finished else None,
            reset=reset,
            latency_s=latency_s,
        )

    def reset(self) -> None:
        """Forget the picture, the network's memory and the beats; count and latency go on."""
        self.num_resets += 1
        self._scene.forget()
        self._beats.forget()
        if self.size is not None:
            self._begin(self.size)

    def restart(self) -> None:
        """Reset, and take frames of any size next: after a source came back."""
        self.reset()
        self.size = None

    def _check(self, frame: np.ndarray, time_s: float | None) -> float:
        """Return the frame's time; refuse what cannot be a next frame."""
        if frame.ndim != 2 or frame.dtype != np.uint8 or 0 in frame.shape:
            raise ArgumentError(
                f"frame must be a non-empty (H, W) uint8 array, got {frame.shape} {frame.dtype}"
            )
        if self.size is None:
            self.size = (frame.shape[0], frame.shape[1])
            self._begin(self.size)
        if frame.shape != self.size:
            raise ArgumentError(
                "a frame must have the {} x {} pixels of the session's first, got {} x {}; "
                "restart the session for another source".format(*self.size, *frame.shape)
            )
        if time_s is None:
            first = 0.0 if np.isinf(self._last_time_s) else self._last_time_s + self._interval_s
            return first
        if not time_s > self._last_time_s:
            raise ArgumentError(
                f"time_s must be later than the last frame's {self._last_time_s:g}, got {time_s:g}"
            )
        return time_s

    def _begin(self, size: tuple[int, int]) -> None:
        """Look at the whole picture, or the sector given, with an empty memory."""
        sector, gain = self._given
        self._kept: list[np.ndarray] = []
        self._kept_since_s: float | None = None
        self._knows_sector = sector is not None
        self._look_at(size, sector, gain)

    def _look_at(self, size: tuple[int, int], sector: Sector | None, gain: float) -> None:
        self._lens = Lens(size, self.stepper.size_px, sector=sector, gain=gain)
        self._state = self.stepper.first_state()

    def _segment(self, frame: np.ndarray, time_s: float) -> np.ndarray:
        if not self._knows_sector:
            self._look_for_sector(frame, time_s)
        logits, self._state = self.stepper.step(self._lens.show(frame), self._state)
        return clean_masks(self._lens.read(logits)[None])[0]

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

    def _volume(self, mask: np.ndarray) -> tuple[float | None, bool]:
        """Return the cavity's volume, and whether it is in ml."""
        if (mask == Label.LV_CAVITY).sum() < max(1, LEAST_LV_SHARE * mask.size):
            return None, False
        try:
            volume, length = mask_volume_ml(mask, self.spacing_mm or (1.0, 1.0))
        except MeasurementError:
            return None, False
        if not volume > 0:
            return None, False
        believable = SHORTEST_LV_MM <= length <= LONGEST_LV_MM
        return volume, self.spacing_mm is not None and believable
