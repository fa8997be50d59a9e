"""A clip from a path, bytes or an array; what is none of these is refused with the way out."""

import numpy as np
import pytest

from clip_makers import moving_frames, write_dicom, write_nifti, write_video
from echoseg.clip import Annotation, Clip, View
from echoseg.errors import ConfigError, FormatError
from echoseg.io import load_clip


@pytest.mark.parametrize("write", [write_dicom, write_video, write_nifti])
def test_bytes_are_read_like_the_file(tmp_path, write):
    path = tmp_path / "clip"
    write(path, moving_frames())
    from_path, from_bytes = load_clip(path), load_clip(path.read_bytes())
    assert np.array_equal(from_path.frames, from_bytes.frames)
    assert np.array_equal(from_path.times_s, from_bytes.times_s)
    assert from_path.source_sha256 == from_bytes.source_sha256
    assert from_path.spacing_mm == from_bytes.spacing_mm
    assert from_bytes.source == ""


def test_broken_bytes_are_refused_without_the_name_of_a_temporary_file():
    with pytest.raises(FormatError, match=r"^bytes: the content is not of a supported format"):
        load_clip(b"nothing of use")
    with pytest.raises(FormatError, match=r"^bytes: the file is empty"):
        load_clip(b"")


def test_an_array_keeps_its_grey_levels():
    frames = moving_frames()
    clip = load_clip(frames, spacing_mm=(0.3, 0.2), fps=50, view="A4C")
    assert np.array_equal(clip.frames, frames)
    assert (clip.spacing_mm, clip.view, clip.warnings) == ((0.3, 0.2), View.A4C, ())
    assert clip.frame_rate_hz == pytest.approx(50)
    for kind in (np.int16, np.float32, np.float64):
        assert np.array_equal(load_clip(frames.astype(kind), fps=50).frames, frames)
    colour = np.repeat(frames[..., None], 3, axis=-1)
    assert np.array_equal(load_clip(colour, fps=50).frames, frames)
    assert {note.code for note in load_clip(frames).warnings} == {"assumed_frame_rate"}


def test_a_tensor_is_an_array_too():
    import torch

    frames = moving_frames()
    assert np.array_equal(load_clip(torch.from_numpy(frames), fps=50).frames, frames)


def test_a_float_array_in_0_to_1_is_spread_over_the_grey_levels_with_a_warning():
    clip = load_clip(moving_frames() / 255, fps=50)
    assert clip.frames.max() == 255
    assert "rescaled_grey" in {note.code for note in clip.warnings}


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((20, 20)), r"must be \(T, H, W\) or \(T, H, W, 3\), got \(20, 20\)"),
        (np.zeros((2, 20, 20, 5)), r"got \(2, 20, 20, 5\)"),
        (np.zeros((1, 20, 20)), "at least 2 frames, this has 1"),
        (np.zeros((0, 20, 20)), "no frames"),
        (np.zeros((3, 0, 20)), "no frames"),
        (np.full((3, 20, 20), np.nan), "every pixel is NaN"),
        (np.zeros((3, 20, 20), bool), "must be numbers, got bool"),
        (np.full((3, 20, 20), "x"), "must be numbers"),
    ],
)
def test_an_array_that_is_not_a_clip_is_refused(array, words):
    with pytest.raises(FormatError, match=words):
        load_clip(array)


@pytest.mark.parametrize("source", [None, 3, [[1, 2]], {"path": "x"}])
def test_another_type_is_a_type_error_with_the_way_out(source):
    with pytest.raises(TypeError, match=r"load_clip takes a path, bytes or an array \(T, H, W\)"):
        load_clip(source)


def test_a_wrong_view_names_the_views():
    with pytest.raises(ConfigError, match=r"view must be one of A4C, A2C, .* got '4CH'"):
        load_clip(moving_frames(), view="4CH")


def test_reprs_are_one_line():
    frames = np.zeros((45, 768, 1024), np.uint8)
    clip = Clip(
        frames=frames,
        times_s=np.arange(45) / 20,
        spacing_mm=(0.31, 0.308),
        view=View.A4C,
        source="/data/clip.dcm",
    )
    assert repr(clip) == "Clip(45 frames, 1024 x 768, A4C, 20 fps, 0.31 x 0.31 mm, 'clip.dcm')"
    assert repr(Clip(frames=frames)) == "Clip(45 frames, 1024 x 768, unknown)"
    annotation = Annotation(masks=frames, labelled_frames=(0, 20), ed_frame=0, es_frame=20)
    assert repr(annotation) == "Annotation(2 of 45 frames labeled, ED 0, ES 20)"


def test_a_clip_of_a_list_is_a_type_error():
    with pytest.raises(TypeError, match=r"frames must be a numpy array, got list"):
        Clip(frames=[[1, 2]])


@pytest.mark.parametrize("pair", [np.array([0.3, 0.4]), [0.3, 0.4], (np.float32(0.3), 0.4)])
def test_any_pair_of_numbers_is_a_spacing(pair):
    spacing_mm = load_clip(moving_frames(), spacing_mm=pair).spacing_mm
    assert spacing_mm == pytest.approx((0.3, 0.4))
    assert all(type(length_mm) is float for length_mm in spacing_mm)


def test_a_view_is_taken_in_lower_case():
    assert load_clip(moving_frames(), view="a4c").view == "A4C"


def test_the_alpha_of_a_picture_is_ignored():
    colours = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 4), np.uint8)
    assert np.array_equal(load_clip(colours).frames, load_clip(colours[..., :3]).frames)
