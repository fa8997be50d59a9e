"""Pictures in colour: a green ECG, a tinted map; shown as they are, measured in grey."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from clip_makers import write_video
from echoseg import load_clip
from echoseg.inference.analysis import analyze_masks
from echoseg.io.colour import has_colour
from echoseg.io.grey import to_grey
from echoseg.preprocess.sector import blank_outside
from echoseg.report.figures.overlay import frame_picture
from echoseg.web.cine import read_cine, read_frames, read_jpeg, write_cine
from heart_makers import beating

GREEN, SEPIA = (20, 230, 40), np.array([1.0, 0.85, 0.6])


@pytest.fixture
def pictures():
    """Frames of a heart `T H W 3` with a green trace below it, from the third on."""
    masks, _, _ = beating(12, phase=0.5)
    noise = np.random.default_rng(0).integers(0, 40, masks.shape, np.uint8)
    frames = np.repeat((50 * masks + noise)[..., None], 3, -1)
    frames[2:, 140:143, 20:120] = GREEN
    return frames


def picture_of(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)), int)


def test_frames_that_show_colour_have_a_picture_beside_the_same_grey_frames(pictures):
    clip = load_clip(pictures, fps=25)
    assert [clip.jpeg(index) is not None for index in range(4)] == [False, False, True, True]
    assert np.array_equal(clip.frames[5], to_grey(pictures[5]))
    picture = picture_of(clip.jpeg(5))
    assert np.abs(picture[141, 30:110] - GREEN).mean() < 15
    assert np.abs(picture[:130] - pictures[5, :130].astype(int)).mean() < 6


def test_a_tinted_map_is_colour_and_a_lossy_grey_video_is_not(pictures, tmp_path):
    tinted = (pictures[..., :1].clip(0, 200) * SEPIA).astype(np.uint8)
    assert load_clip(tinted, fps=25).jpeg(0) is not None
    write_video(tmp_path / "grey.avi", pictures[..., 0])
    assert load_clip(tmp_path / "grey.avi").colour is None
    assert load_clip(pictures[..., 0], fps=25).colour is None
    assert not has_colour(pictures[0])


def test_other_frames_of_the_clip_have_no_picture(pictures):
    """What was cut, mirrored or made black stays so."""
    clip = load_clip(pictures, fps=25)
    assert replace(clip, view="A4C").jpeg(5) is not None
    for other in (
        replace(clip, frames=clip.frames[..., ::-1]), replace(clip, frames=clip.frames.copy()),
        replace(clip, frames=clip.frames[:5], times_s=clip.times_s[:5]), blank_outside(clip),
    ):  # fmt: skip
        assert other.jpeg(4) is None


def test_the_page_and_the_report_show_it(pictures, tmp_path):
    clip = load_clip(pictures, fps=25)
    write_cine(clip, tmp_path)
    cine = read_cine(tmp_path)
    assert Image.open(io.BytesIO(read_jpeg(tmp_path, cine, 0))).mode == "L"
    assert np.abs(picture_of(read_jpeg(tmp_path, cine, 7))[141, 30:110] - GREEN).mean() < 15
    grey = read_frames(tmp_path, cine)
    assert np.abs(grey.astype(int) - clip.frames).mean() < 4
    masks = beating(12, phase=0.5)[0]
    analysis = analyze_masks(clip, masks)

    def greenest(one):
        picture = np.asarray(frame_picture(one, 7), int)
        bottom = picture[-picture.shape[0] // 12 :]
        return (bottom[..., 1] - bottom[..., 0]).max()

    assert greenest(analysis) > 150
    assert greenest(replace(analysis, clip=blank_outside(clip))) < 20
