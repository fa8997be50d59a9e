"""Curves that a worker writes: read as far as they go, used where they are of the masks."""

import hashlib

import pytest

from echoseg.web.curves import CURVES, Curves, CurveWriter
from echoseg.web.reading import contours
from heart_makers import beating
from reading_makers import Desk, client_of, page_with_clip

MASKS, _, _ = beating(60, phase=0.5)
SPACING_MM = (1.001, 1.001)


def write(folder, masks=MASKS[:4]):
    writer = CurveWriter(folder, SPACING_MM)
    for mask in masks:
        writer.add(mask)
    return writer


def test_curves_are_there_frame_by_frame_and_end_with_the_hash(tmp_path):
    assert Curves.read(tmp_path).frames == ()
    writer = write(tmp_path)
    curves = Curves.read(tmp_path)
    assert [one.frame for one in curves.frames] == [0, 1, 2, 3] and curves.masks_sha256 == ""
    assert {"lv_cavity", "lv_epi", "la"} == curves.frames[0].contours.keys()
    assert Curves.read(tmp_path, 3).frames == curves.frames[3:]
    assert Curves.read(tmp_path, 9).frames == ()
    writer.finish("a" * 64)
    assert Curves.read(tmp_path).frames == curves.frames
    assert Curves.read(tmp_path).masks_sha256 == "a" * 64
    write(tmp_path, MASKS[:1])  # an analysis begun anew
    assert len(Curves.read(tmp_path).frames) == 1


@pytest.mark.parametrize("damage", ["torn", "other", "binary"])
def test_damaged_lines_end_the_curves(tmp_path, damage):
    write(tmp_path).finish("a" * 64)
    path = tmp_path / CURVES
    lines = path.read_bytes().splitlines(keepends=True)
    if damage == "torn":
        path.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    else:
        lines[2] = b'{"frame": -1}\n' if damage == "other" else b"\xff\x00\n"
        path.write_bytes(b"".join(lines))
    curves = Curves.read(tmp_path)
    assert [one.frame for one in curves.frames] == [0, 1] and curves.masks_sha256 == ""


def test_a_disk_that_fails_costs_the_curves_only(tmp_path):
    writer = write(tmp_path / "missing")
    writer.finish("a" * 64)
    assert Curves.read(tmp_path / "missing").frames == ()


def test_a_reading_opens_with_the_curves_of_its_masks_and_fits_none(
    settings, tmp_path, monkeypatch
):
    page, clip = page_with_clip(settings, tmp_path)
    page.close()
    fitted = Desk(client_of(settings), clip).shown["contours"]
    folder = settings.folder / "clips" / clip
    masks = (folder / "result" / "masks.nii.gz").read_bytes()
    writer = write(folder, MASKS)
    calls, fit = [], contours._fitted_at
    monkeypatch.setattr(contours, "_fitted_at", lambda *given: calls.append(1) or fit(*given))
    assert Desk(client_of(settings), clip).shown["contours"] == fitted
    assert len(calls) >= 60  # no hash: they may be of other masks
    writer.finish(hashlib.sha256(masks).hexdigest())
    calls.clear()
    desk = Desk(client_of(settings), clip)
    assert desk.shown["contours"] == fitted and calls == []
    answer = desk.client.get(f"/api/clips/{clip}/curves?first=58").json()["contours"]
    assert [one["frame"] for one in answer] == [58, 59]
    assert answer == fitted[58:]
    assert desk.client.get(f"/api/clips/{'0' * 32}/curves").status_code == 404
    moved = [(x + 2, y) for x, y in desk.points(7)]
    edited = desk.edit("contour", frame=7, structure="lv_cavity", points=moved)
    again = Desk(client_of(settings), clip)
    assert again.shown["contours"][7] == edited["contours"][0]
