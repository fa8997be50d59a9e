"""`echoseg phantom` as a user types it: what it writes, what it refuses."""

import json

import pytest
from PIL import Image
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.io import load_clip


def run(*words):
    return CliRunner().invoke(app, ["phantom", *map(str, words)])


SMALL = ("--size", 64, "--frames", 12, "--fps", 12)


def test_make_writes_clips_that_can_be_opened(tmp_path):
    done = run("make", tmp_path / "out", "--num-clips", 2, "--seed", 5, "--ef", 40, *SMALL)
    assert done.exit_code == 0, done.output
    clips = sorted((tmp_path / "out").glob("*.avi"))
    assert len(clips) == 2
    assert load_clip(clips[0]).num_frames == 12
    recipe = json.loads((tmp_path / "out" / "phantom.json").read_text())
    assert {clip["ef_percent"] for clip in recipe["clips"].values()} == {40.0}


def test_show_writes_a_sheet_and_a_film(tmp_path):
    done = run("show", tmp_path / "show", "--seed", 3, *SMALL)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "show" / "sheet.png").stat().st_size > 10_000
    assert load_clip(tmp_path / "show" / "film.mp4").num_frames == 12
    again = run("show", tmp_path / "show", "--seed", 3, *SMALL)
    assert again.exit_code == 2
    assert "--force" in again.output


def test_calibrate_prints_both_sides_and_writes_numbers(tmp_path):
    run("make", tmp_path / "set", "--layout", "camus", "--num-clips", 2, *SMALL)
    done = run("calibrate", tmp_path / "set", "--hearts", 2, "-o", tmp_path / "numbers.json")
    assert done.exit_code == 0, done.output
    assert "ED LV length (mm)" in done.output
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["ED grey, LV"]["data_set"]["number"] == 2
    first = next(iter(numbers))
    assert first.startswith("ED border, ")  # what a network reads comes first
    run("make", tmp_path / "a2c", "--layout", "camus", "--view", "A2C", "--num-clips", 2, *SMALL)
    done = run("calibrate", tmp_path / "a2c", "--hearts", 2, "--view", "A2C")
    assert "border, anterior mid: wall - cavity" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ef", 120), "ef_percent must be less than or equal to 80, got 120"),
        (("--frames", 0), "num_frames must be greater than or equal to 1, got 0"),
        (("--size", 7), "size_px must be greater than or equal to 64, got 7"),
        (("--tier", "silly"), "tier must be 'easy', 'medium', 'hard' or 'extreme', got 'silly'"),
        (("--layout", "zip"), "layout must be one of avi, nifti, dicom, camus, echonet, got 'zip'"),
        (("--num-clips", 0), "num_clips must be from 1 to 1000000, got 0"),
        (("--num-clips", 10**11), "num_clips must be from 1 to 1000000, got 100000000000"),
        (("--seed", 2**31 - 2, "--num-clips", 3), "seed must leave room for all clips"),
        (("--seed", -1), "seed must be greater than or equal to 0, got -1"),
        (("--jobs", 0), "jobs must be at least 1, got 0"),
        (
            ("--rhythm", "x"),
            "rhythm must be 'sinus', 'atrial_fibrillation' or 'premature', got 'x'",
        ),
        (("--fps", "nan"), "frame_rate_hz must be a finite number, got nan"),
        (("--view", "PLAX"), "view must be one of A4C, A2C, ALAX, got PLAX"),
        (
            ("--frames", 1),
            "num_frames must be at least 2, which a clip in a file needs",
        ),
        (("--layout", "echonet", "--view", "A2C"), "view must be A4C in the echonet layout"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(tmp_path, words, said):
    done = run("make", tmp_path / "out", "--num-clips", 1, *words)
    assert done.exit_code == 2
    assert said in done.output.replace("\n", " ")
    assert "Traceback" not in done.output
    assert isinstance(done.exception, SystemExit)
    assert list(tmp_path.iterdir()) == []


def test_calibrate_refuses_other_folders(tmp_path):
    done = run("calibrate", tmp_path)
    assert done.exit_code == 2
    assert "is not a known data set" in done.output


def test_calibrate_refuses_before_the_long_work(tmp_path, monkeypatch):
    from echoseg.data import phantom

    monkeypatch.setattr(phantom, "stills_of", None)
    (tmp_path / "old.json").write_text("old")
    for words, said in (
        (("--hearts", 1), "hearts must be at least 2, got 1"),
        (("--seed", 2**31 - 1), "seed must leave room"),
        (("-o", tmp_path / "old.json"), "exists; pass --force (force)"),
        (("-o", tmp_path, "--force"), "is not a file; choose another name"),
        (("-o", tmp_path / "old.json" / "x"), "choose another place"),
        (("-o", tmp_path / "none" / "x"), "is not a folder; make it, or choose another name"),
    ):
        done = run("calibrate", tmp_path, *words)
        assert done.exit_code == 2
        assert said in done.output.replace("\n", " ")
    assert [path.name for path in tmp_path.iterdir()] == ["old.json"]
    assert (tmp_path / "old.json").read_text() == "old"


def test_calibrate_refuses_a_data_set_without_training_frames(tmp_path, monkeypatch):
    from echoseg.data import phantom

    monkeypatch.setattr(phantom, "stills_of", lambda *_: iter(()))
    done = run("calibrate", tmp_path, "--hearts", 2)
    assert done.exit_code == 2
    assert "has no annotated A4C frames in its split 'train'" in done.output.replace("\n", " ")


def test_show_leaves_nothing_where_it_cannot_write(tmp_path, monkeypatch):
    from echoseg.report.figures import phantom_sheet

    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / ("n" * 300)):
        done = run("show", place, *SMALL)
        assert done.exit_code == 2
        assert "choose another folder" in done.output.replace("\n", " ")

    def cut(*words):
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom_sheet, "write_h264", cut)
    assert run("show", tmp_path / "a" / "b", "--size", 64, "--frames", 1).exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_captions_of_small_pictures_are_whole(tmp_path):
    run("show", tmp_path / "show", "--size", 64, "--frames", 2)
    with Image.open(tmp_path / "show" / "sheet.png") as sheet:
        assert sheet.width == 8 * 120
    assert load_clip(tmp_path / "show" / "film.mp4").size[1] == 2 * 320
