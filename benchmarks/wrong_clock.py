"""What a wrong frame rate does to EF, and how often it is noticed.

    python benchmarks/wrong_clock.py [--hearts 24] [--camus FOLDER] [--patients 30]

The volume curves of `cut_clips`, at their own clock and at one that is wrong by a factor.
"""

from collections import defaultdict

import numpy as np

from cut_clips import curves_of_arguments
from echoseg.measure.measure import Curves, Timing, read_curves
from echoseg.measure.phases import part_of_beat

FACTORS = (1 / 4, 1 / 3, 1 / 2, 2, 3, 4)
MAX_CHANGE_POINTS = 2.0


def read_at(volumes: np.ndarray, frame_s: float) -> tuple[float, Curves]:
    """Return the EF of a curve at a clock, and how the curve was read."""
    times_s = np.arange(len(volumes)) * frame_s
    curves, beats, _ = read_curves(volumes, Timing(times_s=times_s))
    used = [beat for beat in beats if not beat.left_out]
    used = used or [part_of_beat(curves.smoothed, np.isfinite(volumes))]
    return 100 * float(np.mean([beat.ejection_ratio for beat in used])), curves


def main() -> None:
    """Print changes of EF and rejected clocks by kind of clip."""
    clips = curves_of_arguments(__doc__)
    changes: dict[str, list[list[float]]] = defaultdict(list)
    rejected: dict[str, list[bool]] = defaultdict(list)
    stated: list[float] = []
    num_rejected = 0
    for name, volumes, frame_s in clips:
        right, own = read_at(volumes, frame_s)
        num_rejected += own.frame_s is None
        changes[name].append([])
        for factor in FACTORS:
            ef, curves = read_at(volumes, factor * frame_s)
            changes[name][-1].append(abs(ef - right))
            rejected[name].append(curves.frame_s is None)
            if not curves.cut_reason:
                stated.append(abs(ef - right))
    for name, values in changes.items():
        largest = ", ".join(f"{value:.1f}" for value in np.max(values, 0))
        print(f"| {name} | {len(values)} | {largest} | {np.mean(rejected[name]):.0%} |")
    over = [value for value in stated if value > MAX_CHANGE_POINTS]
    print(f"rejected at the right clock: {num_rejected} of {len(clips)}")
    print(
        f"stated with a change over {MAX_CHANGE_POINTS:g} points: {len(over)} of "
        f"{len(FACTORS) * len(clips)}, at most {max(over, default=0):.1f}"
    )


if __name__ == "__main__":
    main()
