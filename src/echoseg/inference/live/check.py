"""What may be stated of a live EF: the last seconds, measured and assessed as a clip is.

Each time a beat has finished, the last frames go with their masks through `Analyzer.assess`, in a
thread of its own because that takes longer than a frame. Memory is constant.
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from echoseg.clip import Clip, View
from echoseg.errors import EchosegError
from echoseg.inference.analyzer import Analyzer
from echoseg.inference.ef_statement import EfStatement, state_ef
from echoseg.preprocess.sector import Sector

WINDOW_S, MAX_RATE_HZ = 4.0, 30.0
"""Frames that are stored: two beats even of a slow heart, and no more of a fast source."""
NOT_CHECKED = "The EF of this live run was not checked; record the clip and analyze it."
MIRRORED = "The picture is mirrored, which a live run does not correct; record and analyze it."


class EfCheck:
    """Checks the EF of a session.

    Args:
        analyzer: What would analyze the clip.
        view: The view, if known; overrides the source's.
    """

    def __init__(self, analyzer: Analyzer, *, view: View = View.UNKNOWN) -> None:
        self.no_ef_because = analyzer.model_card.ef_unsupported_because
        self._analyzer, self._view = analyzer, view
        self._thread = ThreadPoolExecutor(1, "ef-check")
        self.forget()

    def forget(self) -> None:
        """Forget frames and statement, and what is being checked."""
        self._frames: deque[tuple[float, np.ndarray, np.ndarray]] = deque()
        self._running: Future[EfStatement] | None = None
        self._num_beats = 0
        self._statement: EfStatement | None = None

    def push(self, time_s: float, frame: np.ndarray, mask: np.ndarray) -> None:
        """Store a frame, unless frames come too fast, and its mask."""
        if self._frames and time_s - self._frames[-1][0] < 0.99 / MAX_RATE_HZ:
            return
        self._frames.append((time_s, frame.copy(), mask))
        while self._frames[0][0] < time_s - WINDOW_S:
            self._frames.popleft()

    def state(
        self, num_beats: int, sector: Sector, stated: Clip, *, is_last: bool = False
    ) -> EfStatement | None:
        """What may be stated after `num_beats`; None until the first check is done.

        A check begins with each new beat, unless one runs; `is_last` waits for it. `stated` is
        what the source states of its clip, as in `Session.describe`.
        """
        self._collect(is_last)
        if num_beats > self._num_beats and self._frames and self._running is None:
            self._num_beats = num_beats
            view = stated.view if self._view is View.UNKNOWN else self._view
            stated, window = replace(stated, view=view), tuple(self._frames)
            self._running = self._thread.submit(self._check, window, stated, sector)
            self._collect(is_last)
        return self._statement

    def _collect(self, waits: bool) -> None:
        """Take the result of a check that is done."""
        if self._running and (waits or self._running.done()):
            self._statement, self._running = self._running.result(), None

    def _check(
        self, window: tuple[tuple[float, np.ndarray, np.ndarray], ...], stated: Clip, sector: Sector
    ) -> EfStatement:
        # not before the thread begins: of large frames it takes as long as several of them
        times_s, frames, masks = (np.stack(part) for part in zip(*window, strict=True))
        clip = replace(stated, frames=frames, times_s=times_s - times_s[0])
        try:
            view = self._analyzer.score_view(clip, sector)
            analysis = self._analyzer.assess(clip, sector, masks, view)
        except EchosegError as error:
            return state_ef(None, reason=str(error))
        if view.is_mirrored and analysis.ef.value:
            return state_ef(analysis.ef_percent, reliable=False, reason=MIRRORED)
        return analysis.ef
