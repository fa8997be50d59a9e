"""A file or folder is there whole or not at all, and so are the folders made for it."""

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from echoseg.errors import ConfigError, OutputError
from echoseg.files import (
    OwnedFolder,
    ResumableFolder,
    check_writable,
    ensure_dir,
    locked_dir,
    write_mark,
    write_text,
)

MARK = "mark.json"


def mark(folder):
    write_mark(folder, MARK, lambda files: json.dumps({"files": files}))


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with OwnedFolder(tmp_path / "a" / "b", MARK).write() as partial:
        (partial / "x").write_text("new")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "x").read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full"), ValueError("odd")])
def test_a_cut_leaves_the_old_folder_and_no_folder_above_a_new_one(tmp_path, error):
    with OwnedFolder(tmp_path / "old", MARK).write() as partial:
        (partial / "x").write_text("old")
        mark(partial)
    for folder in (tmp_path / "old", tmp_path / "a" / "b" / "new"):
        with (
            pytest.raises((KeyboardInterrupt, OutputError, ValueError)),
            OwnedFolder(folder, MARK, True).write() as partial,
        ):
            (partial / "x").write_text("half")
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "x").read_text() == "old"


def test_the_folder_one_stands_in_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with OwnedFolder(Path("."), MARK, True).write() as partial:
        (partial / "x").write_text("new")
    assert (tmp_path / "here" / "x").read_text() == "new"


def test_a_folder_that_stays_empty_goes_again(tmp_path):
    with ensure_dir(tmp_path / "a" / "b"):
        pass
    with ensure_dir(tmp_path / "c" / "d") as folder:
        (folder / "x").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_place_under_a_file_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written .*; choose another"):
        check_writable(tmp_path / "file" / "sub", "choose another")
    with pytest.raises(OutputError, match=r"sub cannot be written .*; choose another place"):
        write_text(tmp_path / "file" / "sub", "")
    with pytest.raises(OutputError, match=r"sub cannot be written .*; choose another place"):
        with locked_dir(tmp_path / "file" / "sub"):
            pass
    with pytest.raises(OutputError, match="; choose another"):
        with locked_dir(Path("/proc/x")):
            pass


class Grid(BaseModel):
    """Settings of a resumable folder: `steps` must match, `units` may grow."""

    steps: int
    units: tuple[str, ...] = ()


def resumable(path):
    return ResumableFolder(path, "grid.json", Grid, "a grid")


def test_a_folder_is_resumed_with_the_same_settings_only(tmp_path):
    folder = resumable(tmp_path / "out")
    with folder.locked():
        folder.begin(Grid(steps=2, units=("a",)))
    with folder.locked():
        folder.begin(Grid(steps=2, units=("a", "b")), varying=["units"])
    assert folder.read() == Grid(steps=2, units=("a", "b"))
    assert [path.name for path in folder.path.iterdir()] == ["grid.json"]
    with pytest.raises(ConfigError, match=r"out was started with steps=2, got 3; use the same"):
        folder.begin(Grid(steps=3, units=("a", "b")))
    with pytest.raises(ConfigError, match="started with units="):
        folder.begin(Grid(steps=2))
    with pytest.raises(ConfigError, match="already holds a grid; continue it with --resume"):
        folder.begin(Grid(steps=2, units=("a", "b")), resume=False)
    assert folder.read() == Grid(steps=2, units=("a", "b"))


def test_other_files_or_damaged_settings_are_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    folder = resumable(tmp_path)
    with pytest.raises(OutputError, match=r"holds thesis and no grid\.json"), folder.locked():
        folder.begin(Grid(steps=2))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
    folder.settings_path.write_text('{"steps": "many"}')
    with pytest.raises(OutputError, match=r"grid\.json cannot be read \(steps must be a valid"):
        folder.begin(Grid(steps=2))
    folder.settings_path.write_text(other := '{"epochs": 3}')
    message = "must hold a grid, its grid.json is of another kind or version; choose another"
    with pytest.raises(OutputError, match=message):
        folder.begin(Grid(steps=2))
    assert folder.settings_path.read_text() == other


def test_a_failure_before_the_first_unit_leaves_the_folder_as_it_was(tmp_path):
    folder = resumable(tmp_path / "out")
    for before in (None, Grid(steps=2)):
        if before is not None:
            with folder.locked():
                folder.begin(before)
        with pytest.raises(KeyError), folder.locked():
            folder.begin(Grid(steps=2, units=("a",)), varying=["units"])
            (folder.path / "units").mkdir()
            raise KeyError("no")
        assert folder.path.exists() == (before is not None)
    assert folder.read() == Grid(steps=2)
    with pytest.raises(KeyError), folder.locked():
        folder.begin(Grid(steps=2, units=("a",)), varying=["units"])
        (folder.path / "a.json").touch()
        raise KeyError("no")
    assert folder.read() == Grid(steps=2, units=("a",))


def test_two_processes_in_one_folder_are_refused(tmp_path):
    folder = resumable(tmp_path)
    with (
        folder.locked(),
        pytest.raises(OutputError, match="in use by another process"),
        resumable(tmp_path).locked(),
    ):
        pass
