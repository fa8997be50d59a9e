"""A session: frames of one source one at a time -> masks, running measurements, latency.

The network gets whole frames for the first second. Then the sector is found
(`preprocess.sector.find_sector` on stored frames), and the network gets the sector only, as in
`Analyzer`; volumes are in ml from then on, if its depth is plausible. The search takes as long as
several large frames: a live run does it in a thread. A cut or a probe movement
(`live.scene_change`) restarts all of this. Memory is constant.
"""

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np

from echoseg.clip import Clip, Label
from echoseg.errors import ArgumentError, MeasurementError
from echoseg.inference.backends.base import InferenceSession
from echoseg.inference.ef_statement import EfStatement, state_ef
from echoseg.inference.live.beats import STALE_S, FinishedBeat, RunningBeats
from echoseg.inference.live.check import NOT_CHECKED, EfCheck
from echoseg.inference.live.latency import LatencyHistogram
from echoseg.inference.live.scene_change import SceneChangeDetector
from echoseg.io.frames import FRAME_SIDE_PX, OpenOptions
from echoseg.measure.clean import clean_mask
from echoseg.measure.frame import MIN_LV_FRACTION
from echoseg.measure.plausible import MAX_LV_LENGTH_MM, MIN_LV_LENGTH_MM, depth_warnings
from echoseg.measure.volumes import mask_volume_ml
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.sector import Sector, find_sector, sector_gain

SECTOR_FRAMES = 40
"""Frames the sector is found from."""
SECTOR_AFTER_S = 1.0
ASSUMED_RATE_HZ = 30.0
NO_BEAT = "No whole beat has been seen yet."
NO_RECENT_BEAT = f"No beat has finished in the last {STALE_S:g} s."
NO_SECTOR = "No ultrasound sector was found in the picture."
BEING_CHECKED = "The EF of the last beats is being checked."
"""Reasons of a live run for no EF."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameResult:
    """Result of one frame.

    Attributes:
        frame_index: Number of frames before it.
        time_s: Its time in the source.
        mask: `H W` uint8, values of `Label`, stray pieces removed.
        volume_ml: Of the cavity; None without a cavity, a scale or a sector, or where the length
            of the cavity or the depth of the sector is implausible.
        volume_px3: The same in cubic pixels, for ratios only, where there is none in ml.
        last_ed_s: Time of the last end of diastole found; None before the first, as the next.
        last_es_s: Time of the last end of systole.
        ef: What may be stated of the EF of the last seconds (`check.EfCheck`): none while it is
            checked for the first time, and once no beat has finished for `beats.STALE_S`. Without
            a check the mean of the last `beats.ROLLING_BEATS` beats, withheld.
        num_beats: Finished beats since the session or the last reset.
        beat: The last finished one, as long as there is an EF.
        reset: Why the session restarted with this frame: a cut, a move, or the reason passed to
            `Session.reset`; empty otherwise.
        latency_s: From the arrival of the frame to this result.
    """

    frame_index: int
    time_s: float
    mask: np.ndarray
    volume_ml: float | None
    volume_px3: float | None
    last_ed_s: float | None
    last_es_s: float | None
    ef: EfStatement
    num_beats: int
    beat: FinishedBeat | None
    reset: str
    latency_s: float

    @property
    def ef_percent(self) -> float | None:
        """The EF as a number; None where there is none."""
        return self.ef.ef_percent


class Session:
    """Segments and measures the frames of one source.

    Args:
        network: A session of a streaming network, on any backend.
        spacing_mm: (row, column) millimetres per pixel; without it, and without one from the
            source (`describe`), volumes are relative.
        frame_rate_hz: Of frames without a time; it also sets the number of frames to detect a cut.
        sector: The ultrasound sector, if known; otherwise it is detected.
        gain: Brightness factor that goes with a given sector.
        check: Checks the EF; without it, none is stated.

    Attributes:
        waits: Whether a frame waits while the sector is found; otherwise the whole picture is
            segmented meanwhile, for as many frames as the machine needs.

    Raises:
        ConfigError: If scale or rate is out of range.
        ArgumentError: If the gain is not positive.
    """

    def __init__(
        self,
        network: InferenceSession,
        *,
        spacing_mm: tuple[float, float] | None = None,
        frame_rate_hz: float | None = None,
        sector: Sector | None = None,
        gain: float = 1.0,
        check: EfCheck | None = None,
    ) -> None:
        OpenOptions(spacing_mm=spacing_mm, fps=frame_rate_hz)
        if not (_is_finite(gain) and gain > 0):
            raise ArgumentError(f"gain must be a positive number, got {gain}; 1 leaves it as it is")
        self.network, self.spacing_mm, self.check = network, spacing_mm, check
        network.first_state()  # refuses a network that looks ahead
        self.latencies = LatencyHistogram()
        self.num_frames, self.num_resets = 0, 0
        self.size: tuple[int, int] | None = None
        self._interval_s = 1 / (frame_rate_hz or ASSUMED_RATE_HZ)
        self._known_sector = sector, gain
        self.waits, self._thread = True, ThreadPoolExecutor(1, "find-sector")
        self._search: Future[tuple[Sector, float] | None] | None = None
        self._stated: Clip | None = None
        self._scene = SceneChangeDetector(self._interval_s)
        self._beats = RunningBeats()
        self._last_time_s: float | None = None
        self._reset = ""

    def describe(self, stated: Clip) -> None:
        """Take what a source states of its clip: scale, unless given, view, boxes and warnings."""
        self._stated = replace(stated, spacing_mm=self.spacing_mm or stated.spacing_mm)

    def push(
        self, frame: np.ndarray, time_s: float | None = None, *, arrived_s: float | None = None
    ) -> FrameResult:
        """Segment and measure one frame.

        Args:
            frame: `H W` uint8, of the first frame's size, its sides within
                `io.frames.FRAME_SIDE_PX`.
            time_s: Its time in the source, later than the last one's; counted on from the last by
                the frame rate by default.
            arrived_s: `time.perf_counter()` at its arrival; now by default.

        Raises:
            ArgumentError: If the frame has a wrong shape, dtype or size, or is not later than the
                last one; the session is then unchanged.
        """
        arrived_s = time.perf_counter() if arrived_s is None else arrived_s
        if not _is_finite(arrived_s):
            raise ArgumentError(f"arrived_s must be a time in seconds, got {arrived_s!r}; leave it")
        self._check(frame)
        time_s = self._time(time_s)
        if self._stated is None:
            self.describe(Clip(frames=frame[None]))
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
        if self.check is not None and self._sector is not None:
            self.check.push(time_s, frame, mask)
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
            ef=self.state_ef(),
            num_beats=self._beats.num_beats,
            beat=self._beats.finished[-1] if self._beats.finished else None,
            reset=reset,
            latency_s=latency_s,
        )

    def state_ef(self, *, is_last: bool = False) -> EfStatement:
        """What may be stated of the EF; `is_last` waits until the last beats are checked."""
        ef_percent, check = self._beats.ef_percent, self.check
        if check is not None and check.no_ef_because:
            return state_ef(None, reason=check.no_ef_because)
        if ef_percent is None:
            return state_ef(None, reason=NO_RECENT_BEAT if self._beats.num_beats else NO_BEAT)
        if check is None:
            return state_ef(ef_percent, reliable=False, reason=NOT_CHECKED)
        if self._sector is None or self._stated is None:
            return state_ef(None, reason=NO_SECTOR)
        checked = check.state(self._beats.num_beats, self._sector, self._stated, is_last=is_last)
        return checked or state_ef(None, reason=BEING_CHECKED)

    def reset(self, reason: str = "reset") -> None:
        """Forget the picture, the state and the beats; frame count and latencies continue.

        The next result holds the reason.
        """
        self._reset = reason
        self.num_resets += 1
        self._scene.forget()
        self._beats.forget()
        if self.check is not None:
            self.check.forget()
        if self.size is not None:
            self._begin(self.size)

    def restart(self) -> None:
        """Reset, and accept a frame of any size and time next, for a reopened source."""
        self.reset("restart")
        self.size = self._stated = self._last_time_s = None

    def _check(self, frame: object) -> None:
        """Refuse a frame that does not fit."""
        if not isinstance(frame, np.ndarray) or frame.ndim != 2 or frame.dtype != np.uint8:
            got = (
                f"{frame.shape} {frame.dtype}"
                if isinstance(frame, np.ndarray)
                else type(frame).__name__
            )
            raise ArgumentError(f"frame must be an (H, W) uint8 array of grey levels, got {got}")
        min_side, max_side = FRAME_SIDE_PX
        if not all(min_side <= side <= max_side for side in frame.shape):
            raise ArgumentError(
                "frame must have sides of {} to {} pixels, got {} x {}; scale it first".format(
                    min_side, max_side, *frame.shape
                )
            )
        if self.size is not None and frame.shape != self.size:
            raise ArgumentError(
                "a frame must have the {} x {} pixels of the session's first, got {} x {}; "
                "restart the session for another source".format(*self.size, *frame.shape)
            )
        sector = self._known_sector[0]
        if sector is not None and frame.shape != sector.mask.shape:
            raise ArgumentError(
                "a frame must have the {} x {} pixels of the sector given, got {} x {}; leave the "
                "sector out and it is found".format(*sector.mask.shape, *frame.shape)
            )

    @property
    def sector(self) -> Sector | None:
        """The sector, from about a second on."""
        return self._sector

    def _time(self, time_s: float | None) -> float:
        """Time of the frame; refused when not finite or not later than the last."""
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
        """Start with the whole picture, or the known sector, and the first state."""
        sector, gain = self._known_sector
        self._stored: list[np.ndarray] = []
        self._stored_since_s: float | None = None
        if self._search is not None:
            self._search.cancel()
        self._search = None
        self._set_sector(size, sector, gain)

    def _set_sector(self, size: tuple[int, int], sector: Sector | None, gain: float) -> None:
        self._sector = sector
        self._transform = FrameTransform(size, self.network.size_px, sector=sector, gain=gain)
        self._state = self.network.first_state()

    def _segment(self, frame: np.ndarray, time_s: float) -> np.ndarray:
        if self._sector is None:
            self._update_sector(frame, time_s)
        logits, self._state = self.network.step(self._transform.apply(frame), self._state)
        return clean_mask(self._transform.invert(logits))

    def _update_sector(self, frame: np.ndarray, time_s: float) -> None:
        """Store a bounded number of frames of the first second, then find the sector."""
        if self._search is None:
            self._search = self._store(frame, time_s)
        if self._search is None or not (self.waits or self._search.done()):
            return
        result, self._search = self._search.result(), None
        if result is not None and self.size is not None:  # else nothing moves: again in a second
            self._set_sector(self.size, *result)

    def _store(
        self, frame: np.ndarray, time_s: float
    ) -> Future[tuple[Sector, float] | None] | None:
        """Store a frame; begin the search when there are enough."""
        if self._stored_since_s is None:
            self._stored_since_s = time_s
        self._stored.append(frame.copy())
        if len(self._stored) == 2 * SECTOR_FRAMES:
            self._stored = self._stored[::2]
        if time_s - self._stored_since_s < SECTOR_AFTER_S or len(self._stored) < 8:
            return None
        assert self._stated is not None
        stored, self._stored, self._stored_since_s = self._stored, [], None
        return self._thread.submit(_search, self._stated, stored)

    def _volume(self, mask: np.ndarray) -> tuple[float | None, float | None, float | None]:
        """Volume of the cavity for the curve (one unit per session), in ml, and in cubic pixels."""
        nothing, sector = (None, None, None), self._sector
        spacing_mm = self._stated.spacing_mm if self._stated else None
        if (mask == Label.LV_CAVITY).sum() < max(1, MIN_LV_FRACTION * mask.size):
            return nothing
        try:
            volume, length_mm = mask_volume_ml(mask, spacing_mm or (1.0, 1.0))
            if not volume > 0:
                return nothing
            if spacing_mm is None:
                return volume, None, 1000 * volume  # as if a pixel had 1 mm
            is_deep = sector is not None and not depth_warnings(sector.num_rows, spacing_mm)
            if is_deep and MIN_LV_LENGTH_MM <= length_mm <= MAX_LV_LENGTH_MM:
                return volume, volume, None
            return volume, None, 1000 * mask_volume_ml(mask, (1.0, 1.0))[0]
        except MeasurementError:
            return nothing


def _search(stated: Clip, stored: list[np.ndarray]) -> tuple[Sector, float] | None:
    """The sector and its gain; None where nothing moves."""
    clip = replace(stated, frames=np.stack(stored))
    sector = find_sector(clip)
    return None if sector is None else (sector, sector_gain(clip, sector))


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)
