"""The contract of the worklist's endpoints."""

import io

import pytest
from PIL import Image

from echoseg.web.app import create_app
from echoseg.web.clip_queue import ClipQueue
from page_makers import csrf_of, page_client, sign_in
from worklist_makers import analyze_by_formula, wait_for, write_clip


@pytest.fixture
def client(settings):
    app = create_app(settings)
    app.state.page.queue = ClipQueue(app.state.page.worklist, analyze=analyze_by_formula)
    with page_client(app) as one:
        yield one


def drop(client, *paths, **names):
    files = [("files", (names.get(path.stem, path.name), path.read_bytes())) for path in paths]
    return client.post("/api/clips", files=files)


def ready(client, clip):
    wait_for(lambda: client.get(f"/api/clips/{clip}").json()["row"]["state"] == "ready")
    return client.get(f"/api/clips/{clip}").json()


def test_a_dropped_clip_is_analyzed_and_played(client, tmp_path):
    path = write_clip(tmp_path / "Miller.dcm")
    added = drop(client, path).json()
    assert added["refused"] == [] and drop(client, path).json() == added
    (clip,) = added["added"]
    detail = ready(client, clip)
    assert (detail["rows"], detail["columns"], detail["num_frames"]) == (150, 150, 60)
    assert len(detail["times_s"]) == 60 and detail["frame_rate_hz"] == pytest.approx(40)
    assert detail["view"] == "A4C" and detail["row"]["frames_done"] == 60
    assert detail["spacing_mm"] == pytest.approx([1.001, 1.001]) and detail["warnings"]
    page = client.get("/api/clips", params={"filter": "undecided"}).json()
    assert page["total"] == 1 and page["counts"]["ready"] == 1 and page["rows"] == [detail["row"]]
    assert "Miller" not in str(page) + str(detail)


def test_frames_come_one_by_one_and_by_ranges(client, tmp_path):
    (clip,) = drop(client, write_clip(tmp_path / "a.dcm")).json()["added"]
    offsets = ready(client, clip)["offsets"]
    one = client.get(f"/api/clips/{clip}/frames/3.jpg")
    assert one.headers["content-type"] == "image/jpeg"
    assert "immutable" in one.headers["cache-control"] and "private" in one.headers["cache-control"]
    assert Image.open(io.BytesIO(one.content)).size == (150, 150)
    part = client.get(
        f"/api/clips/{clip}/cine.bin", headers={"Range": f"bytes={offsets[3]}-{offsets[4] - 1}"}
    )
    assert part.status_code == 206 and part.content == one.content
    assert len(client.get(f"/api/clips/{clip}/cine.bin").content) == offsets[-1]
    for frame in ("60", "-1", "99999"):
        answer = client.get(f"/api/clips/{clip}/frames/{frame}.jpg")
        assert answer.status_code == 404 and "frames 0 to 59" in answer.json()["error"]


def test_a_clip_that_cannot_be_read_says_why_and_is_tried_again(client, tmp_path):
    path = tmp_path / "Miller.avi"
    path.write_bytes(b"broken \n")
    (clip,) = drop(client, path).json()["added"]
    wait_for(lambda: client.get("/api/clips").json()["counts"]["failed"])
    row = client.get(f"/api/clips/{clip}").json()["row"]
    assert row["state"] == "failed" and "content is broken" in row["reason"]
    answer = client.get(f"/api/clips/{clip}/frames/0.jpg")
    assert answer.status_code == 409 and "content is broken" in answer.json()["error"]
    again = client.post(f"/api/clips/{clip}/retry").json()
    assert again["state"] in ("queued", "running")
    assert client.post("/api/clips/nothing/retry").status_code == 404


@pytest.mark.parametrize(
    "path", ["none", "..%2f..%2fetc", "0" * 32, "%00", "' OR 1=1 --", "a" * 5000]
)
def test_ids_that_are_none_are_not_found(client, path):
    for end in ("", "/frames/0.jpg", "/cine.bin"):
        answer = client.get(f"/api/clips/{path}{end}")
        assert answer.status_code == 404 and set(answer.json()) == {"error"}


def test_queries_are_checked(client):
    for query in (
        "count=501",
        "count=0",
        "first=-1",
        "sort=source",
        "ef_from=x",
        "no=1",
        "filter=x",
    ):
        answer = client.get(f"/api/clips?{query}")
        assert answer.status_code == 422 and set(answer.json()) == {"error"}, query


def test_a_folder_of_the_server_is_added_by_reference(client, tmp_path):
    for seed in (1, 2):
        write_clip(tmp_path / "in" / f"{seed}.dcm", seed)
    answer = client.post("/api/folders", json={"path": str(tmp_path / "in")})
    assert len(answer.json()["added"]) == 2
    for path in ("in", "/no/such/folder"):
        answer = client.post("/api/folders", json={"path": path})
        assert answer.status_code == 400 and set(answer.json()) == {"error"}


def test_readers_add_no_folders(settings, tmp_path):
    app = create_app(settings.model_copy(update={"sign_in": True}))
    app.state.page.accounts.add("meier", "correct horse battery", "reader")
    client = page_client(app, "/sign-in")
    assert client.get("/api/clips").status_code == 401
    sign_in(client)
    client.headers["X-CSRF-Token"] = csrf_of(client.get("/").text)
    assert client.get("/api/clips").json()["total"] == 0
    answer = client.post("/api/folders", json={"path": str(tmp_path)})
    assert answer.status_code == 403
    app.state.page.close()


def test_a_drop_without_the_pages_token_is_refused(client, tmp_path):
    del client.headers["X-CSRF-Token"]
    assert drop(client, write_clip(tmp_path / "a.dcm")).status_code == 403
    assert client.get("/api/clips").json()["total"] == 0


def test_names_are_data_never_markup(client, tmp_path):
    path = write_clip(tmp_path / "a.dcm")
    answer = drop(client, path, a="<img src=x onerror=alert(1)>.dcm")
    assert answer.headers["content-type"] == "application/json" and answer.json()["added"]
    bad = client.post("/api/clips", files=[("files", ("<b>.txt", b"x"))]).json()
    assert bad["refused"][0]["name"] == "<b>.txt"


def test_a_body_that_is_no_drop_is_refused(client):
    for content, kind in ((b"{}", "application/json"), (b"--x", "multipart/form-data; boundary=x")):
        answer = client.post("/api/clips", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 400 and set(answer.json()) == {"error"}
