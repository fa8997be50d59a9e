"""Decoded pictures: what they cost, and how far their channels differ."""

from pathlib import Path

import numpy as np
import pytest

from echoseg.io.colour import channel_spread
from echoseg.io.video import pictures, write_mjpeg

TASKS = Path("/proc/self/task")


@pytest.mark.skipif(not TASKS.exists(), reason="threads are counted in /proc, which is Linux's")
def test_converting_pictures_starts_no_threads(tmp_path):
    """PyAV's default starts one per core for each frame: 20 times as long on a busy machine."""
    path = tmp_path / "clip.avi"
    write_mjpeg(path, np.random.default_rng(0).integers(0, 255, (12, 64, 64), np.uint8), 30.0)
    held, before = [], len(list(TASKS.iterdir()))
    for picture in pictures(path):
        picture.pixels()
        held.append(picture)
    assert len(held) == 12 and len(list(TASKS.iterdir())) <= before


def test_the_spread_of_channels_is_that_of_their_extremes():
    frame = np.random.default_rng(1).integers(0, 256, (7, 9, 3), np.uint8)
    assert np.array_equal(channel_spread(frame), np.ptp(frame, axis=-1))
