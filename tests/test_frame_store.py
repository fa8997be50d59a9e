"""Frames come out as they went in, whether they are held in memory or in a file."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from echoseg import frame_store
from echoseg.errors import OutputError
from echoseg.frame_store import FrameStore, count_pixels, each, map_file, map_stream, release

FRAMES = np.random.default_rng(1).integers(0, 256, (9, 30, 40), np.uint8)


def stored(frames=FRAMES):
    with FrameStore() as store:
        for frame in frames:
            store.add(frame)
        return store.frames()


@pytest.mark.parametrize("max_bytes", [10**6, 5 * 30 * 40, 0])
def test_frames_come_back_wherever_they_are(monkeypatch, max_bytes):
    monkeypatch.setattr(frame_store, "MAX_HELD_BYTES", max_bytes)
    frames = stored()
    assert isinstance(frames, np.memmap) == (max_bytes < FRAMES.size)
    assert np.array_equal(frames, FRAMES)
    frames[3] = 7
    assert (frames[3] == 7).all()


def test_a_frame_is_copied_and_may_be_a_view_of_another():
    frame = FRAMES[0].copy()
    store = FrameStore()
    store.add(frame)
    store.add(frame[:, ::-1])
    frame[:] = 0
    assert np.array_equal(store.frames(), [FRAMES[0], FRAMES[0][:, ::-1]])


def test_a_mapped_file_keeps_what_was_written_when_its_pages_go(monkeypatch):
    monkeypatch.setattr(frame_store, "MAX_HELD_BYTES", 0)
    monkeypatch.setattr(frame_store, "EACH_BYTES", 3000)
    frames = stored()
    for frame in each(frames):
        np.subtract(255, frame, out=frame)
    release(frames)
    assert np.array_equal(np.stack(list(each(frames))), 255 - FRAMES)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="no madvise on this system")
def test_the_pages_of_a_mapped_file_are_let_go_of(monkeypatch):
    monkeypatch.setattr(frame_store, "MAX_HELD_BYTES", 0)
    frames = stored(np.ones((40, 1000, 1000), np.uint8))
    assert sum(int(frame.sum()) for frame in each(frames)) == frames.size
    with Path("/proc/self/smaps_rollup").open() as text:
        before = int(next(line for line in text if line.startswith("Rss")).split()[1])
    assert int(frames.sum()) == frames.size
    with Path("/proc/self/smaps_rollup").open() as text:
        after = int(next(line for line in text if line.startswith("Rss")).split()[1])
    assert after - before > 30_000  # kB that were not there after `each`


def test_a_full_disk_is_told_with_a_way_out(monkeypatch):
    class Full:
        def close(self):
            pass

        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(frame_store, "MAX_HELD_BYTES", 0)
    monkeypatch.setattr(frame_store.tempfile, "TemporaryFile", Full)
    with pytest.raises(OutputError, match=r"cannot hold .* \(No space left on device\); .*TMPDIR"):
        stored()


def test_files_and_streams_are_mapped_when_they_are_large(monkeypatch, tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(FRAMES.tobytes())
    for limit, is_mapped in ((10**6, False), (1000, True)):
        monkeypatch.setattr(frame_store, "EACH_BYTES", limit)
        blocks = (frame.tobytes() for frame in FRAMES)
        for values in (map_file(path), map_stream(blocks)):
            assert isinstance(values, np.memmap) == is_mapped
            assert np.array_equal(values, FRAMES.ravel())


def test_pixels_are_counted_per_frame():
    assert np.array_equal(count_pixels(FRAMES, 7), (FRAMES == 7).sum((1, 2)))
