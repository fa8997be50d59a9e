"""A file or folder is there whole or not at all, and so are the folders made for it."""

from pathlib import Path

import pytest

from echoseg.errors import OutputError
from echoseg.files import atomic_dir, check_writable, ensure_dir


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with atomic_dir(tmp_path / "a" / "b", lambda: None) as partial:
        (partial / "x").write_text("new")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "x").read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("disk full"), ValueError("odd")])
def test_a_cut_leaves_the_old_folder_and_no_folder_above_a_new_one(tmp_path, error):
    with atomic_dir(tmp_path / "old", lambda: None) as partial:
        (partial / "x").write_text("old")
    for folder in (tmp_path / "old", tmp_path / "a" / "b" / "new"):
        with (
            pytest.raises((KeyboardInterrupt, OutputError, ValueError)),
            atomic_dir(folder, lambda: None) as partial,
        ):
            (partial / "x").write_text("half")
            raise error
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old" / "x").read_text() == "old"


def test_the_folder_one_stands_in_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with atomic_dir(Path("."), lambda: None) as partial:
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
