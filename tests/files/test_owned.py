"""Only what echoseg wrote is replaced: hashes tell, names do not."""

import json
import os

import pytest

from echoseg.errors import OutputError
from echoseg.files import (
    HIDDEN,
    OwnedFolder,
    check_new_file,
    check_own_file,
    owned_write,
    remove_document,
    write_document,
    write_mark,
)
from echoseg.files.owned import foreign_part, write_owned_text, write_table

MARK = "report.json"


def fill(folder, content="ours"):
    (folder / "sub").mkdir()
    (folder / "masks").write_text(content)
    (folder / "sub" / "a.csv").write_text(content)
    write_mark(folder, MARK, lambda files: json.dumps({"note": "ä", "files": files}))


@pytest.fixture
def result(tmp_path):
    with OwnedFolder(tmp_path / "r", MARK).write() as partial:
        fill(partial)
    return tmp_path / "r"


def replace(folder, force=True):
    with OwnedFolder(folder, MARK, force).write() as partial:
        fill(partial, "new")


def snapshot(folder):
    return {p.relative_to(folder): p.is_file() and p.read_bytes() for p in folder.rglob("*")}


def test_what_was_written_is_known_and_replaced(result):
    files = json.loads((result / MARK).read_text())["files"]
    assert set(files) == {MARK, "masks", "sub/a.csv"}
    assert foreign_part(result, MARK) == ""
    replace(result)
    assert (result / "masks").read_text() == "new"
    (result / "masks").unlink()  # what is missing is no loss
    replace(result)
    assert [path.name for path in result.parent.iterdir()] == ["r"]


def write(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


CHANGES = {
    "masks, which was changed after": lambda r: write(r / "masks", "ours, by hand"),
    "sub/a.csv, which was changed after": lambda r: write(r / "sub/a.csv", "-"),
    "notes, which echoseg did not": lambda r: write(r / "notes"),
    "sub/notes, which echoseg did not": lambda r: write(r / "sub/notes"),
    "new/notes, which echoseg did not": lambda r: write(r / "new/notes"),
    ".hidden, which echoseg did not": lambda r: write(r / ".hidden"),
    "empty, which echoseg did not": lambda r: (r / "empty").mkdir(),
    "link, which echoseg did not": lambda r: (r / "link").symlink_to("masks"),
    "pipe, which echoseg did not": lambda r: os.mkfifo(r / "pipe"),
    "masks/x, which echoseg did not": lambda r: [(r / "masks").unlink(), write(r / "masks/x")],
    "masks, which echoseg did not": lambda r: [
        (r / "masks").rename(r.parent / "m"), (r / "masks").symlink_to(r.parent / "m"),
    ],
    "a report.json, which echoseg did not": lambda r: write(r / MARK, '{"other": "tool"}'),
    "report.json, which echoseg did not write in": lambda r: write(
        r / MARK, (r / MARK).read_text().replace("note", "EF 70 %")
    ),
    "report.json, which echoseg did": lambda r: write(r / MARK, "[" * 100_000),
    "report.json, which": lambda r: write(r / MARK, '{"files": {"report.json": ""}}'),
    "no report.json: echoseg did not": lambda r: (r / MARK).unlink(),
}  # fmt: skip


@pytest.mark.parametrize("words", CHANGES)
def test_what_someone_else_wrote_is_refused_by_name_or_moved_aside(result, words):
    CHANGES[words](result)
    before = snapshot(result)
    with pytest.raises(OutputError) as raised:
        replace(result)
    assert f"holds {words}" in str(raised.value) or f"holds a {words}" in str(raised.value)
    assert "move it, add --keep to move all aside, or choose another" in str(raised.value)
    assert snapshot(result) == before
    assert OwnedFolder(result, MARK, "keep").check() == result.with_name("r.kept")
    replace(result, "keep")
    assert snapshot(result.with_name("r.kept")) == before
    assert (result / "masks").read_text() == "new"


def test_a_change_during_the_work_is_seen(result):
    with (
        pytest.raises(OutputError, match="masks, which was changed"),
        OwnedFolder(result, MARK, True).write() as partial,
    ):
        fill(partial)
        (result / "masks").write_text("by hand")
    assert (result / "masks").read_text() == "by hand"
    assert [path.name for path in result.parent.iterdir()] == ["r"]


def test_a_change_between_the_last_check_and_the_move_is_seen(result, monkeypatch):
    output = OwnedFolder(result, MARK, True)
    check = output._check_content

    def change(place):
        check(place)
        (place / "masks").write_text("by hand")

    with output.write() as partial:
        fill(partial)
        monkeypatch.setattr(output, "_check_content", check)
    (result / "masks").write_text("ours")
    with (
        pytest.raises(OutputError, match="changed after"),
        output.write() as partial,
    ):
        fill(partial)
        monkeypatch.setattr(output, "_check_content", change)
    assert [path.name for path in result.parent.iterdir()] == ["r"]


@pytest.mark.parametrize("force", [False, True])
def test_a_link_to_nothing_is_refused_before_the_work(tmp_path, force):
    (tmp_path / "r").symlink_to("nowhere")
    with pytest.raises(OutputError, match="exists" if not force else "is a link to nothing"):
        OwnedFolder(tmp_path / "r", MARK, force).check()
    replace(tmp_path / "r", "keep")
    assert os.readlink(tmp_path / "r.kept") == "nowhere"


def test_a_single_file_is_replaced_only_as_it_was_written(tmp_path):
    path = tmp_path / "study.csv"
    for text in ("one", "two"):
        write_owned_text(path, text)
    with pytest.raises(OutputError, match="exists; pass --force"):
        check_own_file(path, False)
    path.write_text("two, by hand")
    for attempt in (check_own_file, lambda p: write_owned_text(p, "three")):
        with pytest.raises(OutputError, match=r"study\.csv is not as echoseg wrote it"):
            attempt(path)
    assert check_own_file(path, "keep") == tmp_path / "study.csv.kept"
    write_owned_text(path, "three", "keep")
    assert (tmp_path / "study.csv.kept").read_text() == "two, by hand"
    assert path.read_text() == "three"
    (tmp_path / HIDDEN / "written.json").write_text('{"study.csv": 3')
    with pytest.raises(OutputError, match="is not as"):
        write_owned_text(path, "four")


def test_a_write_cut_after_its_record_leaves_a_file_that_is_still_known(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    write_owned_text(path, "one")

    def cut(*places):
        if places[1] == path:
            raise KeyboardInterrupt
        return plain(*places)

    plain = os.replace
    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt), owned_write(path) as partial:
        partial.write_text("two")
    monkeypatch.setattr(os, "replace", plain)
    assert path.read_text() == "one"
    write_owned_text(path, "three")
    assert path.read_text() == "three"


def test_a_table_that_was_edited_is_moved_aside_and_one_that_is_equal_is_left(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text("a\n")  # written by an older version, or copied without its record
    assert write_table(path, "a\n") is None
    assert write_table(path, "b\n") == tmp_path / "results.csv.kept"
    assert write_table(path, "c\n") is None
    path.write_text("by hand\n")
    assert write_table(path, "d\n") == tmp_path / "results.csv.kept-2"
    assert (tmp_path / "results.csv.kept-2").read_text() == "by hand\n"
    assert path.read_text() == "d\n"


def test_one_check_before_long_work_and_one_rule_at_its_end(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_text("of another program")
    with pytest.raises(OutputError, match="exists; pass --force"):
        check_new_file(path)
    with pytest.raises(OutputError, match="is not as echoseg wrote it"):
        check_new_file(path, True)
    assert check_new_file(path, "keep") == tmp_path / "net.onnx.kept"
    with pytest.raises(OutputError, match="is not as echoseg wrote it"), owned_write(path) as new:
        new.write_text("ours")  # made while the work ran
    assert path.read_text() == "of another program"
    with owned_write(path, "keep") as new:
        new.write_text("ours")
    assert check_new_file(path, True) is None
    with pytest.raises(OutputError, match="is not a folder; make it"):
        check_new_file(tmp_path / "none" / "a.png", True)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="exists and is not a file"):
        check_new_file(tmp_path / "folder", True)


def test_a_document_that_was_edited_is_moved_aside(tmp_path):
    path = tmp_path / "a.json"

    def write(reason):
        write_document(path, lambda own: json.dumps({"reason": reason, "files": own}))

    for reason in ("one", "two"):
        write(reason)
    assert [one.name for one in tmp_path.glob("*.json*")] == ["a.json"]
    path.write_text(path.read_text().replace("two", "by hand"))
    write("three")
    assert "by hand" in (tmp_path / "a.json.kept").read_text()
    remove_document(path)
    assert not path.exists()
    path.write_text("a note")
    remove_document(path)
    assert (tmp_path / "a.json.kept-2").read_text() == "a note" and not path.exists()
