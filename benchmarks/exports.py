"""Does an interval hold for the same hearts exported in another way? A table.

    python benchmarks/exports.py camus animated:CAMUS:validation -o OUT

`OUT/clips.json` is that of `reliability.py`, run first. Each export changes the picture and not the
heart. Every patient is evaluated by a calibration on the patients of other folds; the interval must
cover as often as on the clips as they are. Written: `OUT/exports.json` (delete it to measure anew)
and `OUT/exports.md`.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from echoseg.clip import Clip
from echoseg.evaluation.calibrate import (
    CLEAN,
    EXPORT,
    CalibrationClip,
    analyze_copy,
    true_ef_of,
)
from echoseg.inference.analyzer import Analyzer
from reliability import GOOD_POINTS, LARGE_POINTS, EvaluatedClip, evaluate, records_of

BOOTSTRAPS, SEED = 1000, 0
HEADER = (
    "| export | n | covered | difference | MAE | EF changes by | width | found of errors over 15 | "
    "unreliable among errors up to 10 |"
)


def levels(curve: Callable[[np.ndarray], np.ndarray]) -> Callable[[Clip], Clip]:
    """An export through a curve of grey levels, 0 to 1."""
    table = (255 * curve(np.arange(256) / 255).clip(0, 1)).round().astype(np.uint8)
    return lambda clip: replace(clip, frames=table[clip.frames])


def cut_blacks(grey: int) -> Callable[[Clip], Clip]:
    """An export that cuts dark grey levels off."""
    return levels(lambda level: (255 * level - grey) / (255 - grey))


def crop(clip: Clip) -> Clip:
    """Without 4 % at the top and 8 % at the other sides."""
    rows, columns = (int(0.08 * side) for side in clip.size)
    return replace(clip, frames=clip.frames[:, rows // 2 : -rows, columns:-columns].copy())


EXPORTS: dict[str, Callable[[Clip], Clip]] = {
    "blacks cut at 32": cut_blacks(32),
    "gain 1.5": levels(lambda level: 1.5 * level),
    "cropped": crop,
}


def measure(model: str, data: str) -> list[CalibrationClip]:
    """Each clip in each export."""
    analyzer, clips = Analyzer(model, "cpu"), []
    for record in records_of(data):
        clip, annotation = record.load()
        assert annotation is not None
        true_ef = true_ef_of(record, clip, annotation)
        for name, change in EXPORTS.items():
            if true_ef is not None:
                clips += analyze_copy(analyzer, record, change(clip), name, true_ef)[0]
    return clips


def row(name: str, group: list[EvaluatedClip], clean: dict[str, EvaluatedClip]) -> str:
    """One row: coverage and its difference from that of the same clips as they are."""
    group = [one for one in group if one.clip.name in clean]
    pairs = [(one, clean[one.clip.name]) for one in group]
    change = np.array([float(a.is_covered) - b.is_covered for a, b in pairs])
    patients = np.array([one.clip.sample.patient for one in group])
    places = [np.flatnonzero(patients == patient) for patient in np.unique(patients)]
    rng = np.random.default_rng(SEED)
    drawn = [
        change[np.concatenate([places[i] for i in rng.integers(len(places), size=len(places))])]
        for _ in range(BOOTSTRAPS)
    ]
    low, high = 100 * np.quantile([one.mean() for one in drawn], [0.025, 0.975])
    errors = np.array([one.error_points for one in group])
    fires = np.array([bool(one.unreliable_because) for one in group])
    moved = [abs(a.clip.sample.ef_percent - b.clip.sample.ef_percent) for a, b in pairs]
    return (
        f"| {name} | {len(group)} | {100 * np.mean([one.is_covered for one in group]):.0f} % | "
        f"{100 * change.mean():+.0f} ({low:+.0f} to {high:+.0f}) | {errors.mean():.1f} | "
        f"{np.mean(moved):.1f} | {np.mean([one.width_points for one in group]):.1f} | "
        f"{fires[errors > LARGE_POINTS].sum()} of {(errors > LARGE_POINTS).sum()} | "
        f"{100 * fires[errors <= GOOD_POINTS].mean():.0f} % |"
    )


def main() -> None:
    """Measure, evaluate and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    adapter = TypeAdapter(list[CalibrationClip])
    cache = options.output / "exports.json"
    if not cache.exists():
        measured = measure(options.model, options.data)
        cache.write_bytes(adapter.dump_json(measured, indent=1, round_trip=True))
    exported = adapter.validate_json(cache.read_bytes())
    fitted = adapter.validate_json((options.output / "clips.json").read_bytes())
    evaluated = evaluate([*fitted, *exported], num_fitted=len(fitted))
    clean = {
        one.clip.name: one
        for one in evaluated
        if one.clip.kind == CLEAN and one.clip.sample.view != "biplane"
    }
    lines = [HEADER, "|---" * 9 + "|", row("none", list(clean.values()), clean)]
    for name in (*EXPORTS, EXPORT):
        lines.append(row(name, [one for one in evaluated if one.clip.kind == name], clean))
    (options.output / "exports.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
