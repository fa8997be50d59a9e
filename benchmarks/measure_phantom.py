"""How wrong are EF, phases and volumes read off *true* masks, and what does smoothing change?

    python benchmarks/measure_phantom.py [--hearts 200] [--json OUT]

A4C phantom clips of 2.5 s at 40 frames per second. The masks are the true ones, so all error
is that of the method: one plane for a body, disks for a shape, beats found in a curve. For the
smoother each frame's mask is also stretched about its middle at random, frame by frame, as a
network's masks tremble. Truth is EF by the body's volume, mean over the true beats.
"""

import argparse
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import affine_transform

from echoseg.clip import Label, View
from echoseg.measure.biplane import combine_views
from echoseg.measure.measure import measure_masks
from echoseg.measure.measurement import Measurement
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.phantom.config import Rhythm
from echoseg.phantom.truth import Truth
from speed import machine

FIRST_SEED = 1_000_000
NUM_FRAMES, RATE_HZ = 100, 40.0
TREMBLES = (0.0, 0.02, 0.04)
"""SD of each frame's stretch; volume changes by three times as much."""
NEAR_FRAMES = 2
Row = dict[str, Any]


def tremble(masks: np.ndarray, sd: float, generator: np.random.Generator) -> np.ndarray:
    """Return masks each stretched about its cavity's middle by its own random factor."""
    if not sd:
        return masks
    stretched = np.zeros_like(masks)
    for index, mask in enumerate(masks):
        factor = math.exp(-generator.normal(0, sd))
        middle = np.argwhere(mask == Label.LV_CAVITY).mean(0)
        offset = middle - factor * middle
        stretched[index] = affine_transform(mask, [factor, factor], offset, order=0)
    return stretched


def true_ef_percent(volumes: np.ndarray, truth: Truth) -> float:
    """Return the mean over the true beats of the EF between a curve's extremes."""
    results = []
    for _, es in truth.beats:
        beat = np.flatnonzero(truth.beat_index == truth.beat_index[es])
        results.append(1 - volumes[beat].min() / volumes[beat[beat <= es]].max())
    return float(100 * np.mean(results))


def frames_off(measurement: Measurement, truth: Truth) -> tuple[list[int], list[int], int]:
    """Return how far ED and ES lie from the truth's, in frames, and the beats not found."""
    ed_off, es_off, missed = [], [], 0
    for ed, es in truth.beats:
        near = min(measurement.beats, key=lambda beat: abs(beat.es_frame - es), default=None)
        if near is None or abs(near.es_frame - es) > 0.25 * RATE_HZ:
            missed += 1
            continue
        ed_off.append(near.ed_frame - ed)
        es_off.append(near.es_frame - es)
    return ed_off, es_off, missed


def rows_of(seed: int) -> list[Row]:
    """Return a row for each rhythm and each trembling of one heart."""
    rows = []
    rhythms = {
        Rhythm.SINUS: TREMBLES,
        Rhythm.ATRIAL_FIBRILLATION: (0.02,),
        Rhythm.PREMATURE: (0.02,),
    }
    for rhythm, sds in rhythms.items():
        config = PhantomConfig(
            seed=seed, num_frames=NUM_FRAMES, frame_rate_hz=RATE_HZ, rhythm=rhythm
        )
        truth = Phantom(config).truth()
        if not truth.beats:
            continue
        for sd in sds:
            masks = tremble(truth.masks, sd, np.random.default_rng(seed))
            start = time.perf_counter()
            measurement = measure_masks(masks, spacing_mm=truth.spacing_mm, times_s=truth.times_s)
            rows.append(
                {
                    "seed": seed,
                    "rhythm": str(rhythm),
                    "tremble": sd,
                    "measure_s": time.perf_counter() - start,
                    "foreshortening_deg": truth.foreshortening_deg,
                    "true_ef": true_ef_percent(truth.volume_ml, truth),
                    "plane_ef": true_ef_percent(truth.disk_volume_ml, truth),
                    "ef": measurement.ef_percent,
                    "ef_unsmoothed": measurement.ef_unsmoothed_percent,
                    "off": frames_off(measurement, truth),
                    "refusal": measurement.refusal,
                }
            )
    return rows


def biplane_row(seed: int) -> Row | None:
    """Return EF of one heart from A4C, from A2C and from both; None without a whole beat."""
    config = PhantomConfig(
        seed=seed, num_frames=NUM_FRAMES, frame_rate_hz=RATE_HZ, rhythm=Rhythm.SINUS
    )
    truths = [Phantom(config.changed(view=view)).truth() for view in (View.A4C, View.A2C)]
    if not truths[0].beats:
        return None
    planes = [
        measure_masks(truth.masks, spacing_mm=truth.spacing_mm, times_s=truth.times_s)
        for truth in truths
    ]
    both = combine_views(*planes)
    return {
        "true_ef": true_ef_percent(truths[0].volume_ml, truths[0]),
        "a4c": planes[0].ef_percent,
        "a2c": planes[1].ef_percent,
        "both": both.ef_percent,
        "flagged": "foreshortened" in {warning.code for warning in both.warnings},
    }


def biplane_summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return the errors of one plane and of two, against the body."""
    results = {
        "A4C alone, against the body": errors(rows, "a4c", "true_ef"),
        "A2C alone, against the body": errors(rows, "a2c", "true_ef"),
        "biplane, against the body": errors(rows, "both", "true_ef"),
    }
    for flagged, name in ((False, "not flagged"), (True, "flagged")):
        part = [row for row in rows if row["flagged"] is flagged]
        if len(part) > 1:
            results[f"biplane, {name} as foreshortened"] = errors(part, "both", "true_ef")
    return results


def errors(rows: Iterable[Row], key: str, against: str) -> dict[str, float]:
    """Return bias, SD, MAE and the share over 15 points of a reading against a truth."""
    off = np.array([row[key] - row[against] for row in rows if row[key] is not None])
    return {
        "n": len(off),
        "bias": float(off.mean()),
        "sd": float(off.std(ddof=1)),
        "mae": float(np.abs(off).mean()),
        "over_15": float((np.abs(off) > 15).mean()),
    }


def row_text(name: str, results: dict[str, float]) -> str:
    """Return one line of a table."""
    return (
        f"| {name} | {results['n']} | {results['bias']:+.2f} | {results['sd']:.2f} "
        f"| {results['mae']:.2f} "
        f"| {100 * results['over_15']:.1f} % |"
    )


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return the error of each reading over each group of clips."""
    sinus = [row for row in rows if row["rhythm"] == Rhythm.SINUS]
    exact = [row for row in sinus if not row["tremble"]]
    results = {
        "true masks, against the body": errors(exact, "ef", "true_ef"),
        "true masks, against the plane's exact line": errors(exact, "ef", "plane_ef"),
        "the plane's exact line, against the body": errors(exact, "plane_ef", "true_ef"),
    }
    for low, high in ((0, 5), (5, 10), (10, 90)):
        part = [row for row in exact if low <= row["foreshortening_deg"] < high]
        if len(part) > 1:
            results[f"foreshortened {low} to {high} degrees, against the body"] = errors(
                part, "ef", "true_ef"
            )
    for sd in TREMBLES:
        part = [row for row in sinus if row["tremble"] == sd]
        results[f"tremble {sd:g}, regularised, against the plane"] = errors(part, "ef", "plane_ef")
        results[f"tremble {sd:g}, not, against the plane"] = errors(
            part, "ef_unsmoothed", "plane_ef"
        )
    for rhythm in (Rhythm.ATRIAL_FIBRILLATION, Rhythm.PREMATURE):
        part = [row for row in rows if row["rhythm"] == rhythm]
        results[f"{rhythm}, tremble 0.02, against the plane"] = errors(part, "ef", "plane_ef")
    return results


def phase_lines(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return the share of beats found, and of ED and ES within two frames."""
    results = {}
    for rhythm in Rhythm:
        for sd in TREMBLES:
            offs = [r["off"] for r in rows if (r["rhythm"], r["tremble"]) == (rhythm, sd)]
            ed, es = ([step for off in offs for step in off[which]] for which in (0, 1))
            if ed:
                results[f"{rhythm}, tremble {sd:g}"] = {
                    "beats": len(ed) + sum(off[2] for off in offs),
                    "found": len(ed) / (len(ed) + sum(off[2] for off in offs)),
                    "ed_near": float((np.abs(ed) <= NEAR_FRAMES).mean()),
                    "es_near": float((np.abs(es) <= NEAR_FRAMES).mean()),
                }
    return results


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hearts", type=int, default=200)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = [row for seed in range(args.hearts) for row in rows_of(FIRST_SEED + seed)]
    pairs = [biplane_row(FIRST_SEED + seed) for seed in range(args.hearts)]
    errors_of = summary(rows) | biplane_summary([pair for pair in pairs if pair])
    phases = phase_lines(rows)
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    took_s = float(np.median([row["measure_s"] for row in rows]))
    print(f"{args.hearts} hearts, {took_s:.2f} s a clip of {NUM_FRAMES} frames; no EF for "
          f"{sum(bool(row['refusal']) for row in rows)} of {len(rows)} clips")  # fmt: skip
    print("| EF, points | clips | bias | SD | MAE | over 15 points |\n|---|---|---|---|---|---|")
    print("\n".join(row_text(name, results) for name, results in errors_of.items()))
    print("| beats | number | found | ED near | ES near |\n|---|---|---|---|---|")
    for name, one in phases.items():
        print(f"| {name} | {one['beats']} | {100 * one['found']:.1f} % | "
              f"{100 * one['ed_near']:.1f} % | {100 * one['es_near']:.1f} % |")  # fmt: skip
    if args.json:
        results = {"machine": machine(), "hearts": args.hearts, "measure_s": took_s,
                 "ef_points": errors_of, "phases": phases}  # fmt: skip
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
