"""How wrong are EF and phases off a *network's* masks, by tier, rhythm and view of the phantom?

    python benchmarks/network_phantom.py phantom [--hearts 12] [--json OUT]

Hearts of phantom-v2's test split, clips of 2.5 s at 40 frames per second, analysed as `echoseg
analyze` does: the whole error, against EF by the body's volume. A4C in every tier; rhythms other
than sinus, A2C, and both views together in tier `medium`.
"""

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.clip import View
from echoseg.data.phantom import simulate
from echoseg.errors import MeasurementError
from echoseg.inference.analysis import Analysis
from echoseg.inference.analyzer import Analyzer
from echoseg.measure.biplane import combine_views
from echoseg.phantom import PhantomConfig, Tier
from echoseg.phantom.benchmark import FIRST_SEED
from echoseg.phantom.config import Rhythm
from echoseg.phantom.truth import Truth
from measure_phantom import NEAR_FRAMES, NUM_FRAMES, RATE_HZ, frames_off, true_ef_percent
from speed import machine

Row = dict[str, Any]


def configs(heart: int) -> list[tuple[str, PhantomConfig]]:
    """Return the clips of one heart, each with the group it counts for."""
    base = PhantomConfig(
        seed=FIRST_SEED["test"] + heart,
        num_frames=NUM_FRAMES,
        frame_rate_hz=RATE_HZ,
        rhythm=Rhythm.SINUS,
        tier=Tier.MEDIUM,
        size_px=160,
    )
    results = [(f"A4C, sinus, {tier}", replace(base, tier=tier)) for tier in Tier]
    for rhythm in (Rhythm.ATRIAL_FIBRILLATION, Rhythm.PREMATURE):
        results.append((f"A4C, {rhythm}, medium", replace(base, rhythm=rhythm)))
    return [*results, ("A2C, sinus, medium", replace(base, view=View.A2C))]


def row_of(group: str, config: PhantomConfig, analyzer: Analyzer) -> tuple[Row, Analysis | None]:
    """Return what was found of one clip, or that it could not be done."""
    one = simulate(config)
    truth: Truth = one.truth
    row: Row = {
        "group": group,
        "seed": config.seed,
        "true_ef": true_ef_percent(truth.volume_ml, truth) if truth.beats else None,
        "ef": None,
        "off": ([], [], len(truth.beats)),
        "beats": len(truth.beats),
    }
    try:
        results = analyzer.analyze(one.clip)
    except MeasurementError as error:
        return row | {"refusal": str(error)}, None
    row["refusal"] = results.measurement.refusal
    row["ef"] = results.measurement.ef_percent
    row["off"] = frames_off(results.measurement, truth)
    row["warnings"] = [warning.code for warning in results.warnings]
    return row, results


def agreement(rows: Iterable[Row]) -> dict[str, float]:
    """Return the error of EF, and how often phases are within two frames."""
    rows = list(rows)
    off = np.array([r["ef"] - r["true_ef"] for r in rows if None not in (r["ef"], r["true_ef"])])
    ed, es = ([step for r in rows for step in r["off"][which]] for which in (0, 1))
    beats = sum(r["beats"] for r in rows)
    results = {
        "clips": len(rows),
        "without_ef": sum(r["ef"] is None for r in rows),
        "bias": float(off.mean()),
        "sd": float(off.std(ddof=1)),
        "low_limit": float(off.mean() - 1.96 * off.std(ddof=1)),
        "high_limit": float(off.mean() + 1.96 * off.std(ddof=1)),
        "mae": float(np.abs(off).mean()),
        "over_15": float((np.abs(off) > 15).mean()),
        "outside_0_to_90": sum(r["ef"] is not None and not 0 <= r["ef"] <= 90 for r in rows),
    }
    if ed:
        results |= {
            "beats": beats,
            "beats_found": 1 - sum(r["off"][2] for r in rows) / max(beats, 1),
            "ed_near": float((np.abs(ed) <= NEAR_FRAMES).mean()),
            "es_near": float((np.abs(es) <= NEAR_FRAMES).mean()),
        }
    return results


def main() -> None:
    """Simulate, analyse, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--hearts", type=int, default=12)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    start = time.monotonic()
    analyzer = Analyzer(args.model, "cpu")
    rows: list[Row] = []
    for heart in range(args.hearts):
        planes: dict[str, Analysis] = {}
        true_ef = None
        for group, config in configs(heart):
            row, results = row_of(group, config, analyzer)
            rows.append(row)
            if results is not None and config.rhythm is Rhythm.SINUS and config.tier is Tier.MEDIUM:
                planes[str(config.view)] = results
                true_ef = row["true_ef"]
        if len(planes) == 2 and true_ef is not None:
            both = combine_views(planes["A4C"].measurement, planes["A2C"].measurement)
            row = {"group": "biplane, sinus, medium", "true_ef": true_ef, "ef": both.ef_percent}
            rows.append(row | {"off": ([], [], 0), "beats": 0, "refusal": both.refusal})
        print(f"heart {heart + 1}/{args.hearts}", flush=True)
    groups = {
        group: agreement(row for row in rows if row["group"] == group)
        for group in dict.fromkeys(row["group"] for row in rows)
    }
    print("| clips | n | bias | SD | MAE | over 15 | ED near | ES near |")
    print("|---" * 8 + "|")
    for group, results in groups.items():
        near = [
            f"{100 * results[key]:.0f} %" if key in results else ""
            for key in ("ed_near", "es_near")
        ]
        print(
            f"| {group} | {results['clips']} | {results['bias']:+.1f} | {results['sd']:.1f} "
            f"| {results['mae']:.1f} | {100 * results['over_15']:.0f} % | {near[0]} | {near[1]} |"
        )
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{time.monotonic() - start:.0f} s")
    if args.json:
        document = {"machine": machine(), "model": args.model, "groups": groups, "rows": rows}
        args.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
