"""A video's time stamps against the rate of its stream, of its codec, and its duration."""

import av
import numpy as np
import pytest

from clip_makers import moving_frames, write_container
from echoseg.io import load_clip
from echoseg.io.video import ContainerStatement, rate_statements

FRAMES = moving_frames(30, rows=64, columns=96)
H264, MPEG4, VP8 = ("libx264", "yuv420p"), ("mpeg4", "yuv420p"), ("libvpx", "yuv420p")


def write(path, codec, *, slowed=1, stamps=None):
    """A video at 30 fps whose packets are then stamped `slowed` times as far apart."""
    name, pixels = codec
    with av.open(str(path), "w") as container:
        stream = container.add_stream(name, rate=30)
        stream.height, stream.width, stream.pix_fmt = *FRAMES.shape[1:], pixels
        for index, frame in enumerate([*FRAMES, None]):
            picture = None
            if frame is not None:
                picture = av.VideoFrame.from_ndarray(frame, format="gray").reformat(format=pixels)
                picture.pts = index if stamps is None else stamps[index]
            for packet in stream.encode(picture):
                packet.pts, packet.dts = packet.pts * slowed, packet.dts * slowed
                packet.duration = (packet.duration or 1) * slowed
                container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", H264), ("b.mp4", MPEG4), ("a.mkv", H264), ("a.webm", VP8), ("a.ts", H264),
     ("a.flv", H264)],
)  # fmt: skip
def test_a_rate_that_the_stamps_contradict_is_told_with_both_values(tmp_path, name, codec):
    clip = load_clip(write(tmp_path / name, codec, slowed=2))
    assert clip.frame_rate_hz == pytest.approx(15, rel=0.02)
    (note,) = [one for one in clip.warnings if one.code == "contradicted_frame_rate"]
    assert "time stamps 1" in note.message and "30 fps is not" in note.message
    rate = clip.decision("frame_rate_hz")
    assert [one.value for one in rate.contradictions] == [pytest.approx(30)]
    known = load_clip(tmp_path / name, fps=30)
    assert known.frame_rate_hz == pytest.approx(30)
    assert "contradicted_frame_rate" not in {one.code for one in known.warnings}


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", H264), ("a.mkv", VP8), ("a.avi", MPEG4)])
def test_rates_that_agree_are_not_told(tmp_path, name, codec):
    clip = load_clip(write(tmp_path / name, codec))
    assert clip.frame_rate_hz == pytest.approx(30, rel=0.02)
    assert "contradicted_frame_rate" not in {one.code for one in clip.warnings}


def test_uneven_frames_of_the_stated_mean_rate_do_not_contradict_it(tmp_path):
    stamps = np.cumsum(np.resize([1, 1, 1, 2], 30)).tolist()
    clip = load_clip(write(tmp_path / "a.mp4", MPEG4, stamps=stamps))
    origins = {one.origin for one in clip.decision("frame_rate_hz").contradictions}
    assert "rate of the video stream" not in origins


def test_a_duration_that_the_stamps_contradict_is_a_statement():
    times_s = np.arange(30) / 30
    for duration_s, is_told in ((1.0, False), (29 / 30, False), (1.08, False), (2.0, True)):
        stated = ContainerStatement(30, rate_hz=30.0, duration_s=duration_s)
        found = {one.origin: one.value for one in rate_statements(stated, times_s, 30)}
        assert ("number of frames by the duration" in found) == is_told
        if is_told:
            assert found["number of frames by the duration"] == pytest.approx(15)


def test_implausible_stamps_give_way_to_the_rate_of_the_stream(tmp_path):
    stated = ContainerStatement(30, rate_hz=25.0)
    statements = rate_statements(stated, np.arange(30) / 90_000, 30)
    assert [one.value for one in statements] == [pytest.approx(90_000), 25.0]


@pytest.mark.parametrize("rate_hz", [1, 1000])
def test_the_rate_of_a_stream_does_not_support_the_stamps_made_of_it(tmp_path, rate_hz):
    write_container(tmp_path / "a.avi", FRAMES, "mjpeg", "avi", rate_hz=rate_hz, pixels="yuvj420p")
    clip = load_clip(tmp_path / "a.avi")
    (note,) = [one for one in clip.warnings if one.code == "assumed_frame_rate"]
    assert f"implausible frame rate of {rate_hz} fps" in note.message
    assert load_clip(tmp_path / "a.avi", fps=rate_hz).frame_rate_hz == pytest.approx(rate_hz)


def test_grey_video_of_12_bits_in_16_is_not_black(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = *FRAMES.shape[1:], "gray16le"
        for frame in FRAMES:
            deep = frame.astype(np.uint16) * 16
            container.mux(stream.encode(av.VideoFrame.from_ndarray(deep, format="gray16le")))
        container.mux(stream.encode())
    clip = load_clip(tmp_path / "a.mkv")
    assert "rescaled_grey" in {one.code for one in clip.warnings}
    assert clip.frames.mean() > 100 and clip.times_s is not None
    assert clip.frame_rate_hz == pytest.approx(25, rel=0.01)
