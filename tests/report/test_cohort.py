"""A cohort: every clip once, told in the end the same whatever stopped it on the way."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from clip_makers import make_disc, moving_frames, write_video
from echoseg.cli import app
from echoseg.errors import ConfigError, ModelError, OutputError
from echoseg.files import locked_dir
from echoseg.phantom import Phantom, PhantomConfig
from echoseg.private import Pseudonyms
from echoseg.report.cohort import RunOptions, Settings, find_clips, not_done, run_cohort, work
from echoseg.report.writer import FILES
from echoseg.weights.card import find_checkpoint, read_card

SHA256 = read_card(find_checkpoint("phantom")).sha256
SETTINGS = Settings(model="phantom", model_sha256=SHA256, device="cpu", pages=False)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three hearts, one of them in a folder of its own, a clip without a heart, a broken file."""
    root = tmp_path_factory.mktemp("clips")
    (root / "b").mkdir()
    for seed, name in enumerate(("a.avi", "b/a.avi", "c.avi")):
        config = PhantomConfig(seed=seed, size_px=96, num_frames=24, frame_rate_hz=25.0)
        write_video(root / name, Phantom(config).frames())
    write_video(root / "noise.avi", moving_frames(14))
    (root / "broken.avi").write_bytes(b"RIFF")
    (root / "notes.txt").write_text("not a clip")
    (root / "LICENSE.pydicom-data").write_text("not a clip, whatever its suffix")
    return root


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """The cohort, run without a stop."""
    out = tmp_path_factory.mktemp("whole") / "out"
    return out, run_cohort(find_clips([clips]), SETTINGS, out)


def run(found, settings, out, **options):
    """Run a cohort in this process, where its parts can be replaced, or in several."""
    return run_cohort(found, settings, out, RunOptions(**{"limits": None} | options))


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tables(out):
    return [(out / name).read_bytes() for name in ("results.csv", "failures.csv")]


def test_clips_are_found_below_a_folder_by_their_path_in_it(clips):
    assert list(find_clips([clips])) == ["a.avi", "b/a.avi", "broken.avi", "c.avi", "noise.avi"]
    assert list(find_clips([clips / "c.avi", clips / "b"])) == ["c.avi", "a.avi"]
    with pytest.raises(ConfigError, match="does not exist"):
        find_clips([clips / "none"])


def test_files_that_are_no_clips_are_counted_and_not_analyzed(clips, tmp_path):
    for name in ("x.py", "a.sh", "notes"):
        (tmp_path / name).write_text("print()")
    (tmp_path / "IM_1").write_bytes((clips / "a.avi").read_bytes())  # known by its content
    (tmp_path / "cut.dcm").write_bytes(b"")  # known by its suffix: its failure says why
    found = find_clips([tmp_path])
    assert list(found) == ["IM_1", "cut.dcm"]
    assert sorted(found.others) == ["a.sh", "notes", "x.py"]
    assert list(find_clips([tmp_path / "x.py"])) == ["x.py"]  # named, so it fails by name
    words = ["analyze", str(tmp_path), "-o", str(tmp_path / "out"), "--no-pages"]
    done = CliRunner().invoke(app, [*words, "--model", "phantom", "--jobs", "1"])
    assert "files that are not clips: 3" in done.output and done.exit_code == 1
    assert {row["clip"] for row in rows(tmp_path / "out" / "failures.csv")} == {"cut.dcm"}
    assert [row["file"] for row in rows(tmp_path / "out" / "not_clips.csv")] == [
        "a.sh", "notes", "x.py",
    ]  # fmt: skip


def test_files_of_one_name_in_several_folders_that_are_no_clips_are_all_listed(
    clips, tmp_path, monkeypatch
):
    sites = [tmp_path / name for name in ("site_a", "site_b", "site_c")]
    for site in sites:
        site.mkdir()
        (site / "x.py").write_text("print()")
        (site / "IM_1").write_bytes((clips / "a.avi").read_bytes())
        (site / "loop").symlink_to(site)
    found = find_clips(sites)
    for name, listed in (("IM_1", found), ("x.py", found.others), ("loop", found.others)):
        names = [name, *(str(site / name) for site in sites[1:])]
        assert [one for one in listed if one.endswith(name)] == names
    names = Pseudonyms(tmp_path / "key")
    expected = sorted(names.name(s / n) for s in sites for n in ("x.py", "loop"))
    assert sorted(found.hidden(names).others) == expected
    monkeypatch.chdir(tmp_path)
    relative = find_clips([Path(site.name) for site in sites])
    assert sorted(relative.hidden(names).others) == expected
    again = find_clips([sites[0], sites[0], sites[0]])
    assert list(again.others)[::2] == ["x.py", str(sites[0] / "x.py"), "x.py (2)"]


def test_a_study_as_it_comes_on_a_disc_ends_in_0_where_no_clip_failed(clips, tmp_path):
    disc = tmp_path / "disc"
    make_disc(disc, Phantom(PhantomConfig(seed=1, size_px=96, num_frames=24)).frames())
    words = ["analyze", str(disc), "-o", str(tmp_path / "out"), "--no-pages", "--jobs", "1"]
    done = CliRunner().invoke(app, [*words, "--model", "phantom"])
    assert done.exit_code == 0, done.output
    out = tmp_path / "out"
    assert [row["clip"] for row in rows(out / "results.csv")] == ["DICOM/IM_1", "DICOM/IM_2"]
    assert rows(out / "failures.csv") == []
    others = {row["file"]: row["reason"] for row in rows(out / "not_clips.csv")}
    assert set(others) == {
        "DICOMDIR", "DICOM/IM_3", "DICOM/SR_1", "DICOM/VOL_1.dcm", "DICOM/ONE", "DICOM/CT",
        "VIEWER/run.exe", "VIEWER/Thumbs.db", "VIEWER/icons", "autorun.inf",
    }  # fmt: skip
    for name, words in (
        ("DICOMDIR", "directory"), ("DICOM/SR_1", "Comprehensive SR"), ("DICOM/IM_3", "still"),
        ("DICOM/VOL_1.dcm", "3-D volume"), ("DICOM/ONE", "at least 2 frames"),
        ("VIEWER/icons", "differ in size"), ("DICOM/CT", "Modality must be US"),
    ):  # fmt: skip
        assert words in others[name], others[name]
    only = CliRunner().invoke(app, ["analyze", str(disc / "VIEWER"), "-o", str(tmp_path / "none")])
    assert only.exit_code == 2 and "VIEWER holds no clip" in only.output


def test_every_clip_has_a_row_or_a_reason(clips, whole):
    out, told = whole
    assert (told.clips, told.failed) == (5, 1)
    found = rows(out / "results.csv")
    assert [row["clip"] for row in found] == ["a.avi", "b/a.avi", "c.avi", "noise.avi"]
    assert [row["folder"] for row in found] == ["a", "b_a", "c", "noise"]
    withheld = told.without_ef + told.unreliable
    assert withheld == sum(row["ef_percent"] == "" for row in found) >= 1
    assert told.unreliable == sum(row["ef_reliable"] == "False" for row in found)
    report = json.loads((out / "b_a" / "report.json").read_text())
    assert found[1]["ef_percent"] == "" and report["results"]["ef_percent"] is None  # of phantom
    assert "segmentation only" in report["ef_reason"] == found[1]["ef_reason"]
    (failed,) = rows(out / "failures.csv")
    assert failed["clip"] == "broken.avi" and failed["reason"].startswith("the content is not")
    assert {path.name for path in (out / "a").iterdir()} == {
        "masks.nii.gz", "frames.csv", "report.json", "registry.csv",
    }  # fmt: skip


def test_what_echoseg_wrote_below_a_folder_is_no_clip(clips, whole, tmp_path):
    root = tmp_path / "clips"
    shutil.copytree(clips, root)
    shutil.copytree(whole[0] / "a", root / "older" / "a")
    (root / "out").mkdir()
    (root / "out" / "left.avi").touch()
    assert list(find_clips([root], root / "out")) == list(find_clips([clips]))
    assert "out/left.avi" in find_clips([root], tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="no such permissions")
def test_a_folder_that_cannot_be_read_ends_the_run_in_one_line(tmp_path, monkeypatch):
    closed = tmp_path / "clips" / "closed"
    closed.mkdir(parents=True)
    (tmp_path / "clips" / "a.avi").touch()
    plain = Path.iterdir

    def iterdir(path):
        if path.name == "closed":  # root may read everything
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    for place in (closed, closed.parent):
        done = CliRunner().invoke(app, ["analyze", str(place), "-o", str(tmp_path / "o")])
        assert done.exit_code == 2
        assert "closed cannot be read (Permission denied); make it readable" in done.stderr
        assert not (tmp_path / "o").exists()


def test_several_processes_tell_the_same(clips, whole, tmp_path):
    run(find_clips([clips]), SETTINGS, tmp_path / "out", jobs=2)
    assert tables(tmp_path / "out") == tables(whole[0])


def test_what_is_done_is_not_done_again_and_new_clips_are_added(clips, whole, tmp_path):
    out = tmp_path / "out"
    first = {name: path for name, path in find_clips([clips]).items() if name != "b/a.avi"}
    run(first, SETTINGS, out)
    before = (out / "a" / "report.json").stat().st_mtime_ns
    run(find_clips([clips]), SETTINGS, out, resume=True)
    assert (out / "a" / "report.json").stat().st_mtime_ns == before
    assert tables(out) == tables(whole[0])


def test_a_run_killed_again_and_again_ends_the_same(clips, whole, tmp_path):
    out = tmp_path / "out"
    words = ["analyze", str(clips), "-o", str(out), "--model", "phantom", "--device", "cpu"]
    command = [sys.executable, "-m", "echoseg", *words, "--no-pages", "--resume"]
    kills = 0
    for number in range(1, 4):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while run.poll() is None:
            done = len(list(out.glob("*/report.json"))) + len(list(out.glob("failures/*.json")))
            if done >= number:
                time.sleep(0.02 * number)
                os.kill(run.pid, signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.005)
        run.wait()
    assert kills
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 1
    assert tables(out) == tables(whole[0])
    assert not list(out.glob(".echoseg/*-*"))


def test_what_is_there_is_never_mixed_with_another_cohort(clips, whole, tmp_path):
    out, _ = whole
    found = find_clips([clips])
    with pytest.raises(ConfigError, match="already holds a cohort; continue it with --resume"):
        run(found, SETTINGS, out)
    other = SETTINGS.model_copy(update={"smoothing": False})
    with pytest.raises(ConfigError, match="was started with smoothing=True, got False"):
        run(found, other, out, resume=True)
    fewer = {name: path for name, path in found.items() if name != "c.avi"}
    with pytest.raises(ConfigError, match=r"1 clips of .* are missing"):
        run(fewer, SETTINGS, out, resume=True)
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"holds thesis\.txt and no manifest"):
        run(found, SETTINGS, tmp_path)
    with locked_dir(out), pytest.raises(OutputError, match="in use by another process"):
        run(found, SETTINGS, out, resume=True)


def test_a_clip_that_ends_in_a_fault_of_ours_is_told_and_the_rest_goes_on(
    clips, tmp_path, monkeypatch
):
    from echoseg.inference.analyzer import Analyzer

    def faulty(self, clip, **options):
        raise ZeroDivisionError("by none")

    monkeypatch.setattr(Analyzer, "analyze", faulty)
    told = run({"c.avi": clips / "c.avi"}, SETTINGS, tmp_path / "out")
    assert told.failed == 1
    (row,) = rows(tmp_path / "out" / "failures.csv")
    assert row["reason"].startswith("unexpected, please report it: ZeroDivisionError")


def test_a_full_disk_stops_the_run_and_blames_no_clip(clips, tmp_path, monkeypatch):
    from echoseg.report import writer as results

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(results, "write_masks", full)
        with pytest.raises(OutputError, match="No space left"):
            run({"c.avi": clips / "c.avi"}, SETTINGS, out)
    assert not (out / "failures.csv").exists()
    assert run({"c.avi": clips / "c.avi"}, SETTINGS, out, resume=True).failed == 0


def test_a_network_that_does_not_load_ends_the_run_before_the_first_clip(
    clips, tmp_path, monkeypatch
):
    def broken(*asked):
        raise ModelError("camus.onnx cannot be read by OpenVINO")

    with monkeypatch.context() as patched:
        patched.setattr(work, "load_analyzer", broken)
        with pytest.raises(ModelError, match="cannot be read by OpenVINO"):
            run(find_clips([clips]), SETTINGS, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_clip_that_failed_is_tried_again_once_its_file_is_another(clips, whole, tmp_path):
    root, out = tmp_path / "clips", tmp_path / "out"
    root.mkdir()
    (root / "a.avi").write_bytes(b"RIFF")
    assert run(find_clips([root]), SETTINGS, out).failed == 1
    before = (out / "failures" / "a.json").stat().st_mtime_ns
    assert run(find_clips([root]), SETTINGS, out, resume=True).failed == 1
    assert (out / "failures" / "a.json").stat().st_mtime_ns == before
    shutil.copy(clips / "a.avi", root)
    assert run(find_clips([root]), SETTINGS, out, resume=True).failed == 0
    assert not (out / "failures" / "a.json").exists()
    assert rows(out / "results.csv") == rows(whole[0] / "results.csv")[:1]


def test_a_clip_that_is_not_what_was_analysed_is_refused_and_its_result_kept(
    clips, whole, tmp_path
):
    root, out = tmp_path / "clips", tmp_path / "out"
    shutil.copytree(clips, root)
    shutil.copytree(whole[0], out)
    shutil.copy(root / "c.avi", root / "a.avi")
    with pytest.raises(ConfigError, match=r"a\.avi is not the file whose result is in .*out/a"):
        run(find_clips([root]), SETTINGS, out, resume=True)
    assert tables(out) == tables(whole[0])
    shutil.rmtree(out / "a")
    run(find_clips([root]), SETTINGS, out, resume=True)
    first, _, third = rows(out / "results.csv")[:3]
    assert first["input_sha256"] == third["input_sha256"]


@pytest.mark.parametrize(
    ("broken", "removed", "reason"),
    [("failures/broken.json", "failures/broken.json", "Invalid JSON"), ("a/report.json", "a", "")],
)
def test_the_file_that_cannot_be_read_is_the_one_named(
    clips, whole, tmp_path, broken, removed, reason
):
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    (out / broken).write_text("{")
    with pytest.raises(OutputError) as told:
        run(find_clips([clips]), SETTINGS, out, resume=True)
    assert f"{out / broken} cannot be read ({reason}" in str(told.value)
    assert f"move {out / removed} elsewhere and continue with --resume (resume)" in str(told.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--force"], "--force does not apply to a cohort"),
        (["--jobs", "0"], "jobs must be at least 1"),
        (["--model", "nonsense"], "model must be one of"),
        (["--spacing-mm", "0", "1"], "spacing_mm"),
    ],
)
def test_a_wrong_cohort_is_one_line(clips, tmp_path, words, told):
    done = CliRunner().invoke(app, ["analyze", str(clips), "-o", str(tmp_path / "o"), *words])
    assert done.exit_code == 2
    assert told in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_options_of_cohorts_are_refused_for_two_views(clips, tmp_path):
    pair = ["--a4c", str(clips / "a.avi"), "--a2c", str(clips / "c.avi")]
    done = CliRunner().invoke(app, ["analyze", *pair, "--jobs", "2", "-o", str(tmp_path / "o")])
    assert done.exit_code == 2 and "--no-pages do not apply to two" in done.stderr


def test_one_clip_is_analysed_without_pages_too(clips, tmp_path):
    words = ["analyze", str(clips / "a.avi"), "-o", str(tmp_path / "o"), "--no-pages"]
    done = CliRunner().invoke(app, [*words, "--model", "phantom", "--device", "cpu"])
    assert done.exit_code == 1 and "segmentation only" in " ".join(done.output.split())
    assert {path.name for path in (tmp_path / "o" / "a").iterdir()} == FILES - {
        "overlay.mp4", "curve.svg", "report.html", "report.pdf",
    }  # fmt: skip


def test_names_do_not_meet(tmp_path):
    from echoseg.report.writer import free_names

    assert free_names(["a", "A", "manifest", "a"], ["manifest"]) == [
        "a",
        "A-2",
        "manifest-2",
        "a-3",
    ]
    names = free_names(["x"] * 3000)
    assert len(set(names)) == 3000 and names[-1] == "x-3000"
    assert np.unique(names).size == 3000


def test_done_is_a_result_or_a_reason(clips, whole):
    from echoseg.report.cohort import Cohort

    out, _ = whole
    held = Cohort.model_validate_json((out / "manifest.json").read_text())
    entries = [e.model_copy(update={"source": clips / e.clip}) for e in held.entries]
    assert entries and not not_done(out, entries)
