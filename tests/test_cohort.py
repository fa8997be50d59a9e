"""A cohort: every clip in one table, once, whatever is killed and however many processes work."""

import csv
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from clip_makers import moving_frames, write_dicom, write_video
from echoseg import cohort
from echoseg.cli import app
from echoseg.cohort import How, analyze_cohort, is_cohort
from echoseg.errors import ConfigError, OutputError

HOW = How(model="phantom", device="cpu")


def heart_frames(seed: int) -> np.ndarray:
    from echoseg.phantom import Phantom, PhantomConfig

    return Phantom(PhantomConfig(seed=seed, size_px=64, num_frames=30, frame_rate_hz=30)).frames()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three hearts, a clip too short for an EF, a broken file, one that stands still, a text."""
    root = tmp_path_factory.mktemp("clips")
    (root / "b").mkdir()
    for number, place in enumerate(("a.avi", "b/a.avi", "z.avi")):
        write_video(root / place, heart_frames(number))
    write_video(root / "short.avi", moving_frames())
    write_dicom(root / "still.dcm", np.full((4, 48, 64), 90, np.uint8))
    (root / "broken.avi").write_bytes((root / "a.avi").read_bytes()[:700])
    (root / "FileList.csv").write_text("FileName\na\n")
    return root


def tables(out) -> tuple[bytes, bytes]:
    return (out / "results.csv").read_bytes(), (out / "failures.csv").read_bytes()


def rows(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(text.decode().splitlines()))


@pytest.fixture(scope="module")
def finished(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "whole"
    return analyze_cohort(clips, out, HOW), out


def test_each_clip_is_in_one_table_once_in_the_order_of_paths(finished):
    result, out = finished
    good, bad = map(rows, tables(out))
    assert [row["clip"] for row in good] == ["a.avi", "b/a.avi", "z.avi"]
    assert [row["folder"] for row in good] == ["clips/a", "clips/a-2", "clips/z"]
    assert [(row["clip"], row["stage"]) for row in bad] == [
        ("broken.avi", "read"),
        ("short.avi", "measure"),
        ("still.dcm", "analyze"),
    ]
    assert all(row["reason"] for row in bad)
    assert (result.num_clips, result.num_with_ef, result.num_failed) == (6, 3, 3)
    assert all((out / row["folder"] / "masks.nii.gz").is_file() for row in good)


def test_the_numbers_are_those_of_a_clip_analysed_alone(clips, finished, tmp_path):
    done = CliRunner().invoke(
        app, ["analyze", str(clips / "z.avi"), "-o", str(tmp_path), "--model", "phantom"]
    )
    assert done.exit_code == 0, done.output
    (alone,) = rows((tmp_path / "z" / "registry.csv").read_bytes())
    of_cohort = rows(tables(finished[1])[0])[2]
    assert {name: of_cohort[name] for name in alone} == alone


def test_two_processes_write_the_same_tables(clips, finished, tmp_path):
    analyze_cohort(clips, tmp_path / "out", HOW, jobs=2)
    assert tables(tmp_path / "out") == tables(finished[1])


@pytest.mark.slow
def test_killed_again_and_again_it_ends_in_the_same_tables(clips, finished, tmp_path):
    out = tmp_path / "out"
    words = ["analyze", str(clips), "-o", str(out), "--jobs", "2", "--model", "phantom"]
    command = [sys.executable, "-m", "echoseg", *words, "--device", "cpu", "--resume"]
    kept: list[int] = []
    for num_results in (0, 1, 3):  # killed as soon as so many clips are done
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while run.poll() is None and len(results_in(out)) < num_results + 1:
                time.sleep(0.01)
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
        kept.append(len(results_in(out)))
    before = {path: path.stat().st_mtime_ns for path in results_in(out)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr
    assert tables(out) == tables(finished[1])
    assert kept == sorted(kept) and kept[-1] >= 4
    after = {path: path.stat().st_mtime_ns for path in results_in(out)}
    assert before.items() <= after.items()  # nothing was done twice
    assert not [path for path in out.rglob("*") if "partial" in path.name]


def results_in(out) -> list:
    return [*out.glob("clips/[!.]*/report.json"), *out.glob("failures/[!.]*.json")]


def test_a_finished_cohort_resumed_does_nothing(clips, finished):
    before = tables(finished[1])
    again = analyze_cohort(clips, finished[1], HOW, resume=True)
    assert again.num_done_now == 0
    assert tables(finished[1]) == before


def test_what_a_killed_run_left_half_written_is_swept(clips, finished):
    out = finished[1]
    half = out / "clips" / ".a.partial-999"
    half.mkdir()
    (half / "masks.nii.gz").write_bytes(b"half")
    analyze_cohort(clips, out, HOW, resume=True)
    assert not half.exists()


def test_an_unexpected_error_of_one_clip_does_not_end_the_run(clips, tmp_path, monkeypatch):
    def broken(path, **options):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(cohort, "open_clip", broken)
    result = analyze_cohort(clips, tmp_path / "out", HOW)
    assert result.num_failed == 6
    assert b"unexpected ZeroDivisionError: a bug" in tables(tmp_path / "out")[1]


def test_a_full_disk_ends_the_run_and_is_no_failure_of_the_clip(clips, tmp_path, monkeypatch):
    def full(*args, **options):
        raise OutputError("no space left")

    monkeypatch.setattr(cohort, "write_results", full)
    with pytest.raises(OutputError, match="no space"):
        analyze_cohort(clips, tmp_path / "out", HOW)
    assert results_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "camus"}, "model_sha256 must be"),
        ({"smoothing": False}, "smoothing must be True"),
        ({"frame_rate_hz": 50.0}, "frame_rate_hz must be None"),
    ],
)
def test_another_way_of_analysing_is_not_resumed(clips, finished, change, message):
    with pytest.raises(ConfigError, match=message):
        analyze_cohort(clips, finished[1], HOW.model_copy(update=change), resume=True)


def test_other_clips_are_not_resumed(clips, finished, tmp_path):
    write_video(tmp_path / "a.avi", moving_frames())
    with pytest.raises(ConfigError, match="came, went or changed"):
        analyze_cohort(tmp_path, finished[1], HOW, resume=True)


def test_what_is_there_is_not_replaced(clips, finished, tmp_path):
    with pytest.raises(OutputError, match="pass --resume"):
        analyze_cohort(clips, finished[1], HOW)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds no manifest\.json"):
        analyze_cohort(clips, tmp_path, HOW)


@pytest.mark.skipif(os.name == "nt", reason="needs flock")
def test_a_second_run_is_kept_out(clips, finished):
    import fcntl

    with (finished[1] / "manifest.json").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run"):
            analyze_cohort(clips, finished[1], HOW, resume=True)


def test_a_folder_of_pngs_is_a_clip_and_no_cohort(tmp_path):
    assert is_cohort(tmp_path)
    (tmp_path / "1.png").touch()
    assert not is_cohort(tmp_path)
    assert not is_cohort(tmp_path / "1.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ROOT", "-o", "OUT", "--force"), "--force must be left out"),
        (("ROOT", "-o", "OUT", "--jobs", "0"), "jobs must be at least 1"),
        (("ROOT/a.avi", "-o", "OUT", "--resume"), "go with one folder of clips"),
        (("ROOT/b/none", "-o", "OUT", "--jobs", "2"), "go with one folder of clips"),
    ],
)
def test_a_wrong_command_is_one_sentence(clips, tmp_path, words, message):
    out = tmp_path / "out"
    given = [word.replace("ROOT", str(clips)).replace("OUT", str(out)) for word in words]
    done = CliRunner().invoke(app, ["analyze", *given])
    assert done.exit_code == 2
    assert message in done.output.splitlines()[-1]
    assert not out.exists()


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "clips").mkdir()
    done = CliRunner().invoke(app, ["analyze", str(tmp_path / "clips"), "-o", str(tmp_path / "o")])
    assert done.exit_code == 2
    assert "holds none" in done.output
