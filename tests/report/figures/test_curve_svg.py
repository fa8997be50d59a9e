"""The volume curve as SVG: the same values as everywhere, every beat, nothing made up."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from echoseg.clip import Clip, Ecg, View
from echoseg.inference.analysis import Analysis
from echoseg.measure.measure import measure_masks
from echoseg.quality.reliability import ClipReliability, ClipUncertainty, EfInterval
from echoseg.report.figures import curve_svg as module
from echoseg.report.figures.curve import curve_values, phase_marks
from echoseg.report.figures.curve_svg import curve_svg, left_out_frames, ticks
from echoseg.report.figures.ef_scale import ef_scale_svg
from echoseg.weights.card import ModelCard
from heart_makers import beating

CARD = ModelCard(
    name="made-up", sha256="0" * 64, licence="none", architecture="mssnet", image_size=160
)
RELIABILITY = ClipReliability(
    interval=EfInterval(
        low_percent=31.0, high_percent=63.0, level_percent=90.0, expected_error_points=8.0,
        source="some patients",
    ),
    uncertainty=ClipUncertainty(
        entropy=0.1, pose_points=1.0, gamma_percent=1.0, segments_unseen=0.0
    ),
    lv_outside_sector_percent=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def heart():
    masks, times, _ = beating(160, phase=0.5)
    measured = measure_masks(masks, spacing_mm=(1.0, 1.0), times_s=times)
    clip = Clip(frames=60 * masks, times_s=times, spacing_mm=(1.0, 1.0), view=View.A4C)
    return Analysis(
        clip=clip, masks=masks, measurement=measured, model=CARD, reliability=RELIABILITY
    )


def found(svg, name):
    """Elements of a class."""
    root = ElementTree.fromstring(svg)
    return [one for one in root.iter() if one.get("class") == name]


def texts(svg):
    return ["".join(one.itertext()) for one in ElementTree.fromstring(svg).iter() if one.text]


def volume(plot, y):
    return plot.top * (module._BOTTOM - float(y)) / (module._BOTTOM - module._TOP)


def test_the_line_is_the_curve_that_the_ef_is_read_off(heart):
    svg, plot = curve_svg(heart), module._Plot(heart)
    (line,) = found(svg, "lv")
    points = np.array([p.split(",") for p in line.get("points").split()], float)
    _, curve = curve_values(heart.measurement)
    assert len(points) == len(curve)
    drawn = [volume(plot, y) for y in points[:, 1]]
    assert drawn == pytest.approx(curve.tolist(), abs=plot.top * 0.1 / 200)
    assert (np.diff(points[:, 0]) > 0).all()
    places = ElementTree.fromstring(svg).get("data-x").split()
    assert [float(x) for x in places] == points[:, 0].tolist()


def test_every_beat_has_its_marks_and_one_left_out_is_dim(heart):
    beats = heart.measurement.beats
    assert len(beats) > 2
    marks = phase_marks(heart.measurement)
    svg = curve_svg(heart)
    assert len(found(svg, "ed")) + len(found(svg, "es")) == len(marks) >= 2 * len(beats)
    assert not any(one.get("opacity") for one in found(svg, "ed"))
    out = (beats[0].model_copy(update={"left_out": "premature"}), *beats[1:])
    measured = heart.measurement.model_copy(update={"beats": out})
    svg = curve_svg(replace(heart, measurement=measured))
    assert [bool(one.get("opacity")) for one in found(svg, "ed")].count(True) == 1
    lines = found(svg, "lv")
    dim = [line for line in lines if line.get("opacity")]
    assert len(dim) == 1
    frames = left_out_frames(measured)
    assert frames == set(range(beats[0].ed_frame, beats[1].ed_frame))
    assert len(dim[0].get("points").split()) == len(frames) + 1


def test_the_efs_interval_is_shaded_over_the_beat_at_the_measured_ed_volume(heart):
    svg, plot = curve_svg(heart), module._Plot(heart)
    (whisker,) = found(svg, "whisker")
    low, high = re.match(r"M[\d.]+ ([\d.]+)V([\d.]+)", whisker.get("d")).groups()
    _, curve = curve_values(heart.measurement)
    ed = curve[heart.measurement.ed_frame]
    for y, percent in ((low, 31.0), (high, 63.0)):
        assert volume(plot, y) == pytest.approx(ed * (1 - percent / 100), abs=0.1)
    (band,) = found(svg, "interval")
    top, height = float(band.get("y")), float(band.get("height"))
    assert (top, top + height) == pytest.approx((float(low), float(high)), abs=0.1)
    left, width = float(band.get("x")), float(band.get("width"))
    measured = heart.measurement
    later = [beat.ed_frame for beat in measured.beats if beat.ed_frame > measured.es_frame]
    ends = [measured.ed_frame, min(later, default=len(plot.times) - 1)]
    expected = [plot.x(plot.times[frame]) for frame in ends]
    assert [left, left + width] == pytest.approx(expected, abs=0.2)
    no_interval = curve_svg(replace(heart, reliability=None))
    assert not found(no_interval, "whisker") + found(no_interval, "interval")


def test_r_waves_and_ecg_of_the_file_are_at_their_times(heart):
    times_s = np.linspace(-0.5, 9.0, 900)
    ecg = Ecg(times_s=times_s, values=np.sin(8 * times_s))
    clip = replace(heart.clip, r_wave_times_s=(-0.2, 0.4, 1.1, 99.0), ecg=ecg)
    svg, plot = curve_svg(replace(heart, clip=clip)), module._Plot(heart)
    waves = [float(one.get("d")[1:].split()[0]) for one in found(svg, "r")]
    assert waves == pytest.approx([plot.x(0.4), plot.x(1.1)], abs=0.06)
    (line,) = found(svg, "ecg")
    points = np.array([p.split(",") for p in line.get("points").split()], float)
    inside = (times_s >= 0) & (times_s <= plot.times[-1])
    assert np.corrcoef(-points[:, 1], ecg.values[inside])[0, 1] == pytest.approx(1, abs=1e-3)
    assert not found(curve_svg(heart), "ecg") and not found(curve_svg(heart), "r")
    assert not found(curve_svg(replace(heart, clip=replace(clip, times_s=None))), "r")


def test_an_unreliable_ef_leaves_no_number_but_volumes(heart):
    from echoseg.clip import ClipWarning

    warning = ClipWarning(code="do_not_trust", message="The contour <shakes>.")
    doubtful = replace(heart, clip=replace(heart.clip, warnings=(warning,)))
    svg = curve_svg(doubtful, alone=True)
    assert not found(svg, "whisker") and "%" not in "".join(texts(svg))
    assert any("not reliable" in text for text in texts(svg))
    assert "<shakes>" not in svg and "&lt;shakes&gt;" in svg
    assert ef_scale_svg(doubtful.ef) == ""


def test_a_frame_without_a_volume_breaks_the_line(heart):
    rows = list(heart.measurement.frames)
    gap = {"volume_ml": None, "relative_volume": None, "smoothed_volume": None}
    rows[80] = replace(rows[80], **gap)
    measured = heart.measurement.model_copy(update={"frames": tuple(rows)})
    svg = curve_svg(replace(heart, measurement=measured))
    assert [len(one.get("points").split()) for one in found(svg, "lv")] == [80, 79]
    assert "nan" not in svg


@pytest.mark.parametrize("frames", [1, 2])
def test_a_clip_of_few_frames_without_times_is_drawn(heart, frames):
    rows = heart.measurement.frames[:frames]
    empty = heart.measurement.model_copy(
        update={"frames": rows, "beats": (), "ed_frame": None, "es_frame": None}
    )
    clip = replace(heart.clip, frames=heart.clip.frames[:frames], times_s=None)
    svg = curve_svg(replace(heart, clip=clip, measurement=empty), alone=True)
    assert "nan" not in svg and "inf" not in svg
    assert "No beat is marked" in svg


@pytest.mark.parametrize(("low", "high"), [(0, 1.12), (0, 7.3), (0, 250), (2.2, 2.9), (0, 1e-9)])
def test_ticks_are_round_and_few(low, high):
    values = ticks(low, high, 5)
    assert 1 <= len(values) <= 6
    assert all(low - 1e-12 <= value <= high + 1e-9 for value in values)
    steps = np.diff(values)
    assert steps == pytest.approx(np.full(len(steps), steps[0] if len(steps) else 0))


def test_the_scale_shows_ef_and_interval_in_proportion(heart):
    svg = ef_scale_svg(heart.ef)
    (dot,) = [one for one in found(svg, "ef") if one.get("cx")]
    ((low, high),) = re.findall(r"M([\d.]+) 23H([\d.]+)", svg)
    share = (float(dot.get("cx")) - float(low)) / (float(high) - float(low))
    assert share == pytest.approx((heart.ef_percent - 31) / (63 - 31), abs=0.01)
    assert heart.ef.interval_span in svg
