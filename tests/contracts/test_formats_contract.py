"""What every format must keep: found by content, frames, times and scale come back."""

import av
import nibabel
import numpy as np
import pytest
from PIL import Image

from clip_makers import (
    RATE_HZ,
    moving_frames,
    write_dicom,
    write_dicom_series,
    write_hdf5,
    write_image_folder,
    write_metaimage,
    write_nifti,
    write_numpy,
    write_tiff,
    write_video,
    write_zarr,
)
from echoseg.errors import FormatError
from echoseg.io import FORMATS, load_clip
from echoseg.io.nifti import write_masks
from echoseg.io.slicer import write_sequence
from echoseg.io.video import write_h264

WRITERS = {
    "dicom": write_dicom,
    "video": write_video,
    "nifti": write_nifti,
    "metaimage": write_metaimage,
    "image_folder": write_image_folder,
    "images": write_tiff,
    "numpy": write_numpy,
    "hdf5": write_hdf5,
    "dicom_series": write_dicom_series,
}


def write_straight_zarr(path, frames):
    """Frames whose beams are so narrow and far away that they are columns."""
    side_m = {"depth_start_m": 1000.0, "depth_end_m": 1000.0 + 0.0005 * (frames.shape[1] - 1)}
    half_rad = 0.0002 * (frames.shape[2] - 1) / 1000
    write_zarr(path, frames, geometry=side_m | {"width_rad": 2 * half_rad})
    return (0.5, 0.4 * (1 + 0.00025 * (frames.shape[1] - 1) / 1000))  # at the middle depth


def write_nrrd(path, frames):
    """A sequence of 3D Slicer; pynrrd takes the file's kind from its name."""
    file = path.with_name("clip.nrrd")
    write_sequence(file, frames, (0.5, 0.4), np.arange(len(frames)) / RATE_HZ)
    file.rename(path)
    return 0.5, 0.4


WRITERS |= {"zarr": write_straight_zarr, "nrrd": write_nrrd}
HAS_TIMES = ("dicom", "dicom_series", "video", "nifti", "zarr", "nrrd")


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_clip_comes_back_whatever_its_name(name, tmp_path):
    frames = moving_frames(9)
    path = tmp_path / "clip.txt"
    spacing_mm = WRITERS[name](path, frames)
    clip = load_clip(path)
    assert clip.format_name == name
    assert clip.frames.shape == frames.shape
    difference = np.abs(clip.frames.astype(int) - frames)
    assert difference.max() <= (12 if name == "video" else 0)
    assert clip.spacing_mm == (pytest.approx(spacing_mm) if spacing_mm else None)
    assert len(clip.source_sha256) == 64
    codes = {warning.code for warning in clip.warnings}
    assert ("assumed_frame_rate" in codes) == (name not in HAS_TIMES)
    if name in HAS_TIMES:
        assert clip.frame_rate_hz == pytest.approx(RATE_HZ, rel=1e-3)


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_what_the_user_says_replaces_what_the_file_says(name, tmp_path):
    path = tmp_path / "clip"
    WRITERS[name](path, moving_frames(9))
    clip = load_clip(path, spacing_mm=(0.3, 0.2), fps=80)
    assert clip.spacing_mm == (0.3, 0.2)
    assert clip.frame_rate_hz == pytest.approx(80)
    assert not {"assumed_frame_rate", "stale_scale"} & {w.code for w in clip.warnings}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_one_frame_is_no_clip(name, tmp_path):
    WRITERS[name](tmp_path / "clip", moving_frames(1))
    with pytest.raises(FormatError, match=r"at least 2 frames|grey|no frames"):
        load_clip(tmp_path / "clip")


@pytest.mark.parametrize("container", ["mp4", "mov", "gif"])
def test_other_video_containers_are_read(container, tmp_path):
    frames = moving_frames(8)
    path = tmp_path / f"clip.{container}"
    if container == "mp4":
        write_h264(path, (np.stack([f] * 3, -1) for f in frames), RATE_HZ)
    elif container == "mov":
        with av.open(str(path), "w") as file:
            stream = file.add_stream("mpeg4", rate=25)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            for frame in frames:
                rgb = np.stack([frame] * 3, -1)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            file.mux(stream.encode())
    else:
        pictures = [Image.fromarray(frame) for frame in frames]
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    clip = load_clip(path)
    assert clip.frames.shape == frames.shape
    assert clip.frame_rate_hz == pytest.approx(25, rel=0.01)
    assert np.abs(clip.frames.astype(int) - frames).mean() < 6


@pytest.mark.parametrize(("rate_hz", "rows", "columns"), [(30.0003, 47, 63), (22.58, 48, 64)])
def test_h264_keeps_rate_and_frames_and_pads_odd_sides(tmp_path, rate_hz, rows, columns):
    frames = moving_frames(9, rows, columns)
    write_h264(tmp_path / "v.mp4", (np.stack([f] * 3, -1) for f in frames), rate_hz)
    with av.open(str(tmp_path / "v.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert float(stream.average_rate) == pytest.approx(rate_hz, rel=1e-3)
        assert (stream.height, stream.width) == (48, 64)
        assert len(list(container.decode(video=0))) == 9


def test_nifti_masks_come_back_exactly(tmp_path):
    masks = np.random.default_rng(0).integers(0, 4, (5, 20, 30), dtype=np.uint8)
    write_masks(tmp_path / "m.nii.gz", masks, None, None)
    image = nibabel.load(tmp_path / "m.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), masks)
    assert image.header.get_xyzt_units() == ("unknown", "unknown")
