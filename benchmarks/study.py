"""Does `echoseg analyze --study` take the right clips of a heart? Two tables.

    python benchmarks/study.py views DATA -o OUT [--patients 20]
    python benchmarks/study.py disc DATA -o OUT [--patients 1]

`DATA` is an animated data set with A4C and A2C, such as `animated:CAMUS:validation`. `views` takes
the clips as if no view were stated, as they are, as an export and degraded, and counts those that
`Analyzer.other_view` passes over by their pictures alone; of the first `--patients` it counts the
views after segmenting too. `disc` writes a disc per patient, two qualities of each view without a
stated one among a report, a still, a volume and a viewer with an animation, runs `--study` on it,
and compares EF and volumes with those of the annotated masks. OUT gets pictures of patients (`disc`
only), so it must not be in a repository.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from echoseg.clip import Annotation, Clip, View
from echoseg.data import Record
from echoseg.data.animated import open_animated
from echoseg.evaluation.calibrate import CLEAN, EXPORT
from echoseg.evaluation.degrade import Degradation, degrade, export_copy
from echoseg.inference.analyzer import Analyzer
from echoseg.io import dicom_writer
from echoseg.measure.biplane import combine_views
from echoseg.measure.measure import measure_masks
from echoseg.report.schema import build_report
from echoseg.report.study import plane_of
from speed import machine

PLANES = (View.A4C, View.A2C)


def hearts(data: str) -> dict[str, dict[View, Record]]:
    """The records of A4C and A2C of each patient that has both."""
    planes: dict[str, dict[View, Record]] = {}
    for record in open_animated(data).records:
        if record.view in PLANES:
            planes.setdefault(record.patient, {})[record.view] = record
    return {name: both for name, both in sorted(planes.items()) if len(both) == 2}


def load(record: Record) -> tuple[Clip, Annotation]:
    """A clip without a stated view and R waves, as most files are."""
    clip, annotation = record.load()
    assert annotation is not None
    return replace(clip, view=View.UNKNOWN, r_wave_times_s=()), annotation


def views(data: str, num_patients: int, out: Path) -> None:
    """Count the views of clips before and after segmenting."""
    analyzer, rows = Analyzer("camus", "cpu"), []
    for number, (patient, planes) in enumerate(hearts(data).items()):
        for view, record in planes.items():
            clip, annotation = load(record)
            degraded, kind = degrade(clip, annotation, record.name)
            copies = {CLEAN: clip, EXPORT: export_copy(clip), str(kind): degraded}
            for name, copy in copies.items():
                row = {"patient": patient, "view": str(view), "kind": name}
                row["passed_over"] = analyzer.other_view(copy)
                if number < num_patients and name == CLEAN:
                    report = build_report(analyzer.analyze(copy))
                    plane, why = plane_of(report, analyzer.model_card.views)
                    assert report.predicted_view
                    row["classifier"] = report.predicted_view.view
                    row["after"] = why or str(plane)
                rows.append(row)
                print(*row.values(), sep=", ", flush=True)
    (out / "views.json").write_text(json.dumps(rows, indent=1) + "\n")
    for view in PLANES:
        ours = [row for row in rows if row["view"] == view]
        for degraded in (CLEAN, EXPORT, "degraded"):
            kinds = set(Degradation) if degraded == "degraded" else {degraded}
            some = [row for row in ours if row["kind"] in kinds]
            lost = sum(bool(row["passed_over"]) for row in some)
            print(f"{view}, {degraded}: {lost} of {len(some)} passed over")
        print(view, "after segmenting:", dict(Counter(r["after"] for r in ours if "after" in r)))


def write_disc(disc: Path, patient: str, planes: dict[View, Record]) -> dict[View, Annotation]:
    """Write a disc; return the annotations of its clips. Files have no suffix and no view."""
    from PIL import Image
    from pydicom import dcmread

    images, annotations = disc / "DICOM", {}
    images.mkdir(parents=True)
    for view, record in planes.items():
        clip, annotations[view] = load(record)
        worse = degrade(clip, annotations[view], record.name, Degradation.NOISE)[0]
        for quality, one in enumerate((worse, clip)):
            path = images / f"IM_{2 * PLANES.index(view) + quality + 1}"
            dicom_writer.write(path, one, pseudonym=patient)
    for name, sop_class in (("SR_1", "1.2.840.10008.5.1.4.1.1.88.33"),
                            ("VOL_1", "1.2.840.10008.5.1.4.1.1.6.2"),
                            ("STILL_1", "1.2.840.10008.5.1.4.1.1.6.1")):  # fmt: skip
        dataset = dcmread(images / "IM_1")
        dataset.SOPClassUID = sop_class
        if name == "STILL_1":
            dataset.NumberOfFrames, size = 1, int(dataset.Rows) * int(dataset.Columns)
            dataset.PixelData = dataset.PixelData[: size + size % 2]
        dataset.save_as(images / name)
    (disc / "VIEWER").mkdir()
    (disc / "VIEWER" / "run.exe").write_bytes(b"MZ" + bytes(200))
    y, x = np.mgrid[-48:48, -48:48]
    turns = [np.uint8(127 + 127 * np.cos(np.arctan2(y, x) - t / 2)) for t in range(12)]
    first, *rest = (Image.fromarray(np.where(np.hypot(x, y) < 40, one, 0)) for one in turns)
    first.save(disc / "VIEWER" / "busy.gif", save_all=True, append_images=rest, duration=80)
    return annotations


def discs(data: str, num_patients: int, out: Path) -> None:
    """Run `--study` on the discs of the first patients, and compare."""
    for patient, planes in list(hearts(data).items())[:num_patients]:
        disc, result = out / patient / "disc", out / patient / "result"
        annotations = write_disc(disc, patient, planes)
        words = ["analyze", "--study", disc, "-o", result, "--device", "cpu"]
        done = subprocess.run([sys.executable, "-m", "echoseg", *map(str, words)], check=False)
        with (result / "study.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            print("  ", row["file"], row["view"], row["outcome"], row["reason"], sep=" | ")
        heart = next(row["heart"] for row in rows if row["heart"])
        report = json.loads((result / heart / "report.json").read_text())
        truth = combine_views(*(
            measure_masks(
                annotations[view].masks,
                spacing_mm=clip.spacing_mm,
                times_s=clip.times_s,
            )
            for view, clip in ((view, load(planes[view])[0]) for view in PLANES)
        ))  # fmt: skip
        print(f"{patient}: exit code {done.returncode}; "
              + ", ".join(f"{key} {report['results'].get(key)} (true {getattr(truth, key):.1f})"
                          for key in ("ef_percent", "edv_ml", "esv_ml"))
              + f"; {report.get('interval')}")  # fmt: skip


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("views", "disc"))
    parser.add_argument("data")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--patients", type=int)
    args = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    args.output.mkdir(parents=True, exist_ok=True)
    if args.what == "views":
        views(args.data, args.patients or 20, args.output)
    else:
        discs(args.data, args.patients or 1, args.output)


if __name__ == "__main__":
    main()
