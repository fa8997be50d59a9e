"""How wrong is an EF that is read off a part of a beat, and which parts are withheld?

    python benchmarks/cut_clips.py [--hearts 24] [--camus FOLDER] [--patients 30]

Volume curves of true masks (phantom-v2 with and without trembling; animated stills of CAMUS's
validation patients), cut into windows of 0.4 to 1.2 s. Each window's EF is compared with that of
the beat of the whole clip that is nearest to it, and sorted by whether `echoseg analyze` would
state it. A window without an ED and ES of one beat is wrongly withheld where its error is at most
5 points.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from echoseg.measure.curve import smooth
from echoseg.measure.frame import measure_each
from echoseg.measure.phases import cut_reason, find_beats, part_of_beat
from echoseg.measure.plausible import fill_gaps
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.phantom.config import Rhythm
from measure_phantom import FIRST_SEED, NUM_FRAMES, RATE_HZ, tremble

WINDOWS_S = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
NUM_STARTS = 12
MAX_ERROR_POINTS = 5.0


def volumes_of(masks: np.ndarray) -> np.ndarray:
    """Return the volume of each label map, in any unit; NaN where there is none."""
    return np.array([frame.volume for frame in measure_each(masks, None)])


def phantom_curves(hearts: int) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield name, volumes and frame interval of simulated hearts."""
    for seed in range(FIRST_SEED, FIRST_SEED + hearts):
        for rhythm in (Rhythm.SINUS, Rhythm.ATRIAL_FIBRILLATION):
            config = PhantomConfig(
                seed=seed, num_frames=NUM_FRAMES, frame_rate_hz=RATE_HZ, rhythm=rhythm
            )
            masks = Phantom(config).truth().masks
            for sd in (0.0, 0.02):
                trembling = tremble(masks, sd, np.random.default_rng(seed))
                yield f"phantom, {rhythm}, {sd:.0%}", volumes_of(trembling), 1 / RATE_HZ


def camus_curves(folder: str, patients: int) -> Iterator[tuple[str, np.ndarray, float]]:
    """Yield name, volumes and frame interval of animated validation patients, both views."""
    from echoseg.data.animated import open_animated

    data = open_animated(f"animated:{folder}:validation")
    for index in range(min(len(data), 2 * patients)):
        clip, annotation = data[index]
        times_s = clip.times_s
        if annotation is not None and times_s is not None:
            frame_s = float(np.median(np.diff(times_s)))
            yield "CAMUS, animated", volumes_of(annotation.masks), frame_s


def read(volumes: np.ndarray, frame_s: float) -> tuple[list[float], bool, bool]:
    """Return the EF of each beat, whether they are whole, and whether they are stated."""
    curve, known = smooth(fill_gaps(volumes), frame_s), np.isfinite(volumes)
    beats = find_beats(curve, frame_s, (), known)
    used = beats or [part_of_beat(curve, known)]
    is_stated = not cut_reason(curve, beats, known, frame_s)
    return [100 * beat.ejection_ratio for beat in used], bool(beats), is_stated


def curves_of_arguments(description: str | None) -> list[tuple[str, np.ndarray, float]]:
    """Return name, volumes and frame interval of the hearts that the command line asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--hearts", type=int, default=24)
    parser.add_argument("--camus", default="")
    parser.add_argument("--patients", type=int, default=30)
    options = parser.parse_args()
    curves = list(phantom_curves(options.hearts))
    if options.camus:
        curves += camus_curves(options.camus, options.patients)
    return curves


def main() -> None:
    """Print errors by kind of clip and kind of window."""
    curves = curves_of_arguments(__doc__)
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    for name, volumes, frame_s in curves:
        truths, _, _ = read(volumes, frame_s)
        for window_s in WINDOWS_S:
            length = round(window_s / frame_s)
            last = len(volumes) - length
            for start in range(0, last + 1, max(1, last // NUM_STARTS)) if length > 4 else ():
                window = volumes[start : start + length]
                efs, is_whole, is_stated = read(window, frame_s)
                ef = float(np.mean(efs))
                error = ef - min(truths, key=lambda true: abs(true - ef))  # used here
                kind = "whole systole" if is_whole else "part of a beat"
                errors[name, kind].append(error)
                errors[name, f"{kind}, {'stated' if is_stated else 'withheld'}"].append(error)
    for (name, kind), values in sorted(errors.items()):
        size = np.abs(values)
        print(
            f"| {name} | {kind} | {len(size)} | {np.mean(values):+.1f} | {size.mean():.1f} | "
            f"{np.mean(size > MAX_ERROR_POINTS):.0%} | {np.mean(size > 15):.1%} | "
            f"{size.max():.0f} |"
        )


if __name__ == "__main__":
    main()
