"""How wrong is an EF read off a volume curve of known EF: jitter, a part of a beat, rhythm, clock?

    python benchmarks/readings.py [--frames CLIP/frames.csv]

Curves by formula, beats of 0.8 s: ejection 0.3 s, 0.08 s empty, filling 0.2 s, a plateau. No mask
and no network is involved, so all error is that of the reading. With `--frames`, windows of 30
frames of a real clip's curve (written by `echoseg analyze`) are read too, against the mean of its
whole beats.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from echoseg.measure.curve import frame_interval_s, smooth
from echoseg.measure.phases import Beat, find_beats, part_of_beat
from echoseg.measure.plausible import fill_gaps
from echoseg.measure.rhythm import mark_premature
from speed import machine

RATE_HZ, BEAT_S = 40.0, 0.8
CLIPS = 100
WINDOW_FRAMES = 30


def curve_of(lengths_s: np.ndarray, strokes: np.ndarray, first_s: float, num_frames: int):
    """Volumes of beats whose strokes are given, 100 at ED."""
    begins = np.concatenate([[0.0], np.cumsum(lengths_s)])
    times = first_s + np.arange(num_frames) / RATE_HZ
    beat = np.minimum(np.searchsorted(begins, times, side="right") - 1, len(lengths_s) - 1)
    since = times - begins[beat]
    share = 0.25 * (1 - np.cos(np.pi * np.clip((since - 0.05) / 0.3, 0, 1)))
    share *= 1 + np.cos(np.pi * np.clip((since - 0.43) / 0.2, 0, 1))
    return 100 - strokes[beat] * share


def read(curve: np.ndarray, frame_s: float = 1 / RATE_HZ) -> tuple[list[Beat], float]:
    """The beats of a curve, and its EF in percent, of a part of a beat where there is none."""
    smoothed = smooth(curve, frame_s)
    beats = mark_premature(find_beats(smoothed, frame_s))
    read_off = beats or [part_of_beat(smoothed, np.isfinite(curve))]
    ratios = [beat.ejection_ratio for beat in read_off if not beat.left_out]
    return beats, float(100 * np.mean(ratios))


def errors(name: str, off: list[float], extra: str = "") -> None:
    """Print one row of a table."""
    points = np.array(off)
    print(
        f"| {name} | {len(points)} | {points.mean():+.1f} | {np.abs(points).mean():.1f} "
        f"| {points.min():+.1f} to {points.max():+.1f} | {extra} |"
    )


def jitter_rows(generator: np.random.Generator) -> None:
    """Sinus rhythm, 2.5 s, frames whose size jitters: three times as much in volume."""
    for ef in (8, 15, 30, 60):
        for size_sd in (0.0, 0.01, 0.02):
            off, counts = [], []
            for _ in range(CLIPS):
                first_s = generator.uniform(0, BEAT_S)
                curve = curve_of(np.full(6, BEAT_S), np.full(6, float(ef)), first_s, 100)
                beats, ef_percent = read(curve * np.exp(3 * generator.normal(0, size_sd, 100)))
                off.append(ef_percent - ef)
                counts.append(len(beats))
            errors(f"EF {ef}, jitter {100 * size_sd:.0f} %", off, f"{np.mean(counts):.1f} beats")


def part_rows(generator: np.random.Generator) -> None:
    """Clips of 0.5 to 0.9 s, strokes alike or differing from beat to beat by an SD of 10 %."""
    for sd in (0.0, 0.1):
        rows: dict[str, list[float]] = {"no whole systole": [], "a whole systole": []}
        for _ in range(4 * CLIPS):
            strokes = 60 * (1 + sd * generator.normal(size=4))
            num_frames = int(generator.integers(20, 36))
            first_s = generator.uniform(BEAT_S, 2 * BEAT_S)
            beats, ef_percent = read(curve_of(np.full(4, BEAT_S), strokes, first_s, num_frames))
            rows["a whole systole" if beats else "no whole systole"].append(ef_percent - 60)
        for name, off in rows.items():
            errors(f"{name}, strokes differ by {100 * sd:.0f} %", off)


def rhythm_rows(generator: np.random.Generator) -> None:
    """One premature beat in eight sinus beats; atrial fibrillation; pulsus alternans."""
    rhythms: dict[str, list[float]] = {"one premature beat": [], "all beats alike": []}
    left_out = dict.fromkeys((*rhythms, "atrial fibrillation", "pulsus alternans"), 0)
    for _ in range(CLIPS):
        lengths, strokes = np.full(9, BEAT_S), np.full(9, 60.0)
        plain = curve_of(lengths, strokes, 0.1, 280)
        early = int(generator.integers(2, 7))
        lengths[early - 1], lengths[early] = 0.68 * BEAT_S, 1.3 * BEAT_S
        strokes[early], strokes[early + 1] = 30.0, 64.0
        fibrillating = generator.normal(BEAT_S, 0.2 * BEAT_S, 9).clip(0.65)
        curves = {
            "one premature beat": curve_of(lengths, strokes, 0.1, 270),
            "all beats alike": plain,
            "atrial fibrillation": curve_of(fibrillating, 60 * (fibrillating / 1.2), 0.1, 260),
            "pulsus alternans": curve_of(np.full(9, BEAT_S), np.resize([60.0, 45.0], 9), 0.1, 280),
        }
        for name, curve in curves.items():
            beats, ef_percent = read(curve)
            left_out[name] += any(beat.left_out for beat in beats)
            if name in rhythms:
                rhythms[name].append(ef_percent - 60)
    for name, off in rhythms.items():
        errors(name, off)
    for name, count in left_out.items():
        print(f"{name}: beats are left out in {count} of {CLIPS} clips")


def window_rows(path: Path) -> None:
    """Windows of a real clip."""
    with path.open() as file:
        rows = list(csv.DictReader(file))
    volumes = np.array([float(row["relative_volume"] or "nan") for row in rows])
    frame_s = frame_interval_s(np.array([float(row["time_s"]) for row in rows]))
    curve = fill_gaps(volumes)
    beats, whole = read(curve, frame_s)
    print(f"{path}: {len(beats)} beats, mean EF {whole:.1f} %")
    off: dict[str, list[float]] = {"no whole systole": [], "a whole systole": []}
    for first in range(len(curve) - WINDOW_FRAMES + 1):
        inside, ef_percent = read(curve[first : first + WINDOW_FRAMES], frame_s)
        off["a whole systole" if inside else "no whole systole"].append(ef_percent - whole)
    for name, some in off.items():
        errors(f"{WINDOW_FRAMES} frames, {name}", some)


def main() -> None:
    """Read, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=Path)
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print("| curve | clips | bias | MAE | range | |\n|---|---|---|---|---|---|")
    jitter_rows(generator)
    part_rows(generator)
    rhythm_rows(generator)
    if args.frames:
        window_rows(args.frames)


if __name__ == "__main__":
    main()
