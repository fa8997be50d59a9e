"""Is this still the same picture? A cut to another one and a probe that moved, told from a heart.

A frame is shrunk to about 28 x 28 and correlated, inside the sector, with the running mean of the
last second: grey level and gain fall out. A beating heart stays above 0.94 on the phantom and above
0.76 on a real clip of a breathing patient; moving the probe by a tenth of the picture's width
gives 0.34 to 0.63 on the phantom and 0.21 on the real clip. A *cut* falls out of what was usual
from one frame to the next and stays there; a *move* stays below 0.6 for a fifth of a second. A
single black or noisy frame is neither.
"""

import numpy as np

from echoseg.errors import ArgumentError

CUT, MOVE = "cut", "probe moved"
_SIDE = 28
"""Rows and columns of the shrunk picture, at least."""
_MEMORY_S, _MOVE_S = 1.0, 0.2
_CUT_FRAMES = 3
"""So many frames must agree that it was no single spoilt one."""
LEAST_CUT, CUT_TIMES = 0.08, 4.0
"""A cut: unlikeness (1 - correlation) over both this and so many times what was usual."""
MOST_UNLIKE = 0.4
_DARK = 4.0
"""Grey level up to which nothing is seen."""
_SETTLED_S = 0.5


class SceneChangeDetector:
    """Watches the frames of one source; constant memory.

    Args:
        frame_interval_s: Time between frames.
    """

    def __init__(self, frame_interval_s: float) -> None:
        if not frame_interval_s > 0:
            raise ArgumentError(f"frame_interval_s must be positive, got {frame_interval_s:g}")
        self._interval_s = frame_interval_s
        self.forget()

    def forget(self) -> None:
        """Begin anew with the next frame."""
        self._mean: np.ndarray | None = None
        self._seen = 0
        self._usual = 0.0
        self._suspected = 0
        self._is_jump = False
        self._last: np.ndarray | None = None

    def watch(self, frame: np.ndarray) -> str:
        """Take in a frame `H W`; return `CUT` or `MOVE` where the picture became another one."""
        small = _shrunk(frame)
        if self._mean is None:
            self._mean, self._seen, self._last = small, 1, small
            return ""
        unlike = _unlikeness(small, self._mean)
        jump = _unlikeness(small, self._last) if self._last is not None else 0.0
        self._last = small
        if np.isnan(unlike):  # a black frame says nothing
            return ""
        settled = self._seen * self._interval_s > _SETTLED_S
        is_odd = settled and unlike > max(LEAST_CUT, CUT_TIMES * self._usual)
        if is_odd or (settled and unlike > MOST_UNLIKE):
            return self._suspect(unlike, jump)
        self._suspected, self._is_jump = 0, False
        self._learn(small, unlike)
        return ""

    def _suspect(self, unlike: float, jump: float) -> str:
        """Count a frame that does not fit; tell what it was once enough of them agree."""
        self._suspected += 1
        if self._suspected == 1:
            self._is_jump = jump > 0.5 * unlike
        elif jump > 0.5 * unlike:  # does not fit the one before either: noise, not a new picture
            self._suspected = 1
        if self._is_jump and self._suspected >= _CUT_FRAMES:
            return CUT
        return MOVE if self._suspected * self._interval_s >= _MOVE_S else ""

    def _learn(self, small: np.ndarray, unlike: float) -> None:
        assert self._mean is not None
        self._seen += 1
        share = max(1 / self._seen, min(1.0, self._interval_s / _MEMORY_S))
        self._mean = self._mean + share * (small - self._mean)
        self._usual += share * (unlike - self._usual)


def _shrunk(frame: np.ndarray) -> np.ndarray:
    """Return the means of blocks of equal size, about 28 x 28 of them."""
    rows, columns = (max(1, side // _SIDE) for side in frame.shape)
    whole = frame[: frame.shape[0] // rows * rows, : frame.shape[1] // columns * columns]
    blocks = whole.reshape(whole.shape[0] // rows, rows, whole.shape[1] // columns, columns)
    return blocks.mean((1, 3), dtype=np.float32)


def _unlikeness(one: np.ndarray, reference: np.ndarray) -> float:
    """Return 1 - correlation where the reference shows something; NaN where nothing varies."""
    seen = reference > _DARK
    if seen.sum() < 8:
        return float("nan")
    a, b = one[seen] - one[seen].mean(), reference[seen] - reference[seen].mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return 1 - float((a * b).sum()) / size if size > 1e-3 else float("nan")
