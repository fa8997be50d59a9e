"""One run, one statement: frame and number of ED and ES are the same in every output."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from echoseg.clip import Clip, ClipWarning, View
from echoseg.inference.analysis import Analysis
from echoseg.measure.measure import measure_masks
from echoseg.report.figures.curve import curve_values, draw_curve, phase_marks
from echoseg.report.figures.overlay import _Curve, _marks
from echoseg.report.writer import write_results
from heart_makers import beating


def trembling(warnings=()):
    """A heart whose masks tremble, so that single frames and the curve differ."""
    masks, times, _ = beating(90, phase=0.4)
    moved = np.random.default_rng(1).integers(-1, 2, len(masks))
    masks = np.stack([masks[(t + 3 * d) % 90] for t, d in enumerate(moved)])
    clip = Clip(
        frames=60 * masks, times_s=times, source="x.avi", view=View.A4C, spacing_mm=(1.0, 1.0),
        warnings=warnings,
    )  # fmt: skip
    measured = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    return Analysis(clip=clip, masks=masks, measurement=measured, model=None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    analysis = trembling()
    return analysis, write_results(analysis, tmp_path_factory.mktemp("run") / "x", pdf=True)


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_output_marks_the_same_frames(run):
    analysis, folder = run
    ed, es = analysis.measurement.ed_frame, analysis.measurement.es_frame
    report = json.loads((folder / "report.json").read_text())["results"]
    assert (report["ed_frame"], report["es_frame"]) == (ed, es)
    (registry,) = rows(folder / "registry.csv")
    assert (registry["ed_frame"], registry["es_frame"]) == (str(ed), str(es))
    marks = phase_marks(analysis.measurement)
    frames = {i: row["phase"] for i, row in enumerate(rows(folder / "frames.csv")) if row["phase"]}
    assert frames == marks == {frame: name for frame, name, _ in _marks(analysis)}
    page = (folder / "report.html").read_text("utf-8")
    assert {f"ED, frame {ed}", f"ES, frame {es}"} <= set(re.findall(r"E[DS], frame \d+", page))
    axes = Figure().add_subplot()
    draw_curve(axes, analysis)
    named = {text.get_text() for text in axes.texts if "frame" in text.get_text()}
    assert named == {f"ED, frame {ed}", f"ES, frame {es}"}


def test_overlay_and_curve_mark_the_volumes_that_the_ef_rests_on(run):
    analysis, folder = run
    measurement = analysis.measurement
    of_frames, curve = curve_values(measurement)
    assert np.abs(of_frames - curve).max() > 2  # the masks do tremble
    assert _Curve(analysis, 640).values == pytest.approx(curve.tolist())
    table = rows(folder / "frames.csv")
    assert [float(row["smoothed_volume"]) for row in table] == pytest.approx(curve, abs=1e-4)
    axes = Figure().add_subplot()
    draw_curve(axes, analysis)
    assert axes.lines[1].get_ydata() == pytest.approx(curve)
    for beat in measurement.beats:
        assert curve[beat.ed_frame] == pytest.approx(beat.edv_ml)
        assert curve[beat.es_frame] == pytest.approx(beat.esv_ml)
        assert beat.ef_percent == pytest.approx(100 * (1 - beat.esv_ml / beat.edv_ml))
    drawn = {line.get_xydata()[0].tolist()[1] for line in axes.lines[2:]}
    assert drawn == {curve[frame] for frame in phase_marks(measurement)}


def test_every_output_has_the_same_number(run):
    analysis, folder = run
    ef = analysis.ef.value
    assert ef == f"{analysis.ef_percent:.0f} %"
    report = json.loads((folder / "report.json").read_text())["results"]
    (registry,) = rows(folder / "registry.csv")
    assert report["ef_percent"] == float(registry["ef_percent"]) == round(analysis.ef_percent, 1)
    assert ef in (folder / "report.html").read_text("utf-8").replace("\u00a0", " ")
    axes = Figure().add_subplot()
    draw_curve(axes, analysis)
    assert axes.get_title(loc="left").startswith(f"EF {ef}")


def test_strain_and_heart_rate_are_withheld_with_the_ef(run, tmp_path):
    good, _ = run
    warning = ClipWarning(code="do_not_trust", message="The contour shakes.")
    folder = write_results(trembling((warning,)), tmp_path / "x")
    report = json.loads((folder / "report.json").read_text())["results"]
    (registry,) = rows(folder / "registry.csv")
    for name, withheld in (
        ("gls_percent", "gls_unreliable_percent"),
        ("heart_rate_bpm", "heart_rate_unreliable_bpm"),
    ):
        value = round(getattr(good.measurement, name), 1)
        assert report[name] is None and registry[name] == ""
        assert report[withheld] == float(registry[withheld]) == value
        stated = good.to_dict()["results"]
        assert stated[name] == value and stated[withheld] is None
    assert all(beat["gls_percent"] is None for beat in report["beats"])
    assert {row["strain_percent"] for row in rows(folder / "frames.csv")} == {""}


def test_a_heart_rate_by_a_wrong_clock_is_marked_where_the_ef_is_stated():
    analysis = trembling()
    clip = replace(analysis.clip, times_s=analysis.clip.times_s * 3)
    slow = measure_masks(analysis.masks, spacing_mm=(1.0, 1.0), times_s=clip.times_s)
    results = replace(analysis, clip=clip, measurement=slow).to_dict()["results"]
    assert results["ef_percent"] == pytest.approx(analysis.ef_percent, abs=2)
    assert results["heart_rate_bpm"] is None
    assert results["heart_rate_unreliable_bpm"] == pytest.approx(80 / 3, abs=3)
