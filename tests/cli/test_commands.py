"""The command line as a user meets it, in a process of its own and inside this one."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from echoseg.cli import app


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def ybr_color():
    from pydicom import examples

    return examples.get_path("ybr_color")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return run("demo", "-o", folder, "--timing", "--device", "cpu"), folder / "ybr_color"


def test_the_demo_ends_well_and_says_what_it_is(demo):
    result, _ = demo
    assert result.exit_code == 0, result.output
    assert "not a medical device" in result.output
    assert "non-commercial" in result.output
    assert "segment" in result.output


def test_the_demo_writes_every_file(demo):
    names = {path.name for path in demo[1].iterdir()}
    assert names == {
        "masks.nii.gz",
        "overlay.mp4",
        "curve.svg",
        "frames.csv",
        "report.json",
        "report.html",
        "report.pdf",
        "registry.csv",
    }


def test_the_demo_gives_a_believable_ef_and_no_millilitres(demo):
    report = json.loads((demo[1] / "report.json").read_text())
    assert 30 < (report["results"]["ef_percent"] or report["ef_unreliable_percent"]) < 80
    assert report["results"]["edv_ml"] is None
    codes = {warning["code"] for warning in report["warnings"]}
    assert {"stale_scale", "no_scale_no_millilitres"} <= codes
    assert "colour_doppler" not in codes


def test_the_first_number_of_the_demo_rests_on_whole_beats_and_is_right(demo):
    result, folder = demo
    first = json.loads((folder.parent / "simulated" / "report.json").read_text())["results"]
    assert first["num_beats"] >= 3
    assert first["is_part_of_beat"] is False
    assert first["ef_percent"] == pytest.approx(60, abs=5)
    assert first["edv_ml"] > first["esv_ml"] > 0
    assert result.output.index("simulated") < result.output.index("ybr_color")
    second = json.loads((folder / "report.json").read_text())
    assert second["results"]["is_part_of_beat"] is True
    assert "part_of_beat" in {warning["code"] for warning in second["warnings"]}


def test_the_simulated_clip_of_the_demo_is_what_its_script_makes():
    from pydicom import dcmread

    from echoseg.io import load_clip
    from echoseg.phantom import Phantom
    from scripts.make_demo_clip import DEMO, OUTPUT

    seed = int(re.search(r"seed (\d+)", dcmread(OUTPUT).ImageComments)[1])
    clip, truth = load_clip(OUTPUT), Phantom(DEMO.changed(seed=seed)).truth()
    assert OUTPUT.stat().st_size < 600_000
    assert (clip.num_frames, *clip.size) == truth.masks.shape
    assert clip.spacing_mm == pytest.approx(truth.spacing_mm, rel=1e-3)
    assert clip.view == "A4C"
    assert truth.ef_percent == pytest.approx(60, abs=0.5)
    assert len(truth.beats) >= 3
    # blood is darker than muscle where the truth says they are
    grey = clip.frames.astype(float)
    assert grey[truth.masks == 1].mean() < 0.8 * grey[truth.masks == 2].mean()


def test_the_heart_is_where_it_is_in_the_demo_clip(demo):
    import nibabel

    masks = np.asarray(nibabel.load(demo[1] / "masks.nii.gz").dataobj).transpose(2, 1, 0)
    assert masks.shape == (30, 240, 320)
    centres = [np.argwhere(mask == 1).mean(0) for mask in masks]
    # looked at by eye: the cavity lies right of the septum at column 155, above the valve at 135
    assert np.all(np.abs(np.array(centres) - (92, 175)) < 20)
    la_rows = [np.argwhere(mask == 3)[:, 0].mean() for mask in masks]
    assert np.all(np.array(la_rows) > 125)


def test_results_that_exist_are_not_replaced_unless_forced(demo, ybr_color):
    before = (demo[1] / "report.json").read_bytes()
    refused = run("demo", "-o", demo[1].parent)
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert (demo[1] / "report.json").read_bytes() == before


def test_one_bad_clip_does_not_stop_the_rest(tmp_path):
    from scripts.make_demo_clip import OUTPUT

    bad = tmp_path / "bad.avi"
    bad.write_text("no video at all")
    result = run("analyze", bad, OUTPUT, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "bad.avi" in result.output
    assert "EF given for 1 of 2 clips (failed: 1)" in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == [OUTPUT.stem]


def test_a_scale_given_by_the_user_gives_millilitres(tmp_path, ybr_color):
    result = run("analyze", ybr_color, "-o", tmp_path, "--spacing-mm", "1.02", "1.02")
    assert "written to" in result.output  # its EF is that of a part of a beat, and may be withheld
    report = json.loads((tmp_path / ybr_color.stem / "report.json").read_text())
    assert 30 < report["results"]["edv_ml"] < 250
    assert report["input"]["spacing_mm"] == [1.02, 1.02]


@pytest.mark.parametrize("kind", ["black", "noise", "still"])
def test_a_clip_with_no_heart_gives_no_ef_and_a_reason(tmp_path, kind):
    from PIL import Image

    rng = np.random.default_rng(0)
    still = rng.integers(0, 255, (120, 160), dtype=np.uint8)
    folder = tmp_path / kind
    folder.mkdir()
    for index in range(8):
        noise = rng.integers(0, 255, (120, 160), dtype=np.uint8)
        frame = {"black": still * 0, "noise": noise, "still": still}[kind]
        Image.fromarray(frame).save(folder / f"{index}.png")
    result = run("analyze", folder, "-o", tmp_path / "out", "--fps", "30")
    assert result.exit_code == 1
    assert "no ultrasound sector" in result.output or "no EF" in result.output
    reports = list((tmp_path / "out").glob("*/report.json"))
    assert all(json.loads(p.read_text())["results"]["ef_percent"] is None for p in reports)


def test_what_cannot_begin_is_refused_before_the_network_is_loaded(
    tmp_path, ybr_color, monkeypatch
):
    monkeypatch.setattr("echoseg.cli.analyze.chosen_backend", None)
    (tmp_path / "file").write_text("in the way")
    wrong = "file cannot be written (Not a directory); choose another output folder"
    for clip, output, message, code in (
        (["clpi.dcm"], tmp_path / "out", "clpi.dcm: no such file or folder", 1),
        (["--a4c", ybr_color, "--a2c", "x.dcm"], tmp_path / "out", "--a2c x.dcm: no such file", 1),
        ([ybr_color], tmp_path / "file", wrong, 2),
    ):
        result = run("analyze", *map(str, clip), "-o", str(output))
        assert result.exit_code == code and message in result.output
    assert not (tmp_path / "out").exists()


def test_missing_paths_and_wrong_options_are_told_in_one_line(tmp_path, ybr_color):
    for args, words, code in (
        (["analyze", tmp_path / "none.dcm"], "none.dcm", 1),
        (["analyze", ybr_color, "--model", "nonsense"], "camus, camus-nano, phantom", 2),
        (["analyze", ybr_color, "--device", "abacus"], "auto, cpu, cuda or mps", 2),
        (["analyze", ybr_color, "--fps", "-3"], "--fps", 2),
        (["analyze", ybr_color, "--spacing-mm", "0", "1"], "--spacing-mm", 2),
        (["analyze", ybr_color, "--view", "A9C"], "A9C", 2),
    ):
        result = run(*args, *([] if code == 2 else ["-o", tmp_path / "out"]))
        assert result.exit_code == code, result.output
        assert words in result.output
        assert "Traceback" not in result.output


def test_models_lists_licence_and_accuracy():
    result = run("models")
    assert result.exit_code == 0
    assert "camus" in result.output
    assert "Apache-2.0" in result.output
    assert "phantom gives no EF" in result.output


def test_help_needs_no_torch():
    code = (
        "import sys; from echoseg.cli import app; import echoseg; "
        "sys.exit(int('torch' in sys.modules or 'numpy' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
