"""The leaderboard of phantom-v2: exact scores, frozen labels, no malformed row."""

import csv
import datetime
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from echoseg.data.phantom import simulated_pair
from echoseg.errors import DatasetError
from echoseg.evaluation.run import phantom_records
from echoseg.phantom.benchmark import frozen_labels, phantom_v2
from experiments import leaderboard, leaderboard_command
from experiments.__main__ import app
from experiments.leaderboard import (
    COLUMNS,
    FILE,
    Entry,
    frozen_records,
    read_entries,
    text_of,
)

VALID = {
    "benchmark": "phantom-v2 2.0.0",
    "hearts": "40",
    "name": "a network",
    "who": "a laboratory",
    "date": "2026-11-27",
    "trained_on": "simulated clips",
    "sha256": "ab" * 32,
    "echoseg": "0.2.0",
    "commit": "0" * 40,
    "machine": "a machine",
    "dice": "0.9",
    "dice_low": "0.88",
    "dice_high": "0.92",
    "dice_a4c": "0.91",
    "dice_a2c": "0.89",
    "dice_easy": "0.92",
    "dice_medium": "0.91",
    "dice_hard": "0.89",
    "dice_extreme": "0.88",
    "failures_percent": "5",
    "es_area_ratio": "1.1",
    "ef_mae_points": "9",
    "ef_bias_points": "-4",
    "clips_without_ef": "0",
    "frames_per_s": "",
}


def board(folder: Path, *changes: dict[str, str]) -> Path:
    """A leaderboard with one row per dictionary of changes."""
    path, table = folder / "board.csv", io.StringIO()
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    writer.writerows([(VALID | change)[column] for column in COLUMNS] for change in changes)
    path.write_text(table.getvalue(), "utf-8")
    return path


def run(*arguments: str | Path):
    return CliRunner().invoke(app, ["leaderboard", *map(str, arguments)])


def test_the_file_of_the_repository_is_valid():
    assert len({entry.sha256 for entry in read_entries(FILE)}) == len(read_entries(FILE))
    assert FILE.read_text("utf-8") == text_of(read_entries(FILE))


def test_a_row_comes_back_as_it_was_written(tmp_path):
    (entry,) = read_entries(board(tmp_path, {"name": "=1+1", "frames_per_s": "31.5"}))
    (tmp_path / "again.csv").write_text(text_of([entry]), "utf-8")
    assert "'=1+1" in text_of([entry])  # no spreadsheet runs it
    assert read_entries(tmp_path / "again.csv") == (entry,)
    assert (entry.name, entry.frames_per_s) == ("=1+1", 31.5)


def test_a_row_may_be_of_a_changed_checkout_as_provenance_names_it(tmp_path):
    commit = "ab" * 20 + "-dirty"
    (entry,) = read_entries(board(tmp_path, {"commit": commit}))
    assert entry.commit == commit


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dice": "1.4"}, "dice must be less than or equal to 1, got '1.4'"),
        ({"dice": "nan"}, "dice must be a finite number"),
        ({"dice": "good"}, "dice must be a valid number"),
        ({"dice": ""}, "dice must be a valid number"),
        ({"dice": "0.93"}, "dice must lie within dice_low and dice_high"),
        ({"dice_a4c": "0.95"}, "dice must be the mean of dice_a4c, dice_a2c"),
        ({"dice_extreme": "0.2"}, "dice must be the mean of dice_easy"),
        ({"ef_bias_points": "-9.5"}, "ef_bias_points must be at most ef_mae_points"),
        ({"ef_mae_points": "-1"}, "ef_mae_points must be greater than or equal to 0"),
        ({"es_area_ratio": "inf"}, "es_area_ratio must be"),
        ({"clips_without_ef": "320"}, "clips_without_ef must be less than 320"),
        ({"frames_per_s": "0"}, "frames_per_s must be greater than 0"),
        ({"sha256": "abc"}, "sha256"),
        ({"commit": "main"}, "commit"),
        ({"date": "yesterday"}, "date must be a valid date"),
        ({"date": "2999-01-01"}, "date must not be in the future"),
        ({"hearts": "12"}, "hearts must be 40 or 10, got 12"),
        ({"benchmark": "phantom-v1"}, "benchmark must be 'phantom-v2 2.0.0'"),
        ({"name": ""}, "name"),
        ({"name": "a\x1b[2J"}, "name"),
        ({"who": "w" * 201}, "who"),
    ],
)
def test_a_malformed_row_is_refused_by_line_and_field(tmp_path, change, words):
    path = board(tmp_path, {"name": "fine", "sha256": "cd" * 32}, change)
    result = run("check", path)
    assert result.exit_code == 2
    (sentence,) = result.stderr.splitlines()
    assert f"{path}, line 3: {words}" in sentence
    assert sentence.endswith("correct the row, or score the entry again")
    assert "\x1b" not in sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "cd" * 32}, "name 'a network' is listed already"),
        ({"name": "other"}, "the same weights or masks are listed as 'a network'"),
    ],
)
def test_an_entry_comes_once(tmp_path, change, words):
    result = run("check", board(tmp_path, {}, change))
    assert (result.exit_code, words in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "must have the columns benchmark, hearts"),
        (b"name,dice\nx,1\n", "must have the columns benchmark, hearts"),
        (",".join(COLUMNS).encode() + b"\nphantom-v2 2.0.0,x\n", "line 2 must have 25 fields"),
        (",".join(COLUMNS).encode() + b"\n" + 30 * b"x," + b"\n", "line 2 must have 25 fields"),
        (b"\xff\xfe\x00", "is not a leaderboard"),
        (b"x" * (2**20 + 1), "it is larger than 1 MiB"),
        (None, "is not a leaderboard"),
    ],
)
def test_what_is_not_a_leaderboard_is_refused(tmp_path, content, words):
    path = tmp_path / "board.csv"
    if content is not None:
        path.write_bytes(content)
    result = run("check", path)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert words in result.stderr


def test_entries_of_ten_and_of_forty_hearts_are_apart(tmp_path):
    path = board(tmp_path, {}, {"hearts": "10"})
    assert [entry.hearts for entry in read_entries(path)] == [40, 10]


def test_a_mark_that_spreadsheets_write_first_is_passed_over(tmp_path):
    path = board(tmp_path, {})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_entries(path)) == 1


@pytest.fixture(scope="module")
def two_hearts():
    """Records of two hearts, each in four tiers and two views, and the clips by name."""
    chosen = frozen_records()[:16]
    return chosen, {record.name: record.load() for record in chosen}


@pytest.fixture
def small(two_hearts, monkeypatch):
    """phantom-v2 with two hearts, simulated once."""
    records, loaded = two_hearts
    known = tuple(replace(r, read=lambda pair=loaded[r.name]: pair) for r in records)
    monkeypatch.setattr(leaderboard_command, "frozen_records", lambda hearts: known)
    return {name: annotation.masks for name, (_, annotation) in loaded.items()}


def folder_of(masks: dict[str, np.ndarray], folder: Path) -> Path:
    folder.mkdir()
    for name, label_maps in masks.items():
        np.savez_compressed(folder / f"{name}.npz", masks=label_maps)
    return folder


ABOUT = ("--name", "the truth", "--who", "a test", "--trained-on", "nothing")


@pytest.mark.slow
def test_true_masks_have_the_exact_scores(small, tmp_path):
    path = board(tmp_path)
    masks = folder_of(small, tmp_path / "masks")
    arguments = ("score", "--predictions", masks, *ABOUT, "-o", tmp_path / "out", "--file", path)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    (entry,) = read_entries(path)
    scores = {getattr(entry, column) for column in COLUMNS if column.startswith("dice")}
    assert scores == {1.0}
    assert (entry.es_area_ratio, entry.ef_mae_points, entry.clips_without_ef) == (1, 0, 0)
    assert (entry.name, entry.who, entry.failures_percent) == ("the truth", "a test", 0)
    assert entry.date == datetime.datetime.now(datetime.UTC).date()
    assert (tmp_path / "out" / "summary.json").is_file()

    again = run(*arguments)
    assert again.exit_code == 2
    assert "listed already" in again.stderr
    assert read_entries(path) == (entry,)


@pytest.mark.slow
def test_a_clip_without_masks_adds_no_row(small, tmp_path):
    path = board(tmp_path)
    before = path.read_bytes()
    masks = folder_of(dict(list(small.items())[1:]), tmp_path / "masks")
    result = run("score", "--predictions", masks, *ABOUT, "-o", tmp_path / "out", "--file", path)
    assert result.exit_code == 2
    assert "every clip of phantom-v2 2.0.0 must be segmented, 1 are not" in result.stderr
    assert path.read_bytes() == before


@pytest.mark.slow
def test_masks_without_a_cavity_add_no_row(small, tmp_path):
    path = board(tmp_path)
    walls = {name: np.where(masks == 1, 0, masks) for name, masks in small.items()}
    masks = folder_of(walls, tmp_path / "masks")
    result = run("score", "--predictions", masks, *ABOUT, "-o", tmp_path / "out", "--file", path)
    assert result.exit_code == 2
    assert "must hold the LV cavity" in result.stderr
    assert read_entries(path) == ()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("camus", "--who", "me"), "--name must be given"),
        (("camus", "--name", "x"), "--who must be given"),
        (("--name", "x", "--who", "me"), "give either a model or --predictions"),
        (("camus", "--name", "x", "--who", "me", "--hearts", "3"), "--hearts must be 40 or 10"),
        (("nothing.safetensors", "--name", "x", "--who", "me"), "model must be one of"),
    ],
)
def test_a_wrong_command_is_one_sentence_before_the_work(tmp_path, arguments, words):
    path = board(tmp_path)
    result = run("score", *arguments, "-o", tmp_path / "out", "--file", path)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_labels_that_are_not_those_of_the_release_fail_to_load(monkeypatch):
    monkeypatch.setattr(
        leaderboard, "frozen_labels", lambda: {"test": ["0" * 16] * len(frozen_labels()["test"])}
    )
    with pytest.raises(DatasetError, match=r"labels are not those of phantom-v2 2\.0\.0"):
        frozen_records()[0].load()


def test_the_clips_are_those_that_evaluate_takes(two_hearts):
    records, loaded = two_hearts
    assert [r.name for r in frozen_records()] == [r.name for r in phantom_records("test")]
    assert [r.name for r in frozen_records(10)] == [r.name for r in frozen_records()[:80]]
    clip, annotation = simulated_pair(phantom_v2("test")[0])
    assert np.array_equal(loaded[records[0].name][0].frames, clip.frames)
    assert np.array_equal(loaded[records[0].name][1].masks, annotation.masks)


def test_every_tier_and_view_has_a_column():
    assert {"dice_easy", "dice_medium", "dice_hard", "dice_extreme"} <= set(COLUMNS)
    assert set(VALID) == set(COLUMNS) == set(Entry.model_fields)
