"""The worklist: what is added, queried, and there after a restart; on SQLite and PostgreSQL."""

import shutil
import time

import pytest

from echoseg.audit import AuditLog
from echoseg.errors import ConfigError, EchosegError
from echoseg.io import source_sha256
from echoseg.web.analysis import ClipFailure, ClipResult
from echoseg.web.api import WorklistQuery
from echoseg.web.records import ClipRow
from worklist_makers import open_worklist, write_clip


@pytest.fixture
def worklist(tmp_path, database_url):
    one = open_worklist(tmp_path / "page", database_url)
    yield one
    one.database.close()


def add_rows(worklist, *rows):
    """Rows of no file."""
    base = {"source": "/none", "sha256": "0" * 64, "state": "ready", "added_s": 1.0}
    with worklist.database.transaction() as session:
        for number, row in enumerate(rows):
            session.add(ClipRow(**(base | {"id": f"{number:032}", "name": f"clip-{number}"} | row)))


def names(worklist, **query):
    return [row.name for row in worklist.page(WorklistQuery(**query)).rows]


def test_a_clip_is_queued_under_the_hash_of_its_content(worklist, tmp_path):
    path = write_clip(tmp_path / "in" / "Miller.dcm")
    added = worklist.add([path], "ann")
    assert added.ids == (source_sha256(path)[:32],) and added.refused == {}
    (row,) = worklist.page(WorklistQuery()).rows
    assert (row.id, row.state, row.num_frames, row.ef_percent) == (*added.ids, "queued", 0, None)
    assert "Miller" not in row.model_dump_json()


def test_a_clip_that_is_added_twice_is_one_row(worklist, tmp_path):
    path = write_clip(tmp_path / "in" / "a.dcm")
    again = shutil.copy(path, tmp_path / "in" / "b.dcm")
    first, second = worklist.add([path], "ann"), worklist.add([path.parent], "ann")
    assert first.ids == second.ids and worklist.page(WorklistQuery()).total == 1
    assert worklist.row(first.ids[0]).source == str(path) != str(again)
    events = [one.event for one in AuditLog(tmp_path / "page" / "audit.jsonl").records()]
    assert events == ["added"]


def test_what_is_no_clip_is_refused_with_its_reason(worklist, tmp_path):
    write_clip(tmp_path / "in" / "a.dcm")
    (tmp_path / "in" / "page.html2").write_text("<script>")
    added = worklist.add([tmp_path / "in"], "ann")
    assert len(added.ids) == 1
    assert list(added.refused) == ["page.html2"] and "format" in added.refused["page.html2"]
    with pytest.raises(ConfigError, match="does not exist"):
        worklist.add([tmp_path / "none"], "ann")


def test_clips_of_one_study_stand_together(worklist, tmp_path):
    for seed, study in enumerate(("1.2.3", "1.2.3", "1.2.4")):
        write_clip(tmp_path / "in" / f"{seed}.dcm", seed, StudyInstanceUID=study, PatientID="A7")
    ids = worklist.add([tmp_path / "in"], "ann").ids
    one, other, alone = (worklist.row(clip).study for clip in ids)
    assert one == other != alone and "1.2.3" not in one
    assert [row.id for row in worklist.study(one)] == list(ids[:2]) and worklist.study("") == []


def test_names_are_shown_where_it_is_asked_for(tmp_path):
    path = write_clip(tmp_path / "in" / "<b>Miller.dcm")
    for show, expected in ((True, "<b>Miller.dcm"), (False, "clip-")):
        worklist = open_worklist(tmp_path / f"page{show}", show_names=show)
        worklist.add([path], "ann")
        assert names(worklist)[0].startswith(expected)
        worklist.database.close()


def test_the_filters(worklist):
    add_rows(
        worklist,
        {"ef_kind": "plain", "ef_percent": 55.0, "label_priority": 1.0},
        {"ef_kind": "unreliable", "label_priority": 3.0},
        {"ef_kind": "plain", "ef_percent": 35.0, "is_corrected": True},
        {"ef_kind": "plain", "ef_percent": 40.0, "decision": "accepted", "view": "A2C"},
        {"state": "failed", "reason": "broken"},
        {"state": "queued", "name": "50%_done"},
    )
    order = {"sort": "name", "descending": False}
    assert names(worklist, filter="unreliable", **order) == ["clip-1"]
    assert names(worklist, filter="uncorrected", **order) == ["clip-0", "clip-1", "clip-3"]
    assert names(worklist, filter="undecided", **order) == ["clip-0", "clip-1", "clip-2"]
    assert names(worklist, ef_from=35, ef_to=40, **order) == ["clip-2", "clip-3"]
    assert names(worklist, text="a2c", **order) == ["clip-3"]
    assert names(worklist, text="%_", **order) == ["50%_done"]
    assert names(worklist, text="_", **order) == ["50%_done"]
    assert names(worklist, state="failed") == ["clip-4"]
    assert names(worklist, sort="ef")[:3] == ["clip-0", "clip-3", "clip-2"]
    assert names(worklist, sort="ef", descending=False)[:3] == ["clip-2", "clip-3", "clip-0"]
    assert names(worklist, sort="priority")[:2] == ["clip-1", "clip-0"]
    page = worklist.page(WorklistQuery(filter="unreliable"))
    assert page.counts == {"queued": 1, "running": 0, "ready": 4, "failed": 1} and page.total == 1


def test_pages_hold_every_row_once(worklist):
    add_rows(worklist, *({"ef_kind": "plain", "ef_percent": 50.0} for _ in range(57)))
    seen = [name for first in range(0, 60, 10) for name in names(worklist, first=first, count=10)]
    assert len(seen) == len(set(seen)) == 57


def test_a_clip_comes_from_queued_to_its_outcome_once(worklist):
    add_rows(worklist, {"state": "queued", "added_s": 2.0}, {"state": "queued"})
    first, second = worklist.claim(), worklist.claim()
    assert (first.name, second.name, worklist.claim()) == ("clip-1", "clip-0", None)
    worklist.finish(first.id, ClipResult(ef_kind="plain", ef_percent=61.5, num_frames=20))
    worklist.finish(second.id, ClipFailure(reason="broken"))
    ready, failed = worklist.row(first.id), worklist.row(second.id)
    assert (ready.state, ready.ef_percent, ready.num_frames) == ("ready", 61.5, 20)
    assert (failed.state, failed.reason) == ("failed", "broken")
    worklist.finish(second.id, ClipResult(ef_kind="plain", ef_percent=10.0))  # not running
    assert worklist.row(second.id).state == "failed"
    assert worklist.retry(second.id).state == "queued"
    with pytest.raises(EchosegError, match="Only a failed clip"):
        worklist.retry(first.id)
    with pytest.raises(EchosegError, match="no such clip"):
        worklist.row("none")


def test_what_ran_when_the_server_was_killed_is_queued_again(tmp_path, database_url):
    before = open_worklist(tmp_path / "page", database_url)
    add_rows(before, {"state": "queued"}, {"state": "ready", "ef_percent": 50.0})
    before.claim()
    before.database.engine.dispose()
    after = open_worklist(tmp_path / "page", database_url)
    assert sorted(row.state for row in after.page(WorklistQuery()).rows) == ["queued", "ready"]
    after.database.close()


def test_a_failed_clip_that_is_added_again_is_tried_again(worklist, tmp_path):
    path = write_clip(tmp_path / "in" / "a.dcm")
    (clip,) = worklist.add([path], "ann").ids
    worklist.claim()
    worklist.finish(clip, ClipFailure(reason="its file is gone"))
    moved = path.rename(tmp_path / "in" / "b.dcm")
    worklist.add([moved], "ann")
    assert (worklist.row(clip).state, worklist.row(clip).source) == ("queued", str(moved))


def test_ten_thousand_clips_stay_quick(worklist):
    rows = [
        {"ef_kind": "plain", "ef_percent": number % 80, "label_priority": number % 37}
        for number in range(10_000)
    ]
    add_rows(worklist, *rows)
    for query in (
        {},
        {"first": 9_950, "sort": "name"},
        {"filter": "undecided", "sort": "priority"},
        {"ef_from": 40, "ef_to": 50, "sort": "ef"},
        {"text": "clip-77"},
    ):
        begin_s = time.perf_counter()
        page = worklist.page(WorklistQuery(**query))
        assert len(page.rows) == 50 and time.perf_counter() - begin_s < 2, query
