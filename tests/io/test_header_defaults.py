"""A header's default is not a statement; time stands where the array has it."""

import nibabel
import numpy as np
import pytest

from clip_makers import moving_frames, write_metaimage
from echoseg.io import load_clip, load_masks

SECONDS, MILLISECONDS = 2 | 8, 2 | 16


def codes(clip):
    return {warning.code for warning in clip.warnings}


def sector_frames(num_frames=30):
    """A dark picture with a bright sector that moves."""
    frames = moving_frames(num_frames)
    frames[:, :6] = frames[:, -6:] = 0
    frames[:, :, :12] = frames[:, :, -12:] = 0
    return frames


def nifti(path, array, pixdim, units):
    """Write an array (x, y, t) or with further axes."""
    image = nibabel.Nifti1Image(np.ascontiguousarray(array), np.eye(4))
    image.header["pixdim"][1 : 1 + len(pixdim)] = pixdim
    image.header["xyzt_units"] = units
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("units", [0, 2, SECONDS, MILLISECONDS])
def test_spacings_of_one_are_unknown_and_so_is_a_frame_of_one_second(tmp_path, units):
    frames = sector_frames()
    path = nifti(tmp_path / "c.nii.gz", frames.transpose(2, 1, 0), [1, 1, 1], units)
    told = load_clip(path, spacing_mm=(1, 1), fps=25)
    assert (told.spacing_mm, told.frame_rate_hz) == ((1, 1), pytest.approx(25))
    assert not codes(told) & {"default_spacing", "assumed_frame_rate"}
    for clip in (
        load_clip(path),
        load_masks(nifti(path, (frames.T > 99).astype(np.uint8), [1, 1, 1], units))[0],
    ):
        assert clip.spacing_mm is None
        assert "assumed_frame_rate" in codes(clip)
        assert clip.decision("frame_rate_hz").value is None


def test_spacings_of_one_are_told_where_the_header_names_their_unit(tmp_path):
    frames = sector_frames().transpose(2, 1, 0)
    clip = load_clip(nifti(tmp_path / "c.nii.gz", frames, [1, 1, 0.04], SECONDS))
    assert (clip.spacing_mm, clip.frame_rate_hz) == (None, pytest.approx(25))
    (warning,) = clip.warnings
    assert warning.code == "default_spacing"
    assert "1 x 1 mm: it is the default of many tools" in warning.message
    write_metaimage(tmp_path / "c.mhd", sector_frames(), spacing_mm=(1, 1))
    clip = load_clip(tmp_path / "c.mhd")
    assert (clip.spacing_mm, codes(clip)) == (None, {"default_spacing", "assumed_frame_rate"})


@pytest.mark.parametrize(
    ("place", "pixdim"),
    [
        (lambda a: a, [0.4, 0.5, 0.04]),
        (lambda a: a[..., None], [0.4, 0.5, 0.04, 1]),
        (lambda a: a[:, :, None], [0.4, 0.5, 1, 0.04]),
        (lambda a: a[None], [1, 0.4, 0.5, 0.04]),
    ],
)
def test_rate_and_spacing_are_those_of_the_axes_that_are_there(tmp_path, place, pixdim):
    frames = sector_frames()
    array = place(frames.transpose(2, 1, 0))
    clip = load_clip(nifti(tmp_path / "c.nii.gz", array, pixdim, SECONDS))
    assert np.array_equal(clip.frames, frames)
    assert clip.spacing_mm == pytest.approx((0.5, 0.4))
    assert clip.frame_rate_hz == pytest.approx(25)
    assert clip.warnings == ()
    if len(pixdim) == 4 and pixdim[2] == 1:
        pixdim[3] = 1
        clip = load_clip(nifti(tmp_path / "c.nii.gz", array, pixdim, SECONDS))
        assert codes(clip) == {"assumed_frame_rate"}


@pytest.mark.parametrize("load", [load_clip, lambda path: load_masks(path)[0]])
def test_time_as_the_first_axis_is_seen_and_told(tmp_path, load):
    frames = sector_frames()
    if load is not load_clip:
        rows, columns = np.mgrid[:48, :64]
        size = 15 + np.sin(np.arange(30) / 3)[:, None, None]
        frames = (np.hypot(rows - 24, columns - 32) < size).astype(np.uint8)
    clip = load(nifti(tmp_path / "c.nii.gz", frames, [1, 0.5, 0.4], SECONDS))
    assert clip.frames.shape == frames.shape
    assert clip.spacing_mm == pytest.approx((0.5, 0.4))
    assert codes(clip) >= {"axes_reordered", "assumed_frame_rate"}
    if load is load_clip:
        assert np.array_equal(clip.frames, frames)


def test_masks_of_two_labelled_frames_keep_their_axes(tmp_path):
    masks = np.zeros((64, 48, 60), np.uint8)
    masks[20:44, 10:34, [3, 40]] = 1
    clip, read = load_masks(nifti(tmp_path / "m.nii.gz", masks, [0.4, 0.5, 0.04], SECONDS))
    assert np.array_equal(read, masks.T)
    assert clip.warnings == () or codes(clip) == {"duplicate_frames"}
