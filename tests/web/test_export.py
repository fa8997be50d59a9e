"""What leaves the page: files of a reading, the registry's table, two views together."""

import csv
import io
import json
import zipfile

import pydicom
import pytest

from echoseg.audit import AuditLog
from echoseg.inference.analysis import CORRECTED
from echoseg.web.app import create_app
from echoseg.web.client import PageClient
from page_makers import page_client
from reading_makers import Desk, add_clip

NAME = "Planted^Name"
PATIENT = {"PatientName": NAME, "PatientID": "PLANTED-ID", "StudyInstanceUID": "1.2.3"}


@pytest.fixture
def app(settings):
    return create_app(settings)


@pytest.fixture
def client(app):
    yield page_client(app)  # no clip is analyzed in the background
    app.state.page.close()


@pytest.fixture
def clip(app, tmp_path):
    return add_clip(app.state.page, tmp_path / "Miller.dcm", **PATIENT)


def export(client, clip, kind, status=200):
    answer = client.get(f"/api/clips/{clip}/export?format={kind}&slot=1")  # as the page asks
    assert answer.status_code == status, answer.text
    return answer


def left(settings):
    return list((settings.folder / "exports").rglob("*"))


def test_the_zip_is_a_result_folder_that_names_no_patient(client, clip, settings):
    answer = export(client, clip, "zip")
    assert answer.headers["content-disposition"].startswith('attachment; filename="clip-')
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    names = set(archive.namelist())
    assert {"report.json", "report.html", "report.pdf", "masks.nii.gz", "registry.csv"} <= names
    assert not any(name.startswith("dicom/") for name in names)
    content = b"".join(archive.read(name) for name in names)
    assert b"Miller" not in content and b"lanted" not in content and b"PLANTED" not in content
    assert left(settings) == []


def test_names_that_are_shown_come_with_dicom(settings, tmp_path):
    app = create_app(settings.model_copy(update={"show_names": True}))
    clip = add_clip(app.state.page, tmp_path / "Müller.dcm", **PATIENT)
    answer = export(page_client(app), clip, "zip")
    app.state.page.close()
    assert "M%C3%BCller" in answer.headers["content-disposition"]
    names = zipfile.ZipFile(io.BytesIO(answer.content)).namelist()
    assert {"dicom/seg.dcm", "dicom/sr.dcm", "dicom/fhir.json"} <= set(names)


def test_each_format_is_what_it_says(client, clip):
    assert export(client, clip, "pdf").content.startswith(b"%PDF")
    assert export(client, clip, "html").headers["content-disposition"].startswith("attachment")
    assert export(client, clip, "masks").content.startswith(b"\x1f\x8b")
    assert json.loads(export(client, clip, "fhir").content)["resourceType"] == "Bundle"
    archive = zipfile.ZipFile(io.BytesIO(export(client, clip, "dicom").content))
    datasets = [
        pydicom.dcmread(io.BytesIO(archive.read(name)))
        for name in archive.namelist()
        if name.endswith(".dcm")
    ]
    assert {one.Modality for one in datasets} >= {"SEG", "SR"}
    assert {str(one.PatientName) for one in datasets} == {NAME}  # of that study in the PACS
    (row,) = csv.DictReader(io.StringIO(export(client, clip, "csv").text))
    assert float(row["ef_percent"]) > 0 and len(row["input_sha256"]) == 64
    assert (row["decision"], row["is_corrected"]) == ("", "False")
    assert export(client, clip, "exe", 422) and export(client, "none", "zip", 404)


def test_a_corrected_reading_is_exported_as_such(client, clip, settings):
    desk = Desk(client, clip)
    points = [(x, y + 3) for x, y in desk.points(10)]
    desk.edit("contour", frame=10, structure="lv_cavity", points=points)
    desk.do("decision", decision="accepted")
    archive = zipfile.ZipFile(io.BytesIO(export(client, clip, "zip").content))
    report = json.loads(archive.read("report.json"))
    assert CORRECTED in {one["code"] for one in report["notes"]}
    assert report["reading"]["decision"] == "accepted" and report["reading"]["is_corrected"]
    own = json.loads((settings.folder / "clips" / clip / "result" / "report.json").read_text())
    assert own["reading"] is None and not own["notes"] == report["notes"]  # nothing overwritten
    last = list(AuditLog(settings.folder / "audit.jsonl").records())[-1]
    assert last.event == "export" and last.options["format"] == "zip"
    (row,) = csv.DictReader(io.StringIO(export(client, clip, "csv").text))
    assert (row["decision"], row["is_corrected"]) == ("accepted", "True")
    assert row == next(csv.DictReader(io.StringIO(client.get("/api/export.csv").text)))


def test_what_cannot_be_exported_says_why(client, clip, app, tmp_path):
    (tmp_path / "Miller.dcm").unlink()
    answer = export(client, clip, "zip", 422)
    assert "no such file" in answer.json()["error"] and "Miller" not in answer.json()["error"]


def test_the_registry_holds_a_row_per_analyzed_clip_of_the_filter(client, app, tmp_path):
    page = app.state.page
    first, _ = (add_clip(page, tmp_path / f"{seed}.dcm", seed=seed) for seed in (1, 2))
    page.worklist.add([tmp_path / "1.dcm"], "ann")
    desk = Desk(client, first)
    desk.do("decision", decision="rejected", reason="=HYPERLINK(1)")
    rows = list(csv.DictReader(io.StringIO(client.get("/api/export.csv").text)))
    assert len(rows) == 2 and {row["decision"] for row in rows} == {"", "rejected"}
    assert all(float(row["ef_percent"]) > 0 for row in rows)
    answer = client.get("/api/export.csv?filter=undecided")
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == 1
    assert client.get("/api/export.csv?text=none").text == ""


def test_two_views_give_a_biplane_ef(client, app, tmp_path):
    page = app.state.page
    one = add_clip(page, tmp_path / "1.dcm", seed=1, view="A4C", StudyInstanceUID="1.2.3")
    study = page.worklist.row(one).study
    alone = client.get(f"/api/studies/{study}/biplane").json()
    assert alone["clips"] == [one] and alone["ef"]["kind"] == "none" and alone["edv_ml"] is None
    assert "no A2C" in alone["ef"]["reason"]
    other = add_clip(page, tmp_path / "2.dcm", seed=2, view="A2C", StudyInstanceUID="1.2.3")
    both = client.get(f"/api/studies/{study}/biplane").json()
    assert both["clips"] == [one, other]
    single = client.get(f"/api/clips/{one}/reading").json()
    assert both["ef"]["ef_percent"] == pytest.approx(single["ef"]["ef_percent"], abs=1)
    assert both["edv_ml"] == pytest.approx(single["edv_ml"], rel=0.02)
    assert client.get("/api/studies/none/biplane").status_code == 404
    assert client.get("/api/studies/none/export").status_code == 404


def test_both_views_are_exported_together_with_their_corrections(client, app, tmp_path):
    page = app.state.page
    a4c = add_clip(page, tmp_path / "1.dcm", seed=1, view="A4C", StudyInstanceUID="1.2.3")
    address = f"/api/studies/{page.worklist.row(a4c).study}"
    alone = client.get(f"{address}/export?format=pdf")
    assert alone.status_code == 409 and "The study has no A2C. Add it" in alone.json()["error"]
    add_clip(page, tmp_path / "2.dcm", seed=2, view="A2C", StudyInstanceUID="1.2.3")
    before = client.get(f"{address}/biplane").json()
    desk = Desk(client, a4c)
    frame = desk.shown["es_frame"]
    points = desk.points(frame)
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    smaller = [(x + 0.8 * (p - x), y + 0.8 * (q - y)) for p, q in points]
    desk.edit("contour", frame=frame, structure="lv_cavity", points=smaller)
    stated = client.get(f"{address}/biplane").json()

    def get(kind):
        answer = client.get(f"{address}/export?format={kind}")
        assert answer.status_code == 200, answer.text
        return answer

    with zipfile.ZipFile(io.BytesIO(get("zip").content)) as archive:
        names = set(archive.namelist())
        report = json.loads(archive.read("report.json"))
    assert {"report.html", "report.pdf", "A4C/masks.nii.gz", "A2C/overlay.mp4"} <= names
    assert report["results"]["ef_percent"] == pytest.approx(stated["ef"]["ef_percent"], abs=0.05)
    assert stated["ef"]["ef_percent"] > before["ef"]["ef_percent"] + 1
    assert CORRECTED in {one["code"] for one in report["a4c"]["notes"]}
    (row,) = csv.DictReader(io.StringIO(get("csv").text))
    assert float(row["ef_percent"]) == report["results"]["ef_percent"]
    assert get("pdf").content.startswith(b"%PDF") and "biplane" in get("html").text
    with zipfile.ZipFile(io.BytesIO(get("dicom").content)) as archive:
        assert {"sr.dcm", "a4c_seg.dcm", "a2c_seg.dcm"} <= set(archive.namelist())
    assert get("fhir").json()["resourceType"] == "Bundle"
    assert client.get(f"{address}/export?format=masks").status_code == 422
    session = object.__new__(PageClient)  # without the network
    session._http, session._errors = client, OSError
    file = session.export_biplane(page.worklist.row(a4c).study, tmp_path / "both.pdf", "pdf")
    assert file.read_bytes().startswith(b"%PDF")
    records = AuditLog(page.settings.folder / "audit.jsonl").records()
    assert sum(one.event == "export" and one.options["format"] == "dicom" for one in records) == 2
    (tmp_path / "2.dcm").unlink()
    answer = client.get(f"{address}/export?format=pdf")
    assert answer.status_code == 422 and "no such file" in answer.json()["error"]
