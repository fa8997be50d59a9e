import os
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from clip_makers import moving_frames
from echoseg.clip import Annotation, Clip, View
from echoseg.data import camus
from echoseg.data.camus_writer import write_patient, write_splits
from echoseg.errors import DatasetError


def beating_masks(num_frames, rows, columns, es_frame):
    """Return a cavity in its wall over an atrium; the cavity is smallest at `es_frame`."""
    y, x = np.mgrid[:rows, :columns]
    masks = np.zeros((num_frames, rows, columns), np.uint8)
    for index, mask in enumerate(masks):
        radius = 5 + abs(index - es_frame) / 2
        distance = np.hypot((x - columns / 2) / radius, (y - rows / 2) / (1.6 * radius))
        mask[distance < 1.4] = 2
        mask[(distance < 1.4) & (y > rows / 2 + radius)] = 3
        mask[(distance < 1) & (y <= rows / 2 + radius)] = 1
    return masks


def made_view(rows=48, columns=64, ed_frame=1, es_frame=6, **changes):
    frames = moving_frames(9, rows, columns)
    clip = Clip(frames=frames, times_s=np.arange(9) / 52.3456, spacing_mm=(0.31, 0.154))
    known = {
        "masks": beating_masks(9, rows, columns, es_frame),
        "ed_frame": ed_frame,
        "es_frame": es_frame,
        "ef_percent": 54.32,
        "quality": "Good",
    }
    return clip, Annotation(**(known | changes))


def test_stills_read_back_equal(tmp_path):
    made = {"patient0001": made_view(), "patient0007": made_view(40, 51, ed_frame=7, es_frame=2)}
    for patient, view in made.items():
        write_patient(tmp_path, patient, {View.A4C: view})
        (tmp_path / "database_nifti" / patient / "Info_4CH.cfg").unlink()  # so the stills are read
    for record in camus.collect(tmp_path).records:
        (clip, annotation), (read_clip, read) = made[record.patient], record.load()
        frames = [annotation.ed_frame, annotation.es_frame]
        assert (read.ed_frame, read.es_frame) == (0, 1)
        assert np.array_equal(read_clip.frames, clip.frames[frames])
        assert np.array_equal(read.masks, annotation.masks[frames])
        assert read_clip.spacing_mm == pytest.approx(clip.spacing_mm)


@pytest.mark.parametrize(("ed_frame", "es_frame"), [(1, 6), (7, 2)])
@pytest.mark.parametrize("view", [View.A2C, View.A4C])
def test_a_half_sequence_reads_back_equal(tmp_path, view, ed_frame, es_frame):
    clip, annotation = made_view(ed_frame=ed_frame, es_frame=es_frame)
    write_patient(tmp_path, "patient0001", {view: (clip, annotation)})
    read_clip, read = camus.collect(tmp_path)[0]
    first, last = sorted((ed_frame, es_frame))
    assert np.array_equal(read_clip.frames, clip.frames[first : last + 1])
    assert np.array_equal(read.masks, annotation.masks[first : last + 1])
    assert read_clip.spacing_mm == pytest.approx(clip.spacing_mm)
    assert read_clip.frame_rate_hz == pytest.approx(clip.frame_rate_hz, rel=1e-7)
    assert read_clip.view == view
    assert read_clip.warnings == ()
    assert (read.ed_frame, read.es_frame) == (ed_frame - first, es_frame - first)
    assert (read.ef_percent, read.quality) == (54.32, "Good")
    assert read.labelled_frames == tuple(range(last - first + 1))


def test_the_layout_is_the_releases(tmp_path):
    write_patient(tmp_path, "patient0001", {View.A2C: made_view(), View.A4C: made_view()})
    write_splits(tmp_path, {"training": ["patient0001"]})
    folder = tmp_path / "database_nifti" / "patient0001"
    assert sorted(os.listdir(folder)) == sorted(
        [f"Info_{view}.cfg" for view in ("2CH", "4CH")]
        + [
            f"patient0001_{view}_{part}{suffix}.nii.gz"
            for view in ("2CH", "4CH")
            for part in ("ED", "ES", "half_sequence")
            for suffix in ("", "_gt")
        ]
    )
    assert (folder / "Info_4CH.cfg").read_text().splitlines() == [
        "ED: 1",
        "ES: 6",
        "NbFrame: 6",
        "Sex: NA",
        "Age: NA",
        "ImageQuality: Good",
        "EF: 54.32",
        "FrameRate: 52.3456",
    ]
    image = nibabel.load(folder / "patient0001_4CH_half_sequence.nii.gz")
    assert image.shape == (64, 48, 6)  # (x, y, t)
    assert np.allclose(np.diag(image.affine), [-0.154, -0.31, 1, 1])
    splits = sorted(os.listdir(tmp_path / "database_split"))
    assert splits == [f"subgroup_{name}.txt" for name in ("testing", "training", "validation")]


def test_what_is_unknown_reads_back_unknown(tmp_path):
    view = made_view(ef_percent=None, quality="")
    write_patient(tmp_path, "patient0001", {View.A4C: view})
    read = camus.collect(tmp_path)[0][1]
    assert (read.ef_percent, read.quality) == (None, "")


def test_a_view_without_its_phases_is_refused(tmp_path):
    clip, annotation = made_view()
    with pytest.raises(ValueError, match="ed_frame and es_frame must be known"):
        write_patient(
            tmp_path, "patient0001", {View.A4C: (clip, replace(annotation, es_frame=None))}
        )


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("patient0001_4CH_half_sequence_gt.nii.gz", b"\x1f\x8bno", "truncated or broken"),
        ("Info_4CH.cfg", b"ED: 1\nFrameRate: 50\n", "must have a line 'ES: ...'"),
        ("Info_4CH.cfg", b"ED: 1\nES: 9\nFrameRate: 50\n", "es_frame must be 0 to 5"),
        ("Info_4CH.cfg", b"ED: one\nES: 9\nFrameRate: 50\n", r"Info_4CH\.cfg: .*'one'"),
    ],
)
def test_a_view_not_as_documented_is_refused(tmp_path, name, content, words):
    write_patient(tmp_path, "patient0001", {View.A4C: made_view()})
    path = tmp_path / "database_nifti" / "patient0001" / name
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=words) as caught:
        camus.collect(tmp_path)[0]
    assert "\n" not in str(caught.value)
