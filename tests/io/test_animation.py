"""Animations: delays that tools write by default state no frame rate, others do."""

import numpy as np
import pytest
from PIL import Image

from clip_makers import moving_frames
from echoseg.io import load_clip


def animation(path, delays_ms):
    frames = [Image.fromarray(frame) for frame in moving_frames(6)]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=delays_ms, **options)
    return path


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
@pytest.mark.parametrize("delay_ms", [0, 100])
def test_delays_that_tools_write_by_default_are_no_rate(tmp_path, suffix, delay_ms):
    clip = load_clip(animation(tmp_path / f"c.{suffix}", delay_ms))
    assert clip.decision("frame_rate_hz").value is None
    assert "assumed_frame_rate" in {note.code for note in clip.warnings}
    assert load_clip(tmp_path / f"c.{suffix}", fps=40).frame_rate_hz == pytest.approx(40)


def test_the_reason_names_the_delay(tmp_path):
    (note,) = load_clip(animation(tmp_path / "c.gif", 100)).warnings
    assert "the delay 100 ms is the default of many tools" in note.message
    (note,) = load_clip(animation(tmp_path / "d.gif", 10)).warnings
    assert "the delay 10 ms is the shortest of the format" in note.message


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_delays_that_vary_are_the_times(tmp_path, suffix):
    delays_ms = [30, 40, 30, 50, 40, 2000]  # the last is how long the last frame stays
    clip = load_clip(animation(tmp_path / f"c.{suffix}", delays_ms))
    assert clip.times_s == pytest.approx(np.cumsum([0, *delays_ms[:-1]]) / 1000)
    even = load_clip(animation(tmp_path / f"e.{suffix}", 20))
    assert even.frame_rate_hz == pytest.approx(50)
