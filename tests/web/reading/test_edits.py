"""Edits of a reading: what changes, what does not, and that nothing is lost."""

import pytest

from reading_makers import Desk, client_of, page_with_clip


@pytest.fixture
def desk(settings, tmp_path):
    page, clip = page_with_clip(settings, tmp_path)
    page.close()
    return Desk(client_of(settings), clip)


def shifted(points, dx, dy=0.0):
    return [(x + dx, y + dy) for x, y in points]


def without_time(reading):
    return {k: v for k, v in reading.items() if k != "milliseconds"}


def test_a_reading_begins_with_the_networks_result(desk):
    row = desk.client.get(f"/api/clips/{desk.clip}").json()["row"]
    shown = desk.shown
    assert (shown["revision"], shown["can_undo"], shown["is_corrected"]) == (0, False, False)
    assert shown["ef"] == shown["network_ef"]
    assert shown["ef"]["ef_percent"] == pytest.approx(row["ef_percent"], abs=0.06)
    assert len(shown["contours"]) == 60 and len(shown["disks"]) == 2
    kinds = shown["contours"][0]["contours"]["lv_cavity"]["kinds"]
    assert sorted(filter(None, kinds)) == ["apex", "lateral", "septal"]


def test_an_edit_changes_its_frame_and_undo_brings_everything_back(desk):
    before = without_time(desk.load())
    es = before["es_frame"]
    smaller = [(75 + 0.8 * (x - 75), y) for x, y in desk.points(es)]
    after = desk.edit("contour", frame=es, structure="lv_cavity", points=smaller)
    assert [one["frame"] for one in after["contours"]] == [es]
    assert after["is_corrected"] and after["can_undo"] and after["ef"]["interval"] is None
    assert after["curve"]["volumes"][es] < before["curve"]["volumes"][es]
    own = after["contours"][0]["contours"]["lv_cavity"]
    assert own["is_reader"] and own["points"] == [list(point) for point in smaller]
    desk.do("undo")
    again = without_time(desk.load())
    assert again["can_redo"] and not again["can_undo"]
    assert again | {"can_redo": False, "reader": ""} == before
    redone = desk.do("redo")
    assert redone["ef"] == after["ef"] and redone["revision"] == after["revision"]
