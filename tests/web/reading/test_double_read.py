"""Where each clip is read twice: nothing of the first read reaches who could do the second."""

import csv
import io
import re

import pytest

from echoseg.errors import DatasetError
from echoseg.web.accounts import Reader
from echoseg.web.app import Page, create_app
from echoseg.web.records import Role
from page_makers import PASSWORD, csrf_of, page_client, sign_in
from reading_makers import Desk, add_clip

STUDY = {"StudyInstanceUID": "1.2.3"}


@pytest.fixture
def app(settings):
    app = create_app(settings.model_copy(update={"double_read": True}))
    yield app
    app.state.page.close()


@pytest.fixture
def clips(app, tmp_path):
    """A4C and A2C of one study."""
    page = app.state.page
    views = enumerate(("A4C", "A2C"))
    return [add_clip(page, tmp_path / f"{i}.dcm", seed=i, view=v, **STUDY) for i, v in views]


def signed_in(app, name, role=Role.READER):
    app.state.page.accounts.add(name, PASSWORD, role)
    client = page_client(app, "/sign-in")
    assert sign_in(client, name).status_code == 303
    client.headers["X-CSRF-Token"] = csrf_of(client.get("/").text)
    return client


@pytest.fixture
def ada(app):
    return signed_in(app, "ada")


@pytest.fixture
def ben(app):
    return signed_in(app, "ben")


def corrected(client, clip, slot=1, radius_px=14.0):
    """A read whose EF is another than the network's."""
    desk = Desk(client, clip, slot)
    frame = desk.shown["es_frame"]
    desk.edit("brush", frame=frame, structure="lv_cavity", line=[(95, 60)], radius_px=radius_px)
    return desk


def first_read(client, clip):
    """A signed one, and texts that would give it away."""
    desk = corrected(client, clip)
    signed = desk.do("decision", decision="accepted", reason="clear borders")
    found = client.app.state.page.readings.analysis(clip, 1, Reader(signed["reader"], Role.READER))
    return desk, [f"{found.ef.ef_percent:.3f}", f"{found.esv_ml:.3f}", "clear borders"]


def routes(clip, study):
    own = f"/api/clips/{clip}"
    formats = ("zip", "csv", "html", "pdf", "masks", "dicom", "fhir")
    return [
        "/", f"/clip/{clip}", f"/study/{study}", "/api/clips", own, f"{own}/reading?slot=1",
        f"{own}/reading?slot=2", f"{own}/history?slot=1", f"{own}/history?slot=2",
        *(f"{own}/export?format={one}&slot=1" for one in formats), "/api/export.csv",
        f"/api/studies/{study}/biplane", "/api/agreement",
    ]  # fmt: skip


def shown(client, clip, **query):
    """The row of a clip, None where a filter leaves it out."""
    rows = client.get("/api/clips", params=query).json()["rows"]
    return next((row for row in rows if row["id"] == clip), None)


def test_no_route_shows_a_first_read_to_who_could_do_the_second(app, clips, ada, ben):
    clip, study = clips[0], app.state.page.worklist.row(clips[0]).study
    before = {path: ben.get(path).text for path in routes(clip, study)}
    network = shown(ben, clip)
    desk, secrets = first_read(ada, clip)
    assert abs(desk.shown["ef"]["ef_percent"] - network["ef_percent"]) > 1
    for path in routes(clip, study):
        answer = ben.get(path)
        assert not any(secret in answer.text for secret in secrets), path
        if "slot=1" in path:
            assert answer.status_code == 403 and "blinded" in answer.json()["error"], path
        elif "slot=2" not in path:
            assert _stable(answer.text) == _stable(before[path]), path
    assert shown(ben, clip) == network
    detail = ben.get(f"/api/clips/{clip}").json()
    assert (detail["slot"], detail["row"]) == (2, network)
    assert ben.get(f"/api/clips/{clip}/reading?slot=2").json()["ef"]["ef_percent"] == (
        pytest.approx(network["ef_percent"], abs=0.06)
    )


def _stable(text):
    """Without what changes from answer to answer."""
    return re.sub(r'"(milliseconds|slot)":[\d.]+', "", text)


def test_no_filter_or_order_tells_what_the_first_reader_found(clips, ada, ben):
    clip, other = clips
    percent = shown(ben, clip)["ef_percent"]
    first_read(ada, clip)
    assert shown(ben, clip, filter="undecided") and shown(ben, clip, filter="uncorrected")
    assert shown(ben, clip, ef_from=percent - 0.1, ef_to=percent + 0.1)
    rows = ben.get("/api/clips", params={"sort": "ef"}).json()["rows"]
    assert {row["id"] for row in rows} == {clip, other}
    table = list(csv.DictReader(io.StringIO(ben.get("/api/export.csv").text)))
    assert [(row["decision"], row["is_corrected"]) for row in table] == [("", "False")] * 2
    assert all(float(row["ef_percent"]) == pytest.approx(percent, abs=1) for row in table)


def test_a_first_reader_sees_their_own_read_in_the_worklist(clips, ada, ben):
    desk, _ = first_read(ada, clips[0])
    row = shown(ada, clips[0])
    assert (row["decision"], row["is_corrected"]) == ("accepted", True)
    assert row["ef_percent"] == pytest.approx(desk.shown["ef"]["ef_percent"], abs=0.06)
    assert shown(ada, clips[0], filter="undecided") is None  # and so not what to read next
    assert shown(ada, clips[1], filter="undecided")
    assert ada.get(f"/api/clips/{clips[0]}").json()["slot"] == 1


def test_no_request_changes_a_first_read_of_another_reader(clips, ada, ben):
    clip = clips[0]
    stale = Desk(ben, clip)  # opened before the first read began
    first_read(ada, clip)
    stroke = {"kind": "brush", "frame": 3, "structure": "la", "line": [(75, 110)], "radius_px": 4}
    carry = {"kind": "carry", "frame": 20, "first": 18, "last": 22}
    requests = [
        ("edits", {"operation": stroke}), ("carry", {"operation": carry}), ("undo", {}),
        ("redo", {}), ("decision", {"decision": "reopened", "reason": "x"}),
    ]  # fmt: skip
    for what, body in requests:
        answer = stale.post(what, **body)
        assert answer.status_code == 403 and "second read" in answer.json()["error"], what


def test_no_version_of_the_first_read_is_reached_through_the_second(clips, ada, ben):
    clip = clips[0]
    first, _ = first_read(ada, clip)
    version = first.shown["revision"]
    assert ben.get(f"/api/clips/{clip}/reading?slot=2&revision={version}").status_code == 404
    second = Desk(ben, clip, 2)
    answer = second.post("edits", operation={"kind": "restore", "version": version})
    assert answer.status_code == 404 and "no version" in answer.json()["error"]
    assert ben.get(f"/api/clips/{clip}/reading?slot=1&revision=0").status_code == 403


def test_the_first_read_is_shown_when_the_second_is_signed(clips, ada, ben):
    clip = clips[0]
    first, _ = first_read(ada, clip)
    second = corrected(ben, clip, 2, 9.0)
    assert ben.get(f"/api/clips/{clip}/reading?slot=1").status_code == 403
    assert shown(ben, clip)["ef_percent"] == pytest.approx(
        second.shown["ef"]["ef_percent"], abs=0.06
    )
    second.do("decision", decision="accepted")
    assert ben.get(f"/api/clips/{clip}/reading?slot=1").json()["ef"] == first.shown["ef"]
    assert ben.get(f"/api/clips/{clip}").json()["slot"] == 1
    table = list(csv.DictReader(io.StringIO(ada.get("/api/export.csv").text)))
    (row,) = [row for row in table if row["decision"]]
    assert float(row["ef_percent"]) == pytest.approx(first.shown["ef"]["ef_percent"], abs=0.06)
    assert ben.get("/api/agreement").json()["ef_percent"]["n"] == 1


def test_a_biplane_ef_is_of_the_reads_that_one_may_see(app, clips, ada, ben):
    study = app.state.page.worklist.row(clips[0]).study
    before = ben.get(f"/api/studies/{study}/biplane").json()
    first_read(ada, clips[0])
    assert ben.get(f"/api/studies/{study}/biplane").json() == before
    assert ada.get(f"/api/studies/{study}/biplane").json()["ef"] != before["ef"]


def test_who_wrote_training_data_has_seen_what_is_in_it(app, clips, ada, tmp_path):
    chief = signed_in(app, "chief", Role.ADMIN)
    first_read(ada, clips[0])
    answer = chief.post("/api/training", json={"folder": str(tmp_path / "new")})
    assert answer.json()["num_clips"] == 1
    answer = chief.get(f"/api/clips/{clips[0]}/reading?slot=2")
    assert answer.status_code == 403 and "have seen the first read" in answer.json()["error"]


def test_a_worklist_that_showed_first_reads_is_blinded_at_the_next_start(settings, tmp_path):
    app = create_app(settings)
    clip = add_clip(app.state.page, tmp_path / "1.dcm")
    network = app.state.page.worklist.row(clip).ef_percent
    desk, _ = first_read(page_client(app), clip)
    app.state.page.close()
    for is_double, percent, decision in (
        (True, network, ""),
        (False, desk.shown["ef"]["ef_percent"], "accepted"),
    ):
        page = Page.open(settings.model_copy(update={"double_read": is_double}))
        row = page.worklist.row(clip)
        page.close()
        assert (row.ef_percent, row.decision) == (pytest.approx(percent, abs=0.06), decision)


def test_readers_sign_in_where_clips_are_read_twice(settings):
    assert settings.model_copy(update={"double_read": True}).needs_sign_in
    assert not settings.needs_sign_in


def test_nothing_is_written_when_training_data_are_refused(app, clips, ada, ben, tmp_path):
    page, chief = app.state.page, Reader("chief", Role.ADMIN)
    with pytest.raises(DatasetError, match="no corrected clip is accepted yet"):
        page.readings.write_training_data(tmp_path / "new", chief)
    assert page.readings.slot(clips[0], chief) == 1
