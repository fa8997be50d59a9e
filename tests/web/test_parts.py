"""The requests that dropped files are sent in, run by node: what may be one clip is in one."""

import pytest

from node_js import run

GIB = 2**30


def parts(*files):
    """The names of each request; a file is a name, or (name, size)."""
    sized = [(file, 1) if isinstance(file, str) else file for file in files]
    value = [{"name": name, "file": {"size": size}} for name, size in sized]
    return run("parts.js", "m.parts(v).map((part) => part.map(({ name }) => name))", value)


def test_a_folder_is_in_one_request_with_all_in_it():
    names = [f"cine/frame_{i:03d}.png" for i in range(300)]
    inner = [f"cine/masks/frame_{i:03d}.png" for i in range(300)]
    (sent,) = parts(*names, *inner)
    assert sorted(sent) == sorted(names + inner)
    store = ["a.zarr/zarr.json", *(f"a.zarr/x/c/{i}/0/0" for i in range(100))]
    assert [sorted(part) for part in parts(*store)] == [sorted(store)]


def test_folders_of_an_archive_are_sent_one_after_another():
    names = [[f"archive/patient{i:02d}/{j}.dcm" for j in range(4)] for i in range(30)]
    sent = parts(*(name for some in names for name in some))
    assert [len(part) for part in sent] == [20] * 6
    assert all(sum(set(some) <= set(part) for part in sent) == 1 for some in names)


def test_large_folders_have_a_request_each():
    sent = parts(*((f"archive/{i}/a.dcm", 2**25) for i in range(4)))
    assert [len(part) for part in sent] == [2, 2]


@pytest.mark.parametrize("suffix", ["dcm", "png"])
def test_files_of_no_folder_are_in_one_request_without_folders(suffix):
    names = [f"{i}.{suffix}" for i in range(45)]
    assert parts(*names, "b/1.dcm", "c/1.dcm") == [names, ["b/1.dcm", "c/1.dcm"]]


def test_what_is_too_large_for_the_server_is_split_between_clips():
    clips = [(f"{folder}/{i}.dcm", GIB // 2) for i in range(3) for folder in ("a", "a/b")]
    sent = parts(*clips)
    assert sorted(map(sorted, sent)) == [["a/0.dcm", "a/1.dcm", "a/2.dcm"], [
        "a/b/0.dcm", "a/b/1.dcm", "a/b/2.dcm"
    ]]  # fmt: skip
    pairs = [(f"a/{i}.{suffix}", GIB // 2) for suffix in ("mhd", "zraw") for i in range(3)]
    assert parts(*pairs) == [[f"a/{i}.mhd", f"a/{i}.zraw"] for i in range(3)]
    loose = [(f"{i}.{suffix}", GIB // 2) for suffix in ("mhd", "raw") for i in range(3)]
    assert parts(*loose) == [[f"{i}.mhd", f"{i}.raw"] for i in range(3)]


def test_frames_are_never_split():
    frames = [(f"a/{i}.png", GIB) for i in range(3)]
    assert parts(*frames) == [[name for name, _ in frames]]  # the server says that it is too large
    many = [f"a/{i}.png" for i in range(10_001)]
    assert parts(*many) == [many]


def test_files_of_the_system_are_not_frames():
    names = ["a/.DS_Store", "a/._1.png", ".DS_Store", "a/Thumbs.db", "a/1.png", "a/DS_Store.png"]
    value = [{"name": name} for name in names]
    assert run("parts.js", "v.map(m.isOfSystem)", value) == [True] * 4 + [False] * 2
