"""Number of Frames against what the pixels hold: the pixels win, and both are told."""

import io

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

from clip_makers import moving_frames, ultrasound
from echoseg.errors import DamagedError
from echoseg.io import load_clip


def codes(clip):
    return {warning.code for warning in clip.warnings}


def saved(path, kind, num_frames, stated):
    frames = moving_frames(num_frames, 64, 128)
    dataset = ultrasound(frames, FrameTime=40)
    if kind != "raw":
        jpegs = []
        for frame in frames:
            file = io.BytesIO()
            Image.fromarray(frame).save(file, "JPEG", quality=95)
            jpegs.append(file.getvalue())
        pieces = 3 if kind == "fragments" else 1
        dataset.PixelData = encapsulate(jpegs, fragments_per_frame=pieces, has_bot=pieces == 1)
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    if stated is None:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = stated
    dataset.save_as(path, enforce_file_format=True)
    return frames


@pytest.mark.parametrize("kind", ["raw", "jpeg", "fragments"])
@pytest.mark.parametrize("stated", [None, 0, 6, 8, 11, 13, 40])
@pytest.mark.parametrize("num_frames", [12])
def test_the_frames_that_are_there_are_read(tmp_path, kind, stated, num_frames):
    frames = saved(tmp_path / "c.dcm", kind, num_frames, stated)
    clip = load_clip(tmp_path / "c.dcm")
    assert clip.frames.shape == frames.shape
    assert np.abs(clip.frames.astype(int) - frames).mean() < 3
    assert clip.damaged_frames == ()
    assert codes(clip) == ({"contradicted_number_of_frames"} if stated else set())
    if stated:
        (warning,) = clip.warnings
        assert f"the pixels 12 frames is used, Number of Frames (0028,0008) {stated}" in (
            warning.message
        )


@pytest.mark.parametrize("kind", ["raw", "jpeg"])
def test_frames_that_a_truncated_file_lacks_are_still_damaged(tmp_path, kind):
    path = tmp_path / "c.dcm"
    saved(path, kind, 12, 12)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(0.7 * len(raw))])
    with pytest.raises(DamagedError, match="of 12 frames cannot be read"):
        load_clip(path)
    clip = load_clip(path, allow_damaged=True)
    assert clip.num_frames + len(clip.damaged_frames) == 12
    assert "contradicted_number_of_frames" not in codes(clip)
