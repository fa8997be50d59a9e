import csv
import os
import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from clip_makers import moving_frames
from echoseg.clip import NOT_AS_LISTED, Annotation, Clip, Label, View
from echoseg.data.echonet_dynamic import UNTRACED, WITHOUT_VIDEO, collect, read_clip
from echoseg.data.echonet_writer import write_dataset
from echoseg.data.records import IssueKind
from echoseg.errors import DatasetError, FormatError


class Item(NamedTuple):
    name: str
    clip: Clip
    annotation: Annotation
    split: str


def cavity(half_length, half_width, side=112):
    y, x = np.mgrid[:side, :side]
    inside = ((x - 56) / half_width) ** 2 + ((y - 50) / half_length) ** 2 < 1
    return np.where(inside, Label.LV_CAVITY, Label.BACKGROUND).astype(np.uint8)


def made_item(name="0X0001", split="TRAIN", *, ed_frame=2, es_frame=7, num_frames=10, **changes):
    masks = np.zeros((num_frames, 112, 112), np.uint8)
    masks[ed_frame], masks[es_frame] = cavity(30, 17), cavity(24, 12)
    known = {
        "masks": masks,
        "labelled_frames": tuple(sorted((ed_frame, es_frame))),
        "ed_frame": ed_frame,
        "es_frame": es_frame,
        "ef_percent": 60.16,
        "edv_ml": 111.25,
        "esv_ml": 44.3,
    }
    frames, times_s = moving_frames(num_frames, 112, 112), np.arange(num_frames) / 50
    return Item(name, Clip(frames=frames, times_s=times_s), Annotation(**(known | changes)), split)


@pytest.fixture
def copy(tmp_path):
    """Three clips, one a split; in the second ES comes before ED."""
    items = [
        made_item("0XA", "TEST"),
        made_item("0XB", "TRAIN", ed_frame=8, es_frame=3),
        made_item("0XC", "VAL"),
    ]
    write_dataset(tmp_path / "copy", items)
    return tmp_path / "copy"


def record(data, name):
    return next(record for record in data.records if record.name == name)


def traced(data, name):
    """The clip's values in the tables."""
    return record(data, name).read.args[0]


def reasons(data):
    return {issue.place: issue.reason for issue in data.issues}


def table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def rewrite(path, change):
    rows = change(table(path))
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def test_a_round_trip_keeps_what_the_layout_holds(copy):
    data = collect(copy)
    assert reasons(data) == {}
    assert [(r.name, r.split) for r in data.records] == [
        ("0XA", "test"),
        ("0XB", "train"),
        ("0XC", "validation"),
    ]
    item = made_item(ed_frame=8, es_frame=3)
    clip, annotation = record(data, "0XB").load()
    assert np.abs(clip.frames.astype(int) - item.clip.frames).mean() < 1.5
    assert clip.times_s == pytest.approx(item.clip.times_s)
    assert (clip.view, clip.spacing_mm, clip.warnings) == (View.A4C, None, ())
    assert (annotation.ed_frame, annotation.es_frame) == (8, 3)
    assert annotation.labelled_frames == (3, 8)
    values = (annotation.ef_percent, annotation.edv_ml, annotation.esv_ml)
    assert values == (60.16, 111.25, 44.3)
    for frame in (3, 8):
        read_mask, mask = annotation.masks[frame] == 1, item.annotation.masks[frame] == 1
        assert 2 * (read_mask & mask).sum() / (read_mask.sum() + mask.sum()) >= 0.97
    assert not annotation.masks[[0, 1, 2, 4, 5, 6, 7, 9]].any()


def test_the_layout_is_the_releases(copy):
    assert sorted(os.listdir(copy)) == ["FileList.csv", "Videos", "VolumeTracings.csv"]
    assert sorted(os.listdir(copy / "Videos")) == ["0XA.avi", "0XB.avi", "0XC.avi"]
    listed = table(copy / "FileList.csv")
    assert ",".join(listed[0]) == (
        "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
    )
    assert listed[1] == ["0XA", "60.16", "44.3", "111.25", "112", "112", "50", "10", "TEST"]
    traced = table(copy / "VolumeTracings.csv")
    assert ",".join(traced[0]) == "FileName,X1,Y1,X2,Y2,Frame"
    assert [(row[0], row[5]) for row in traced[1:43]] == [("0XA.avi", "2")] * 21 + [
        ("0XA.avi", "7")
    ] * 21
    assert len(traced) == 1 + 3 * 42


def test_the_larger_area_is_ed_in_any_order(copy):
    rewrite(copy / "VolumeTracings.csv", lambda rows: [rows[0], *rows[22:43], *rows[1:22]])
    clip = traced(collect(copy), "0XA")
    assert (clip.ed_frame, clip.es_frame) == (2, 7)


def test_unknown_values_are_empty_and_read_back_unknown(tmp_path):
    item = made_item(ef_percent=None, edv_ml=None, esv_ml=None)
    write_dataset(tmp_path, [item])
    assert table(tmp_path / "FileList.csv")[1][1:4] == ["", "", ""]
    annotation = collect(tmp_path)[0][1]
    assert (annotation.ef_percent, annotation.edv_ml, annotation.esv_ml) == (None, None, None)


def test_a_missing_video_is_an_issue(copy):
    (copy / "Videos" / "0XB.avi").unlink()
    data = collect(copy)
    assert [r.name for r in data.records] == ["0XA", "0XC"]
    assert reasons(data) == {"0XB": "its video Videos/0XB.avi is missing"}
    assert data.issues[0].kind is IssueKind.MISSING


@pytest.mark.parametrize(
    ("keep", "words"),
    [
        (lambda row: row[0] != "0XB.avi", "two traced frames in VolumeTracings.csv, it has 0"),
        (lambda row: row[0] != "0XB.avi" or row[5] == "3", "it has 1"),
    ],
)
def test_a_missing_tracing_is_told_by_name(copy, keep, words):
    rewrite(copy / "VolumeTracings.csv", lambda rows: [row for row in rows if keep(row)])
    (issue,) = collect(copy).issues
    assert issue.place == "0XB" and words in issue.reason


def test_a_tracing_or_video_that_is_not_listed_is_told(copy):
    rewrite(copy / "FileList.csv", lambda rows: [row for row in rows if row[0] != "0XA"])
    (copy / "Videos" / "0XA.avi").unlink()
    (copy / "Videos" / "0XC.avi").rename(copy / "Videos" / "0XD.avi")
    assert reasons(collect(copy)) == {
        "0XC": "its video Videos/0XC.avi is missing",
        "0XA": "it has a tracing, but no row in FileList.csv",
        "0XD": "it has a video, but no row in FileList.csv",
    }


def test_a_traced_frame_past_the_end_and_a_tracing_of_nothing_are_told(copy):
    late = {"2": "12"}
    rewrite(
        copy / "VolumeTracings.csv",
        lambda rows: [
            [*row[:5], late.get(row[5], row[5])] if row[0] == "0XA.avi" else row
            for index, row in enumerate(rows)
            if row[0] != "0XB.avi" or index in (43, 44, 64, 65, 66)
        ],
    )
    assert reasons(collect(copy)) == {
        "0XA": "its frame 12 is traced, it has 10 frames",
        "0XB": "a tracing must have 3 rows or more, one of its two has fewer",
    }


def setting(line, column, value):
    def change(rows):
        rows[line][column] = value
        return rows

    return change


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("FileList.csv", setting(0, 8, "Fold"), "must have the columns .*; Split is missing"),
        ("VolumeTracings.csv", setting(0, 1, "X"), "must have the columns .*; X1 is missing"),
        ("FileList.csv", lambda rows: rows[:1], "no clip can be used; 3 have an issue"),
    ],
)
def test_a_table_not_as_documented_is_refused(copy, name, change, words):
    rewrite(copy / name, change)
    with pytest.raises(DatasetError, match=words) as caught:
        collect(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("FileList.csv", setting(2, 8, "FOLD1"), "line 3: Split must be .*, got 'FOLD1'"),
        ("FileList.csv", setting(2, 6, "fast"), "line 3: FPS must be a number, got 'fast'"),
        ("FileList.csv", setting(2, 1, "nan"), "line 3: EF must be a number, got 'nan'"),
        ("FileList.csv", setting(2, 6, "-40"), "line 3: FPS must be above 0, got -40"),
        ("FileList.csv", setting(2, 7, "9.5"), "line 3: NumberOfFrames must be a whole number"),
        ("FileList.csv", lambda rows: [*rows, rows[2]], "line 5: 0XB is listed twice"),
        ("VolumeTracings.csv", setting(50, 2, ""), "line 51: Y1 must be a number, got ''"),
        ("VolumeTracings.csv", setting(50, 5, "No Systolic"), "line 51: Frame must be a number"),
    ],
)
def test_a_bad_row_leaves_out_its_clip_and_no_other(copy, name, change, words):
    rewrite(copy / name, change)
    data = collect(copy)
    assert [record.name for record in data.records] == ["0XA", "0XC"]
    (issue,) = data.issues
    assert issue.place == "0XB" and re.search(words, issue.reason)


def test_a_row_with_another_number_of_fields_is_told_and_the_rest_goes_on(copy):
    rewrite(copy / "VolumeTracings.csv", lambda rows: [*rows, ["0XA.avi", "1"]])
    data = collect(copy)
    assert len(data) == 3
    ((place, reason),) = reasons(data).items()
    assert place.endswith("VolumeTracings.csv, line 128")
    assert "must have 6 fields" in reason


def test_a_bom_crlf_and_extra_columns_change_nothing(copy):
    names = ("0XA", "0XB", "0XC")
    before = [traced(collect(copy), name).ed_frame for name in names]
    for name in ("FileList.csv", "VolumeTracings.csv"):
        rows = [[*row, "more"] for row in table(copy / name)]
        text = "".join(",".join(row) + "\r\n" for row in rows)
        (copy / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    data = collect(copy)
    assert not data.issues
    assert [traced(data, name).ed_frame for name in names] == before


def test_the_releases_own_quirks_are_told_as_known(tmp_path):
    """Six clips without tracing and one tracing without clip; the rest can be used."""
    names = sorted(UNTRACED | WITHOUT_VIDEO)
    write_dataset(tmp_path, [made_item(name) for name in [*names, "0XA"]])
    rewrite(
        tmp_path / "VolumeTracings.csv",
        lambda rows: [row for row in rows if row[0].removesuffix(".avi") not in UNTRACED],
    )
    rewrite(
        tmp_path / "FileList.csv", lambda rows: [row for row in rows if row[0] not in WITHOUT_VIDEO]
    )
    for name in WITHOUT_VIDEO:
        (tmp_path / "Videos" / f"{name}.avi").unlink()
    data = collect(tmp_path)
    assert [record.name for record in data.records] == ["0XA"]
    assert sorted(issue.place for issue in data.issues) == names
    assert {issue.kind for issue in data.issues} == {IssueKind.KNOWN}


@pytest.mark.parametrize("name", ["FileList.csv", "VolumeTracings.csv"])
def test_a_missing_table_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(DatasetError, match=f"{name} is missing"):
        collect(copy)


def test_an_empty_copy_is_refused(tmp_path):
    write_dataset(tmp_path, [])
    with pytest.raises(DatasetError, match="no clip can be used"):
        collect(tmp_path)


def test_contradictions_of_the_tables_are_warnings(copy):
    clip = traced(collect(copy), "0XA")
    shifted = clip.tracing | {clip.ed_frame: clip.tracing[clip.ed_frame] + 60}
    read, _ = read_clip(replace(clip, num_frames=11, tracing=shifted))
    assert [warning.message for warning in read.warnings if warning.code == NOT_AS_LISTED] == [
        "FileList.csv lists 11 frames, the video has 10",
        f"the tracing of frame {clip.ed_frame} leaves the image of 112 x 112 pixels",
    ]


def test_a_video_of_another_clip_is_refused_when_loaded(copy):
    clip = traced(collect(copy), "0XA")
    with pytest.raises(DatasetError, match=r"64 x 64 pixels, .* they have 112 x 112"):
        read_clip(replace(clip, size=(64, 64)))
    late = {clip.ed_frame: clip.tracing[clip.ed_frame], 12: clip.tracing[clip.es_frame]}
    with pytest.raises(DatasetError, match=r"must have the traced frame 12, it has 10"):
        read_clip(replace(clip, es_frame=12, tracing=late))
    clip.video.write_bytes(b"RIFF\x10\0\0\0AVI " + bytes(50))
    with pytest.raises(FormatError, match="not a readable video"):
        read_clip(clip)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clip": replace(made_item().clip, times_s=None)}, "0XB: times_s, .* must be known"),
        (
            {"clip": replace(made_item().clip, times_s=np.arange(10) ** 2 / 50)},
            "times_s must be evenly spaced",
        ),
        ({"annotation": replace(made_item().annotation, es_frame=None)}, "es_frame must be known"),
    ],
)
def test_what_the_layout_cannot_hold_is_refused(tmp_path, changes, words):
    items = [made_item("0XA"), made_item("0XB")._replace(**changes)]
    with pytest.raises(ValueError, match=words):
        write_dataset(tmp_path, items)
    assert not (tmp_path / "FileList.csv").exists()
