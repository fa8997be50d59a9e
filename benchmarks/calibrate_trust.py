"""Calibrate a checkpoint's EF interval and its gate, and measure both on clips held out.

    python benchmarks/calibrate_trust.py camus --camus DIR [--write]
    python benchmarks/calibrate_trust.py phantom --hearts 40 [--write]

With CAMUS: the expected error is fitted on 100 training patients' ED and ES stills, the quantiles
come from the 50 validation patients. Coverage is measured patient by patient, each by the quantiles
of the 49 others, so nobody is judged by a quantile that saw him. Truth is EF by disks of the
experts' masks.

With the phantom: fitted on half of the validation hearts, quantiles from the other half, measured
on the test hearts, all tiers in equal shares. Clips are measured as `echoseg analyze` does. Truth
is the body's EF, so what one plane cannot see counts as error.

`--write` keeps the calibration beside the weights, where `echoseg analyze` finds it.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from echoseg.clip import Annotation, Clip, View
from echoseg.data import open_dataset
from echoseg.data.records import Record
from echoseg.errors import MeasurementError
from echoseg.evaluation.run import phantom_records
from echoseg.evaluation.segment import loaded, segment
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import measure_masks
from echoseg.measure.volumes import mask_volume_ml
from echoseg.models.checkpoint import load_checkpoint
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.quality.assess import assess_reliability
from echoseg.quality.conformal import (
    Calibration,
    ClipUncertainty,
    EfInterval,
    calibrate,
    calibration_path,
    ef_interval,
)
from startup import machine

NUM_FITTED = 100
LARGE_ERROR_POINTS = 15


class Row(NamedTuple):
    """One clip: what is doubtful, what was measured, what is true."""

    name: str
    tier: str
    doubts: ClipUncertainty
    ef_percent: float
    true_ef_percent: float

    @property
    def pair(self) -> tuple[ClipUncertainty, float]:
        """What `calibrate` takes."""
        return self.doubts, self.true_ef_percent - self.ef_percent


def read(model: str, records: Iterable[Record]) -> list[Row]:
    """Segment, measure and probe clips; those without an EF are left out and counted."""
    network, size_px = loaded(model)
    rows, left_out = [], 0
    for record in records:
        clip, known = record.load()
        assert known is not None
        masks = clean_masks(segment(network, size_px, clip.frames, stills=record.stills))
        found = ends_and_ef(record, clip, known, masks)
        if found is None:
            left_out += 1
            continue
        ends, ef, true_ef = found
        squares = letterbox_frames(
            torch.from_numpy(clip.frames[ends]).float() / 255,
            letterbox_for((0, 0, *clip.size), size_px),
        )
        trust = assess_reliability(
            network, squares[:, None], clip.frames[ends], masks[ends], ef_percent=ef
        )
        rows.append(Row(record.name, record.quality, trust.doubts, ef, true_ef))
    print(f"{len(rows)} clips, {left_out} without an EF", flush=True)
    return rows


def ends_and_ef(
    record: Record, clip: Clip, known: Annotation, masks: np.ndarray
) -> tuple[list[int], float, float] | None:
    """Return ED and ES, the EF found there and the true one."""
    if not record.stills:
        found = measure_masks(masks, spacing_mm=clip.spacing_mm, times_s=clip.times_s)
        if found.ef_percent is None or known.ef_percent is None:
            return None
        assert found.ed_frame is not None and found.es_frame is not None
        return [found.ed_frame, found.es_frame], found.ef_percent, known.ef_percent
    ends = [known.ed_frame or 0, known.es_frame or 0]
    try:
        told, true = (
            [mask_volume_ml(each[end], clip.spacing_mm or (1.0, 1.0))[0] for end in ends]
            for each in (masks, clean_masks(known.masks))
        )
    except MeasurementError:
        return None
    ef, true_ef = (100 * (1 - es / ed) for ed, es in (told, true))
    return ends, ef, true_ef


def told_of(rows: Sequence[Row], spans: Sequence[EfInterval]) -> dict[str, float]:
    """Return coverage, width, and what the gate does, over clips."""
    errors = np.array([abs(row.pair[1]) for row in rows])
    shut = np.array([bool(span.distrust) for span in spans])
    inside = [
        span.low_percent <= row.true_ef_percent <= span.high_percent
        for span, row in zip(spans, rows, strict=True)
    ]
    large = errors > LARGE_ERROR_POINTS
    return {
        "clips": len(rows),
        "coverage": float(np.mean(inside)),
        "mean_width_points": float(np.mean([s.high_percent - s.low_percent for s in spans])),
        "mae_points": float(errors.mean()),
        "bias_points": float(np.mean([-row.pair[1] for row in rows])),
        "gated": float(shut.mean()),
        "large_errors": float(large.mean()),
        "large_errors_gated_out": float(shut[large].mean()) if large.any() else float("nan"),
        "large_errors_among_trusted": float(large[~shut].mean()) if (~shut).any() else 0.0,
    }


def spans_of(rows: Sequence[Row], made: Calibration) -> list[EfInterval]:
    """Return each row's interval."""
    return [ef_interval(row.ef_percent, row.doubts, made) for row in rows]


def one_by_one(fitted: list[Row], rows: list[Row], sha256: str, source: str) -> list[EfInterval]:
    """Return each row's interval by the quantiles of the other rows."""
    found = []
    for index, row in enumerate(rows):
        others = [*rows[:index], *rows[index + 1 :]]
        made = calibrate(
            [row.pair for row in fitted], [row.pair for row in others],
            model_sha256=sha256, source=source,
        )  # fmt: skip
        found += spans_of([row], made)
    return found


def main() -> None:
    """Read, calibrate, judge, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--camus", type=Path)
    parser.add_argument("--hearts", type=int, default=40)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    start = time.perf_counter()
    _, checkpoint = load_checkpoint(args.model)
    sha256, told = checkpoint.sha256, {}
    if args.camus:
        collection = open_dataset(args.camus)
        train, validation = (
            [r for r in collection.of_split(split) if r.view == View.A4C and r.stills]
            for split in ("train", "validation")
        )
        fitted, held = read(args.model, train[:NUM_FITTED]), read(args.model, validation)
        source = f"{len(held)} CAMUS validation patients, A4C ED and ES stills"
        told["each by the others"] = told_of(held, one_by_one(fitted, held, sha256, source))
    else:
        rows = read(args.model, phantom_records("validation", hearts=args.hearts))
        names = sorted({row.name.split("_")[0] for row in rows})
        fitted = [row for row in rows if names.index(row.name.split("_")[0]) % 2]
        held = [row for row in rows if row not in fitted]
        source = f"{len(names) // 2} phantom hearts in four tiers"
    made = calibrate(
        [row.pair for row in fitted], [row.pair for row in held],
        model_sha256=sha256, source=source,
    )  # fmt: skip
    test = held
    if not args.camus:
        test = read(args.model, phantom_records("test", hearts=args.hearts))
        told["all"] = told_of(test, spans_of(test, made))
        for tier in dict.fromkeys(row.tier for row in test):
            of_tier = [row for row in test if row.tier == tier]
            told[tier] = told_of(of_tier, spans_of(of_tier, made))
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(made.model_dump_json(indent=1))
    for name, values in told.items():
        print(name, {key: round(value, 3) for key, value in values.items()})
    print(f"{time.perf_counter() - start:.0f} s")
    if args.json:
        document = {
            "machine": machine(),
            "model": args.model,
            "told": told,
            "calibration": made.model_dump(),
            "judged": [{**row._asdict(), "doubts": asdict(row.doubts)} for row in test],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n")
    if args.write:
        calibration_path(checkpoint.path).write_text(made.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    main()
