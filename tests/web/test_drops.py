"""Dropped files: what a browser sends, hostile names and bodies, and what is left on disk."""

import asyncio
from pathlib import Path

import pytest

from clip_makers import moving_frames, write_zarr
from echoseg.errors import FormatError, OutputError, TooLargeError, Unfit
from echoseg.web import drops
from echoseg.web.api import WorklistQuery
from echoseg.web.drops import Drop, receive, safe_name, sweep_drops
from worklist_makers import open_worklist, write_clip


@pytest.fixture
def worklist(tmp_path):
    one = open_worklist(tmp_path / "page", max_upload_bytes=2**20)
    yield one
    one.database.close()


def body(*files, boundary=b"xyz", field="files"):
    """A multipart body of (name, content)."""
    parts = b""
    for name, content in files:
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
        parts += b"--" + boundary + b"\r\n" + head.encode() + b"\r\n" + content + b"\r\n"
    return parts + b"--" + boundary + b"--\r\n"


def drop(worklist, content, kind="multipart/form-data; boundary=xyz", size=37):
    async def pieces():
        for start in range(0, len(content), size):
            yield content[start : start + size]

    one = Drop(worklist)
    try:
        asyncio.run(receive(one, kind, pieces()))
        return one.add("ann")
    except BaseException:
        one.discard()
        raise


def left(worklist):
    place = worklist.settings.folder / "drops"
    return sorted(path.name for path in place.rglob("*") if path.is_file())


def test_a_dropped_folder_comes_into_the_worklist(worklist, tmp_path):
    one, other = (
        write_clip(tmp_path / f"{seed}.dcm", seed, num_frames=12).read_bytes() for seed in (1, 2)
    )
    added = drop(
        worklist,
        body(("study/a.dcm", one), ("study/b.dcm", other), ("study/note.txt", b"none")),
        size=4096,
    )
    assert len(added.added) == 2 and worklist.page(WorklistQuery()).total == 2
    assert {row.study for row in map(worklist.row, added.added)} != {""}
    assert left(worklist) == ["a.dcm", "b.dcm"]


def test_the_second_drop_of_a_file_leaves_nothing(worklist, tmp_path):
    content = write_clip(tmp_path / "a.dcm", num_frames=12).read_bytes()
    first = drop(worklist, body(("a.dcm", content)), size=4096)
    second = drop(worklist, body(("other name.dcm", content)), size=4096)
    assert first.added == second.added and left(worklist) == ["a.dcm"]


def test_refused_files_are_named(worklist):
    added = drop(
        worklist,
        body(("page.htm", b"<script>"), ("empty.dcm", b""), ("../..", b"x"), ("big", b"y" * 2**21)),
        size=2**16,
    )
    assert added.added == () and left(worklist) == []
    reasons = {one.name: one.reason for one in added.refused}
    assert reasons["empty.dcm"] == "the file is empty" and "larger than 1 MiB" in reasons["big"]
    assert "format" in reasons["page.htm"] and "1 to 12 parts" in reasons["../.."]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "etc/passwd"),
        ("C:\\Users\\x\\..\\a.dcm", "C:/Users/x/a.dcm"),
        ("/etc/passwd", "etc/passwd"),
        (".hidden/.b", "hidden/b"),
        ("a\x00\nb.dcm", "a__b.dcm"),
        ("a.zarr/.zgroup", "a.zarr/.zgroup"),
        ("zarray/..zgroup/.Zgroup", "zarray/zgroup/Zgroup"),
        ("é <img src=x>.dcm", "é <img src=x>.dcm"),
    ],
)
def test_names_stay_in_their_folder(name, expected):
    assert safe_name(name).as_posix() == expected


@pytest.mark.parametrize("name", ["", "..", "/", "a/" * 20 + "b", "x" * 300])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(Unfit, match="name of a file"):
        safe_name(name)


def test_two_files_of_one_name_are_both_kept(worklist, tmp_path):
    one, other = (
        write_clip(tmp_path / f"{seed}.dcm", seed, num_frames=12).read_bytes() for seed in (1, 2)
    )
    files = body(("a.dcm", one), ("a.dcm", other), ("a.dcm/b", one))
    assert len(drop(worklist, files, size=4096).added) == 2


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "application/json"),
        (b"{}", "multipart/form-data"),
        (b"no boundary", "multipart/form-data; boundary=xyz"),
        (body(("a", b"x"))[:-9], "multipart/form-data; boundary=xyz"),
        (b"--xyz\r\nbad header\r\n\r\n", "multipart/form-data; boundary=xyz"),
    ],
)
def test_a_body_that_is_none_leaves_nothing(worklist, content, kind):
    with pytest.raises(FormatError):
        drop(worklist, content, kind)
    assert left(worklist) == []


def test_a_full_disk_and_too_many_files_are_said(worklist, monkeypatch):
    monkeypatch.setattr(drops, "MAX_FILES", 2)
    with pytest.raises(TooLargeError, match="at most 2 files"):
        drop(worklist, body(("a", b"x"), ("b", b"x"), ("c", b"x")))
    monkeypatch.setattr(drops, "MIN_FREE_BYTES", 2**60)
    with pytest.raises(TooLargeError, match="disk"):
        drop(worklist, body(("a", b"x")))
    assert left(worklist) == []


def test_a_drop_that_was_cut_off_by_a_kill_is_removed_at_the_next_start(worklist, tmp_path):
    content = write_clip(tmp_path / "a.dcm", num_frames=12).read_bytes()
    drop(worklist, body(("a.dcm", content)), size=4096)
    cut = Drop(worklist)
    cut.begin("b.dcm")
    cut.write(b"half")
    cut.end()
    sweep_drops(worklist)
    assert left(worklist) == ["a.dcm"]


@pytest.mark.parametrize("is_linked", [False, True])
def test_drops_are_there_when_the_folder_was_moved_or_linked(worklist, tmp_path, is_linked):
    content = write_clip(tmp_path / "a.dcm", num_frames=12).read_bytes()
    clip = drop(worklist, body(("study/a.dcm", content)), size=4096).added[0]
    worklist.close()
    worklist.database.close()
    there = tmp_path / "there"
    if is_linked:
        there.symlink_to(tmp_path / "page")
    else:
        (tmp_path / "page").rename(there)
    for folder in (there, tmp_path / "page") if is_linked else (there,):
        one = open_worklist(folder)
        sweep_drops(one)
        source = one.row(clip).source
        assert source.startswith(f"{folder}/drops/") and source.endswith("/study/a.dcm")
        assert Path(source).read_bytes() == content
        one.database.close()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zarr_store_is_a_clip(worklist, tmp_path, zarr_format):
    store = tmp_path / "a.zarr"
    write_zarr(store, moving_frames(14), zarr_format=zarr_format)
    paths = [path for path in store.rglob("*") if path.is_file()]
    files = [(str(path.relative_to(tmp_path)), path.read_bytes()) for path in paths]
    added = drop(worklist, body(*files), size=2**16)
    assert len(added.added) == 1 and len(left(worklist)) == len(paths)


def test_pixels_of_any_name_stay_with_their_header(worklist):
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 32 32 10\nElementType = MET_UCHAR\n"
        "ElementDataFile = b.bin\n"
    )
    pixels = bytes(range(256)) * 40
    files = (("x/b.mhd", header.encode()), ("x/b.bin", pixels), ("y/c.bin", pixels))
    added = drop(worklist, body(*files), size=4096)
    assert len(added.added) == 1 and [one.name for one in added.refused] == ["y/c.bin"]
    assert left(worklist) == ["b.bin", "b.mhd"]


def test_clips_that_are_in_the_worklist_outlive_an_error_of_their_drop(
    worklist, tmp_path, monkeypatch
):
    monkeypatch.setattr("echoseg.web.worklist._BATCH", 1)
    files = body(*(
        (f"{seed}.dcm", write_clip(tmp_path / f"{seed}.dcm", seed, num_frames=12).read_bytes())
        for seed in (1, 2)
    ))  # fmt: skip
    append, calls = worklist.audit.append, []

    def fail_once(event):
        calls.append(event)
        if len(calls) == 2:
            raise OutputError("no space left")
        return append(event)

    monkeypatch.setattr(worklist.audit, "append", fail_once)
    with pytest.raises(OutputError):
        drop(worklist, files, size=4096)
    (row,) = worklist.page(WorklistQuery()).rows
    assert Path(worklist.row(row.id).source).exists()
