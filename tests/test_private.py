"""Names by keyed hash: the same path has the same name, and no path is left in a text."""

import json
import os
import stat
from pathlib import Path

import pytest

from clip_makers import moving_frames, save_object, write_video
from echoseg.errors import ConfigError, EchosegError
from echoseg.io import load_clip
from echoseg.private import Pseudonyms, hide_path


@pytest.fixture
def names(tmp_path):
    return Pseudonyms(tmp_path / "keys" / "private.key")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_for_its_owner_only_and_names_depend_on_it(tmp_path, names):
    assert mode(names.key_file) == 0o600
    again = Pseudonyms(names.key_file)
    assert names.name("a/Miller.dcm") == again.name("a/Miller.dcm") != names.name("b/Miller.dcm")
    assert Pseudonyms(tmp_path / "other.key").name("a/Miller.dcm") != names.name("a/Miller.dcm")
    assert names.name("a/x/../Miller.dcm") == names.name("a/Miller.dcm")


def test_the_table_says_which_name_is_of_which_path_to_its_owner_only(names):
    odd = os.fsdecode(b"M\xfcller\n.avi")
    expected = {names.name(path): os.path.abspath(path) for path in ("a.dcm", odd, "a.dcm")}
    Pseudonyms(names.key_file).name("a.dcm")
    rows = list(map(json.loads, names.table.read_text().splitlines()))
    assert {row["name"]: row["path"] for row in rows} == expected and len(rows) == 2
    assert mode(names.table) == 0o600


def test_a_key_that_others_can_read_or_that_is_short_is_refused(names):
    names.key_file.chmod(0o644)
    with pytest.raises(ConfigError, match="must not be readable for others; chmod 600"):
        Pseudonyms(names.key_file)
    names.key_file.write_text("short")
    names.key_file.chmod(0o600)
    with pytest.raises(ConfigError, match="at least 16 bytes, got 5"):
        Pseudonyms(names.key_file)


def test_a_table_that_others_can_read_is_refused_with_the_way_out(names):
    names.name("a.dcm")
    names.table.chmod(0o640)
    with pytest.raises(
        ConfigError, match=r"names\.jsonl must not be readable for others; chmod 600"
    ):
        Pseudonyms(names.key_file)
    names.table.chmod(0o600)
    assert Pseudonyms(names.key_file).name("a.dcm") == names.name("a.dcm")


def test_the_variable_names_the_key_and_a_place_that_cannot_be_written_is_refused(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("ECHOSEG_KEY", str(tmp_path / "k"))
    assert Pseudonyms().key_file == tmp_path / "k"
    (tmp_path / "file").touch()
    monkeypatch.setenv("ECHOSEG_KEY", str(tmp_path / "file" / "k"))
    with pytest.raises(ConfigError, match="name another file by --private-key"):
        Pseudonyms()


def test_paths_are_hidden_in_every_form_and_folders_too(tmp_path, names, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "Miller, A. (1950)"
    folder.mkdir()
    (folder / "x.avi").touch()
    alias = names.name(folder / "x.avi")
    names.hide_folder(folder)
    names.hide_folder(tmp_path / "out", "the output folder")
    for path in (folder / "x.avi", "Miller, A. (1950)/x.avi"):
        assert hide_path(f"{path}: broken", folder / "x.avi", alias) == f"{alias}: broken"
    assert names.hide(f"{folder / 'x.avi'}: broken, see x.avi.") == f"{alias}: broken, see {alias}."
    assert names.hide(f"{folder / 'y: (z).avi'} is missing") == ("a file of the input")
    assert names.hide(f"written to {tmp_path / 'out'}/r") == "written to the output folder/r"


def test_a_name_with_backslashes_is_hidden(tmp_path, names):
    path = tmp_path / "apical\\data 4C\\1.avi"
    path.touch()
    names.name(path)
    names.hide_folder(tmp_path, "the folder \\1")
    assert hide_path(f"{path}: broken", path, "clip\\g<0>") == "clip\\g<0>: broken"
    assert names.hide(f"{tmp_path}/x") == "the folder \\1/x"


def test_a_clip_that_is_loaded_by_an_alias_has_its_path_nowhere(tmp_path, names):
    path = tmp_path / "Miller.avi"
    write_video(path, moving_frames(14))
    clip = load_clip(path, alias="clip-1")
    assert clip.source == "clip-1" and "Miller" not in repr(clip)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(EchosegError, match=r"^clip-1: ") as refusal:
        load_clip(path, alias="clip-1")
    assert "Miller" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)


def test_frames_of_a_folder_are_hidden_in_its_refusal(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        (folder / f"Miller_{index}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    save_object(tmp_path / "beside.dcm", moving_frames())
    with pytest.raises(EchosegError) as refusal:
        load_clip(folder, alias="clip-1")
    assert "Miller" not in str(refusal.value) and str(tmp_path) not in str(refusal.value)


@pytest.mark.parametrize("folder", ["e", "bad", "dbad", "out1", "2", "masks", "clip"])
def test_a_folder_of_any_name_is_hidden_and_no_other_text_is_changed(names, folder):
    names.hide_folder(Path(folder), "the output folder")
    text = f"clip-48dbad63772b94e2: 61 of 64 frames have masks; the folder is empty, in {folder}/x."
    hidden = text.replace(f"{folder}/x", "the output folder/x")
    assert names.hide(text) == hidden
    assert names.hide(hidden) == hidden  # said twice, hidden once
    names.hide_folder(Path("Jones"))
    assert names.hide("2 clips of Jones are missing") == "2 clips of a file of the input"
    assert names.hide("Jonestown and clip-Jones") == "Jonestown and clip-Jones"
