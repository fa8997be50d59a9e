"""Edits of a reading: what changes, what does not, and that nothing is lost."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from echoseg.measure.frame import measure_each
from echoseg.web.settings import PageSettings
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


def test_ed_and_es_are_those_of_the_beat_that_is_corrected(tmp_path):
    settings = PageSettings(folder=tmp_path / "page")
    page, clip = page_with_clip(settings, tmp_path, num_frames=150)
    page.close()
    desk = Desk(client_of(settings), clip)
    before = desk.load()
    shown = before["ed_frame"], before["es_frame"]
    others = [(beat["ed_frame"], beat["es_frame"]) for beat in before["beats"]]
    other = next(ends for ends in others if ends != shown)
    smaller = [(75 + 0.95 * (x - 75), y) for x, y in desk.points(other[1])]
    after = desk.edit("contour", frame=other[1], structure="lv_cavity", points=smaller)
    assert (after["ed_frame"], after["es_frame"]) == other
    assert [one["frame"] for one in after["disks"]] == list(other)
    again = desk.load()
    assert (again["ed_frame"], again["es_frame"]) == other
    undone = desk.do("undo")
    assert (undone["ed_frame"], undone["es_frame"]) == shown


def test_the_points_of_an_edit_that_lost_the_race_are_refused(desk):
    first = desk.load()
    points = shifted(desk.points(3), 2)
    stale = {"kind": "contour", "frame": 3, "structure": "lv_cavity", "points": points}
    desk.edit("contour", frame=4, structure="lv_cavity", points=shifted(desk.points(4), 1))
    answer = desk.post("edits", operation=stale, revision=first["revision"])
    assert answer.status_code == 409 and "shown anew" in answer.json()["error"]
    assert desk.post("undo", revision=first["revision"]).status_code == 409
    assert len(desk.client.get(f"/api/clips/{desk.clip}/history").json()) == 1


def test_two_editors_at_once_lose_nothing(desk):
    other = Desk(desk.client, desk.clip)
    points = {frame: desk.points(frame) for frame in range(8)}

    def edit(one, frames):
        statuses = []
        for frame in frames:
            operation = {"kind": "contour", "frame": frame, "structure": "lv_cavity"}
            operation["points"] = shifted(points[frame], 1.5)
            answer = one.post("edits", operation=operation)
            while answer.status_code == 409:
                one.load()
                answer = one.post("edits", operation=operation)
            statuses.append(answer.status_code)
            one.shown = answer.json()
        return statuses

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(edit, (desk, other), (range(0, 8, 2), range(1, 8, 2))))
    assert results == [[200] * 4] * 2
    history = desk.client.get(f"/api/clips/{desk.clip}/history").json()
    parents = {one["revision"]: one["parent"] for one in history}
    assert len(parents) == 8
    head, chain = desk.load()["revision"], []
    while head:
        chain.append(head)
        head = parents[head]
    assert len(chain) == 8  # each edit came after the one before, none beside another
    changed = [one["contours"]["lv_cavity"]["is_reader"] for one in desk.shown["contours"]]
    assert changed == [True] * 8 + [False] * 52


OPERATIONS = st.one_of(
    st.tuples(st.just("brush"), st.integers(0, 59), st.integers(60, 90), st.booleans()),
    st.tuples(st.just("shift"), st.integers(0, 59), st.integers(-3, 3), st.booleans()),
    st.tuples(st.sampled_from(["undo", "redo", "exclude", "rate"]), st.integers(0, 3)),
)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(OPERATIONS, min_size=4, max_size=9))
def test_any_sequence_of_edits_is_what_a_restarted_server_replays(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("any")
    settings = PageSettings(folder=folder / "page")
    page, clip = page_with_clip(settings, folder)
    page.close()
    desk = Desk(client_of(settings), clip)
    for kind, *values in steps:
        if kind == "brush":
            frame, x, is_erasing = values
            line, shape = [(x, 60), (x, 80)], {"radius_px": 3, "is_erasing": is_erasing}
            answer = desk.post("edits", operation={
                "kind": "brush", "frame": frame, "structure": "lv_cavity", "line": line, **shape,
            })  # fmt: skip
        elif kind == "shift":
            frame, step, is_wall = values
            structure = "lv_epi" if is_wall else "lv_cavity"
            answer = desk.post("edits", operation={
                "kind": "contour", "frame": frame, "structure": structure,
                "points": shifted(desk.points(frame, structure), step),
            })  # fmt: skip
        elif kind == "exclude":
            beats = len(desk.shown["beats"])
            operation = {"kind": "beat", "beat": values[0] % max(beats, 1), "is_excluded": True}
            answer = desk.post("edits", operation=operation)
        elif kind == "rate":
            operation = {"kind": "frame_rate", "frame_rate_hz": 36 + values[0]}
            answer = desk.post("edits", operation=operation)
        else:
            answer = desk.post(kind)
        assert answer.status_code in (200, 409, 422), answer.text
        if answer.status_code == 200:
            desk.shown = answer.json()
    before = without_time(desk.load())
    again = Desk(client_of(settings), clip)
    assert without_time(again.shown) == before
    scratch = again.client.app.state.page.readings
    state = scratch._sessions._sessions[clip, 1].states[before["revision"]]
    fresh = measure_each(np.stack([one.mask for one in state.frames]), state.frames[0].spacing_mm)
    assert [repr(one.shape and one.shape.volume_ml) for one in fresh] == [
        repr(one.shape and one.shape.volume_ml) for one in state.frames
    ]


def test_what_changes_nothing_is_no_version(desk):
    one = desk.edit("brush", frame=20, structure="lv_cavity", line=[(95, 60)], radius_px=9)
    again = desk.edit("brush", frame=20, structure="lv_cavity", line=[(95, 60)], radius_px=9)
    outside = desk.edit("brush", frame=20, structure="lv_cavity", line=[(-50, -50)], radius_px=9)
    assert one["revision"] == again["revision"] == outside["revision"]
    assert again["ef"] == one["ef"] and again["contours"] == []
    assert len(desk.client.get(f"/api/clips/{desk.clip}/history").json()) == 1


def test_undo_and_redo_have_no_end_and_redo_takes_the_newest_way(desk):
    for step in range(20):
        desk.edit("brush", frame=step, structure="lv_cavity", line=[(95, 60)], radius_px=9 + step)
    last = without_time(desk.load())
    for _ in range(20):
        desk.do("undo")
    assert desk.shown["revision"] == 0 and desk.post("undo").status_code == 409
    for _ in range(20):
        desk.do("redo")
    assert without_time(desk.load()) == last and desk.post("redo").status_code == 409
    desk.do("undo")
    newest = desk.edit("brush", frame=40, structure="lv_cavity", line=[(95, 60)], radius_px=9)
    desk.do("undo")
    assert desk.do("redo")["revision"] == newest["revision"]


def test_beats_view_scale_and_rate(desk):
    first = desk.shown["beats"][0]
    moved = desk.edit("beat", beat=0, es_frame=first["es_frame"] - 3)
    assert moved["beats"][0]["is_moved"] and moved["beats"][0]["esv_ml"] > first["esv_ml"]
    refused = desk.post("edits", operation={
        "kind": "beat", "beat": 0, "ed_frame": first["es_frame"], "es_frame": first["ed_frame"],
    })  # fmt: skip
    assert refused.status_code == 422 and "smaller than" in refused.json()["error"]
    everything = [{"kind": "beat", "beat": i, "is_excluded": True} for i in range(9)]
    answers = [desk.post("edits", operation=one).status_code for one in everything[:1]]
    assert answers == [200 if len(desk.shown["beats"]) > 1 else 422]
    desk.load()
    scaled = desk.edit("spacing", start=(10, 10), end=(10, 60), length_mm=60)
    assert scaled["spacing_mm"] == pytest.approx([1.2, 1.2])
    assert scaled["edv_ml"] == pytest.approx(moved["edv_ml"] * (1.2 / 1.001) ** 3, rel=1e-6)
    assert scaled["ef"]["ef_percent"] == pytest.approx(desk.shown["ef"]["ef_percent"])
    faster = desk.edit("frame_rate", frame_rate_hz=50)
    assert faster["frame_rate_hz"] == pytest.approx(50)
    assert desk.edit("view", view="A2C")["view"] == "A2C"
    for operation in (
        {"kind": "view", "view": "PSAX"},
        {"kind": "spacing", "start": (1, 1), "end": (2, 2), "length_mm": 10},
        {"kind": "frame_rate", "frame_rate_hz": 0.5},
        {"kind": "contour", "frame": 99, "structure": "la", "points": []},
        {"kind": "contour", "frame": 0, "structure": "la", "points": [(1, 1), (2, 1)]},
        {"kind": "contour", "frame": 0, "structure": "la", "points": [(-9, -9)] * 4},
        {"kind": "carry", "frame": 5, "first": 3, "last": 9},
    ):
        answer = desk.post("edits", operation=operation)
        assert answer.status_code == 422, operation
        assert "--" not in answer.json()["error"]


def test_a_preview_is_what_is_taken_and_stores_nothing(desk):
    frame = 20
    desk.edit("contour", frame=frame, structure="lv_cavity", points=shifted(desk.points(frame), 4))
    carry = {"kind": "carry", "frame": frame, "first": 17, "last": 23}
    preview = desk.post("carry", operation=carry).json()["contours"]
    assert desk.load()["revision"] == desk.shown["revision"]
    assert [one["frame"] for one in preview] == [17, 18, 19, 21, 22, 23]
    before = [desk.points(one)[0] for one in (17, 23)]
    taken = desk.edit(**carry)
    assert taken["contours"] == preview
    assert [desk.points(one)[0] for one in (17, 23)] != before


def test_a_version_is_shown_as_it_was_and_restored_as_a_new_one(desk):
    first = desk.shown
    address = f"/api/clips/{desk.clip}/reading?slot=1&revision="
    one = desk.edit("brush", frame=20, structure="lv_cavity", line=[(95, 60)], radius_px=9)
    one = desk.load()
    two = desk.edit("contour", frame=20, structure="la", points=[])
    past = desk.client.get(f"{address}{one['revision']}").json()
    assert past["is_past"] and not one["is_past"]
    assert without_time(past) == without_time(one) | {
        "is_past": True, "can_redo": past["can_redo"]
    }  # fmt: skip
    network = desk.client.get(f"{address}0").json()
    assert (network["ef"], network["contours"]) == (first["ef"], first["contours"])
    assert desk.load()["revision"] == two["revision"]  # looking changes nothing
    restored = desk.edit("restore", version=0)
    assert restored["revision"] > two["revision"] and not restored["is_corrected"]
    assert [frame["frame"] for frame in restored["contours"]] == [20]
    assert desk.load()["contours"] == first["contours"] and desk.shown["ef"] == first["ef"]
    assert desk.do("undo")["revision"] == two["revision"]
    assert desk.edit("restore", version=one["revision"])["ef"] == one["ef"]
    again = Desk(client_of(desk.client.app.state.page.settings), desk.clip)
    assert again.shown["contours"] == one["contours"]  # from the database
    kinds = [entry["kind"] for entry in desk.client.get(f"/api/clips/{desk.clip}/history").json()]
    assert kinds == ["brush", "contour", "restore", "restore"]


def test_a_version_that_is_not_there_is_refused(desk):
    assert desk.client.get(f"/api/clips/{desk.clip}/reading?revision=99").status_code == 404
    answer = desk.post("edits", operation={"kind": "restore", "version": 99})
    assert answer.status_code == 404 and "no version 99" in answer.json()["error"]
    desk.do("decision", decision="accepted")
    answer = desk.post("edits", operation={"kind": "restore", "version": 0})
    assert answer.status_code == 409 and "signed" in answer.json()["error"]


def test_the_history_has_what_was_stated_of_a_beat(desk):
    desk.edit("beat", beat=0, ed_frame=2)
    desk.edit("view", view="A2C")
    moved, view = desk.client.get(f"/api/clips/{desk.clip}/history").json()
    stated = {"kind": "beat", "beat": 0, "ed_frame": 2, "es_frame": None, "is_excluded": None}
    assert (moved["beat"], view["beat"]) == (stated, None)


def test_every_edit_has_its_record_and_its_history(desk):
    desk.edit("brush", reason="apex", frame=2, structure="lv_cavity", line=[(95, 60)], radius_px=9)
    desk.do("undo")
    desk.do("decision", decision="rejected", reason="poor picture")
    page = desk.client.app.state.page
    events = [(one.event, one.options) for one in page.audit.records()]
    assert [name for name, _ in events][-3:] == ["edit", "undo", "rejected"]
    assert page.audit.verify().problems == ()
    history = desk.client.get(f"/api/clips/{desk.clip}/history").json()
    assert [(one["kind"], one["reason"], one["frame"]) for one in history] == [
        ("brush", "apex", 2),
        ("rejected", "poor picture", None),
    ]


def test_edits_are_kept_by_either_database(stored, tmp_path):
    page, clip = page_with_clip(stored, tmp_path)
    page.close()
    desk = Desk(client_of(stored), clip)
    desk.edit("contour", frame=3, structure="la", points=shifted(desk.points(3, "la"), 2))
    desk.edit("contour", frame=3, structure="la", points=[])
    desk.do("undo")
    again = Desk(client_of(stored), clip)
    assert without_time(again.shown) == without_time(desk.load())
    assert again.shown["contours"][3]["contours"]["la"]["is_reader"]
    assert again.do("redo")["contours"][0]["contours"].keys() == {"lv_cavity", "lv_epi"}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "1e308", "1e20"])
@pytest.mark.parametrize(
    "operation",
    [
        '{"kind": "contour", "frame": 0, "structure": "lv_cavity",'
        ' "points": [[VALUE, 1], [1, 20], [30, 4], [5, 6]]}',
        '{"kind": "brush", "frame": 0, "structure": "lv_cavity", "line": [[VALUE, 1], [2, 2]],'
        ' "radius_px": 5}',
        '{"kind": "spacing", "start": [VALUE, 1], "end": [2, 2], "depth_mm": 50}',
    ],
)
def test_numbers_that_are_none_or_beyond_any_picture_are_refused(desk, operation, value):
    desk.load()
    body = f'{{"revision": 0, "operation": {operation.replace("VALUE", value)}}}'
    headers = {**desk.client.headers, "Content-Type": "application/json"}
    answer = desk.client.post(f"/api/clips/{desk.clip}/edits", content=body, headers=headers)
    assert answer.status_code in (400, 422) and answer.json()["error"]
    assert desk.load()["revision"] == 0


def test_training_data_that_cannot_be_written_are_the_requests_fault(desk, tmp_path):
    desk.edit("contour", frame=0, structure="lv_cavity", points=shifted(desk.points(0), 2))
    desk.do("decision", decision="accepted")
    for folder, words in (
        ("/proc/x", "cannot be written on the server's machine"),
        ("relative", "must be an absolute one of the server"),
        ("~nobodyhere/x", "cannot be one of the server"),
        ("/tmp/a\0b", "cannot be one of the server"),
        ("/" + "a" * 4000, "cannot be one of the server"),
        (str(tmp_path), "exists already"),
    ):
        answer = desk.client.post("/api/training", json={"folder": folder})
        assert answer.status_code == 400 and words in answer.json()["error"]


def test_training_data_without_an_accepted_clip_make_no_folder(desk, tmp_path):
    answer = desk.client.post("/api/training", json={"folder": str(tmp_path / "a" / "b")})
    assert answer.status_code == 400 and "no corrected clip is accepted" in answer.json()["error"]
    assert not (tmp_path / "a").exists()
