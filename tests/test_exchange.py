"""A result for other tools, and back: the same masks, and the same EF, through the real command."""

import json

import nibabel as nib
import numpy as np
import pytest
import slicerio
from PIL import Image
from typer.testing import CliRunner

from clip_makers import save_object, write_video
from echoseg.cli import app
from echoseg.data import load_dataset
from echoseg.errors import ArgumentError, ConfigError
from echoseg.exchange import FORMATS, convert
from echoseg.inference.analysis import analyze_masks
from echoseg.io import load_clip, load_masks
from echoseg.report.writer import write_results
from heart_makers import beating

NUM_FRAMES, SPACING_MM, RATE_HZ = 50, (0.5, 0.5), 25.0


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """A clip of two beats, and what `measure` says of its masks."""
    root = tmp_path_factory.mktemp("result")
    y, x = np.mgrid[:120, :100]
    masks = np.zeros((NUM_FRAMES, 120, 100), np.uint8)
    for index, mask in enumerate(masks):
        radius = 18 + 5 * np.cos(2 * np.pi * index / 25)
        distance = np.hypot((x - 50) / radius, (y - 55) / (1.7 * radius))
        mask[distance < 1.25] = 2
        mask[distance < 1] = 1
        mask[(y > 96) & (y < 112) & (abs(x - 50) < 15)] = 3
    noise = np.random.default_rng(0).integers(0, 40, masks.shape)
    write_video(root / "clip.avi", (masks * 50 + noise).astype(np.uint8))
    affine = np.diag([SPACING_MM[1], SPACING_MM[0], 1 / RATE_HZ, 1])
    image = nib.Nifti1Image(masks.transpose(2, 1, 0), affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, root / "masks.nii.gz")
    command = ["measure", str(root / "masks.nii.gz"), "--clip", str(root / "clip.avi")]
    command += ["--view", "A4C", "--spacing-mm", "0.5", "0.5", "--fps", "25"]
    run = CliRunner().invoke(app, [*command, "-o", str(root / "out")])
    assert run.exit_code == 0, run.output
    return root


def ef_of(folder):
    return json.loads((folder / "report.json").read_text())["results"]["ef_percent"]


EDITED = {
    "slicer": ("masks.seg.nrrd", "masks.seq.nrrd"),
    "itk-snap": ("masks.nii.gz",),
    "coco": ("annotations.json",),
    "cvat": ("annotations.xml",),
}


@pytest.mark.parametrize("to", EDITED)
def test_what_a_tool_gets_gives_the_same_ef_when_it_comes_back(tmp_path, result, to):
    folder = convert(result / "out", to, tmp_path / "to")
    masks = load_masks(result / "out" / "masks.nii.gz")[1]
    for name in EDITED[to]:
        assert np.array_equal(load_masks(folder / name, fps=25)[1], masks)
    back = tmp_path / "back"
    command = ["measure", str(folder / EDITED[to][0]), "--view", "A4C", "--fps", "25"]
    run = CliRunner().invoke(app, [*command, "--spacing-mm", "0.5", "0.5", "-o", str(back)])
    assert run.exit_code == 0, run.output
    assert ef_of(back) == ef_of(result / "out")


def test_frames_go_along_with_the_clip(tmp_path, result):
    clip = load_clip(result / "clip.avi")
    folder = convert(result / "out", "slicer", tmp_path / "slicer", clip=result / "clip.avi")
    sequence = slicerio.read_volume(str(folder / "clip.seq.nrrd"))
    frame = slicerio.sequence_frame(sequence, 7)
    assert np.array_equal(frame["voxels"][:, :, 0].T, clip.frames[7])
    segmentation = slicerio.read_segmentation(str(folder / "masks.seg.nrrd"))
    assert np.allclose(segmentation["ijkToLPS"], sequence["ijkToLPS"])  # they lie on each other
    folder = convert(result / "out", "coco", tmp_path / "coco", clip=result / "clip.avi")
    document = json.loads((folder / "annotations.json").read_text())
    for image in document["images"][::20]:
        picture = np.asarray(Image.open(folder / "images" / image["file_name"]))
        assert np.array_equal(picture, clip.frames[image["frame_id"]])


def test_slicer_gets_the_times_of_uneven_frames_with_the_clip_and_without(tmp_path):
    masks, times_s, _ = beating(40, phase=0.5)
    steps_ms = [0, *(1000 * np.diff(times_s + np.resize([0, 0.004], len(times_s)))).round(3)]
    noise = np.random.default_rng(0).integers(0, 40, masks.shape)
    frames = (masks * 60 + noise).astype(np.uint8)
    save_object(tmp_path / "clip.dcm", frames, FrameTimeVector=steps_ms)
    clip = load_clip(tmp_path / "clip.dcm")
    assert np.ptp(np.diff(clip.times_s)) > 0.005
    write_results(analyze_masks(clip, masks), tmp_path / "r", pages=False)
    for source, names in (
        (None, ["masks.seq.nrrd"]),
        (tmp_path / "clip.dcm", ["masks.seq.nrrd", "clip.seq.nrrd"]),
    ):
        folder = convert(tmp_path / "r", "slicer", tmp_path / f"to-{source is None}", clip=source)
        for name in names:
            stated = slicerio.read_volume(str(folder / name))["sequence"]["indexValues"]
            assert [float(value) for value in stated] == pytest.approx(clip.times_s, abs=1e-5)


def test_echonets_layout_is_read_by_its_loader(tmp_path, result):
    folder = convert(result / "out", "echonet", tmp_path / "to", clip=result / "clip.avi")
    ((clip, annotation),) = load_dataset(folder)
    masks = load_masks(result / "out" / "masks.nii.gz")[1]
    assert clip.num_frames == NUM_FRAMES
    assert annotation.ef_percent == pytest.approx(ef_of(result / "out"), abs=0.05)
    for frame in (annotation.ed_frame, annotation.es_frame):
        drawn, cavity = annotation.masks[frame] == 1, masks[frame] == 1
        assert 2 * (drawn & cavity).sum() / (drawn.sum() + cavity.sum()) > 0.95


def test_labels_of_itk_snap_name_every_label(tmp_path, result):
    folder = convert(result / "out", "itk-snap", tmp_path / "to")
    rows = (folder / "labels.txt").read_text().splitlines()[1:]
    assert [int(row.split()[0]) for row in rows] == [0, 1, 2, 3]
    assert all(len(row.split('"')[0].split()) == 7 for row in rows)


def test_what_cannot_be_converted_is_refused_and_nothing_written(tmp_path, result):
    with pytest.raises(ConfigError, match="must be one of slicer, itk-snap, coco, cvat, echonet"):
        convert(result / "out", "dicom", tmp_path / "to")
    with pytest.raises(ConfigError, match="give the clip"):
        convert(result / "out", "echonet", tmp_path / "to")
    with pytest.raises(ArgumentError, match="must be a result folder"):
        convert(result, "coco", tmp_path / "to")
    write_video(tmp_path / "other.avi", np.zeros((9, 120, 100), np.uint8) + 9)
    with pytest.raises(ArgumentError, match="is not the clip of"):
        convert(result / "out", "coco", tmp_path / "to", clip=tmp_path / "other.avi")
    assert not (tmp_path / "to").exists()


def test_the_command_replaces_only_what_it_wrote(tmp_path, result):
    command = ["convert", str(result / "out"), "--to", "cvat", "-o", str(tmp_path / "to")]
    assert CliRunner().invoke(app, command).exit_code == 0
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 2 and "--force" in run.output
    assert CliRunner().invoke(app, [*command, "--force"]).exit_code == 0
    assert set(FORMATS) == {*EDITED, "echonet"}
