"""`Analysis`, as a notebook uses it: one line, a figure, a folder, a dictionary, a page."""

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from typer.testing import CliRunner

import echoseg
from echoseg.cli import app
from echoseg.clip import ClipWarning, SourceStatement
from echoseg.errors import MeasurementError
from echoseg.inference import analyzer
from echoseg.inference.analysis import analyze_masks
from echoseg.io.arbitration import decide, settle
from echoseg.io.frames import OpenOptions
from heart_makers import beating


@pytest.fixture(scope="module")
def result():
    masks, times, _ = beating(80, phase=0.5)
    clip = echoseg.Clip(
        frames=60 * masks, times_s=times, spacing_mm=(1.0, 1.0), view=echoseg.View.A4C
    )
    return analyze_masks(clip, masks)


def test_the_repr_is_one_line_with_the_numbers(result):
    ef, edv, esv = result.ef_percent, result.edv_ml, result.esv_ml
    assert repr(result) == (
        f"Analysis(EF {ef:.0f} %, EDV {edv:.0f} ml, ESV {esv:.0f} ml, 80 frames, A4C, 1 warning)"
    )


def test_an_unreliable_ef_does_not_look_like_a_number(result):
    doubt = ClipWarning(code="do_not_trust", message="Not reliable.")
    doubtful = replace(result, clip=replace(result.clip, warnings=(doubt,)))
    assert doubtful.ef_reliable is False
    assert doubtful.ef_percent is None and doubtful.measurement.ef_percent == result.ef_percent
    assert repr(doubtful).startswith("Analysis(EF not reliable, 80 frames")
    page = doubtful._repr_html_()
    assert "not reliable" in page and "EF class" not in page
    assert doubtful.plot().axes[0].get_title(loc="left").startswith("EF not reliable")
    assert doubtful.to_dict()["ef_reliable"] is False


def test_the_ef_of_a_frozen_clip_is_withheld(result):
    frozen = np.repeat(result.masks[:1], 80, axis=0)
    found = analyze_masks(result.clip, frozen)
    assert found.measurement.ef_percent == pytest.approx(0, abs=0.1)
    assert found.ef.kind == "unreliable" and found.ef_percent is None
    assert "may be frozen" in found.ef_reason


def test_masks_in_a_list_are_refused(result):
    with pytest.raises(MeasurementError, match=r"masks must be .* uint8 array, got list"):
        analyze_masks(result.clip, list(result.masks))


def test_a_refused_ef_has_no_number(result):
    refused = analyze_masks(result.clip, np.zeros_like(result.masks))
    assert repr(refused).startswith("Analysis(no EF, 80 frames")
    assert refused.ef_reliable is None


def test_the_figure_shows_the_volume_curve(result):
    (axes,) = result.plot().axes
    line = axes.lines[0]
    volumes = [frame.volume_ml for frame in result.measurement.frames]
    assert np.allclose(line.get_ydata(), volumes)
    assert axes.get_ylabel() == "LV volume (ml)"


def test_save_writes_what_the_command_line_writes(result, tmp_path):
    from echoseg.io.nifti import write_masks

    folder = result.save(tmp_path / "api")
    write_masks(tmp_path / "masks.nii.gz", result.masks, (1.0, 1.0), 1 / 40)
    args = ["measure", tmp_path / "masks.nii.gz", "-o", tmp_path / "cli", "--view", "A4C"]
    args += ["--spacing-mm", 1, 1]  # a header of 1 mm is taken for a default
    assert CliRunner().invoke(app, [str(arg) for arg in args]).exit_code == 0
    names = [sorted(path.name for path in one.iterdir()) for one in (folder, tmp_path / "cli")]
    assert names[0] == names[1]
    reports = [json.loads((one / "report.json").read_text()) for one in (folder, tmp_path / "cli")]
    assert reports[0]["results"] == reports[1]["results"]
    assert set(reports[0].pop("files")) == {*names[0]}  # with their hashes
    assert result.to_dict() == reports[0] | {"files": {}}
    with pytest.raises(echoseg.EchosegError, match="exists"):
        result.save(folder)


def test_the_notebook_page_is_framed_and_fetches_nothing(result):
    html = result._repr_html_()
    assert re.match(r"<iframe [^>]*srcdoc=", html) and html.endswith("</iframe>")
    assert "<style" not in html  # escaped: it cannot reach the notebook's own page
    page = unescape(html)
    addresses = re.findall(r"""(?:src|href)=["']([^"']*)|url\(([^)]*)""", page)
    assert "<video" not in page and addresses
    assert all(re.match("data:|#|<!", "".join(one)) for one in addresses)


def test_a_clip_a_path_and_an_array_give_the_same_numbers(tmp_path):
    from pydicom import examples

    path = examples.get_path("ybr_color")
    clip = echoseg.load_clip(path)
    by_clip = echoseg.analyze(clip, view="A4C", device="cpu")
    by_array = echoseg.analyze(clip.frames, fps=clip.frame_rate_hz, view="A4C", device="cpu")
    assert by_clip.clip.view is echoseg.View.A4C
    assert np.array_equal(by_array.masks, by_clip.masks)
    assert by_array.ef_percent == pytest.approx(by_clip.ef_percent, abs=0.01)


@pytest.fixture
def given(monkeypatch):
    """What `analyze` gives to the network, as a function of its arguments."""

    class Stub:
        def __init__(self, *_):
            pass

        def analyze(self, clip, **_):
            return clip

    monkeypatch.setattr(analyzer, "Analyzer", Stub)
    return echoseg.analyze


def codes(clip):
    return {warning.code for warning in clip.warnings}


def test_a_rate_given_with_a_clip_takes_the_place_of_the_assumed_one(given):
    frames = np.random.default_rng(0).integers(0, 255, (40, 32, 32), np.uint8)
    assumed, told = echoseg.load_clip(frames), echoseg.load_clip(frames, fps=60)
    for clip in (assumed, told, echoseg.load_clip(frames, fps=25)):
        stated = given(clip, fps=60)
        assert np.array_equal(stated.times_s, told.times_s)
        assert stated.sources == told.sources and codes(stated) == codes(told) == set()
    scaled = given(assumed, spacing_mm=(0.3, 0.3))
    assert scaled.spacing_mm == (0.3, 0.3) and codes(scaled) == {"assumed_frame_rate"}


def test_a_value_given_with_a_clip_ends_its_contradiction_and_no_other(given):
    rates = [SourceStatement(origin=str(value), value=value) for value in (30.0, 60.0)]
    scales = [SourceStatement(origin=str(value), value=(value, value)) for value in (0.3, 0.9)]
    stale = ClipWarning(code="stale_scale", message="Two sizes.")
    clip = echoseg.Clip(
        frames=np.zeros((40, 32, 32), np.uint8),
        times_s=np.delete(np.arange(41) / 30, 7),
        damaged_frames=(7,),
        sources=(decide("frame_rate_hz", rates), decide("spacing_mm", scales)),
        warnings=(stale,),
    )
    clip = settle(clip, OpenOptions())
    both = {"contradicted_frame_rate", "contradicted_pixel_spacing"}
    assert clip.spacing_mm is None and codes(clip) == {*both, "stale_scale"}
    timed = given(clip, fps=60)
    assert codes(timed) == {"contradicted_pixel_spacing", "stale_scale"}
    assert np.diff(timed.times_s)[5:8] == pytest.approx([1 / 60, 2 / 60, 1 / 60])
    scaled = given(clip, spacing_mm=(0.9, 0.9))
    assert scaled.spacing_mm == (0.9, 0.9) and codes(scaled) == {"contradicted_frame_rate"}
    assert np.array_equal(scaled.times_s, clip.times_s)
    assert given(clip, view="A2C").view is echoseg.View.A2C
    assert codes(given(clip, view="A2C")) == codes(clip)
