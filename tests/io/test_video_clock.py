"""A video's time stamps against the rate of its stream, of its codec, and its duration."""

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from clip_makers import moving_frames, write_container
from echoseg.errors import DamagedError, FormatError
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


def test_frames_that_a_phone_trimmed_are_not_damaged(tmp_path):
    with av.open(str(write(tmp_path / "a.mp4", H264))) as whole:
        with av.open(str(tmp_path / "b.mp4"), "w") as trimmed:
            stream = whole.streams.video[0]
            copy = trimmed.add_stream_from_template(stream)
            for packet in whole.demux(stream):
                if packet.dts is not None:
                    shift = int(10 / (30 * packet.time_base))
                    packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                    packet.stream = copy
                    trimmed.mux(packet)
    clip = load_clip(tmp_path / "b.mp4")
    assert np.array_equal(clip.frames, load_clip(tmp_path / "a.mp4").frames[10:])
    assert clip.frame_rate_hz == pytest.approx(30, rel=0.01)


def test_an_attached_picture_is_not_the_clip(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        cover = container.add_stream("mjpeg", rate=30)
        stream.height, stream.width, stream.pix_fmt = *FRAMES.shape[1:], "yuv420p"
        cover.height, cover.width, cover.pix_fmt = 600, 600, "yuvj420p"
        cover.disposition = Disposition.attached_pic.value
        for frame in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        black = np.zeros((600, 600), np.uint8)
        container.mux(cover.encode(av.VideoFrame.from_ndarray(black, format="gray")))
        container.mux([*stream.encode(), *cover.encode()])
    assert load_clip(tmp_path / "a.mp4").frames.shape == FRAMES.shape


def test_a_gif_and_a_matroska_that_are_cut_off_are_told(tmp_path):
    Image.fromarray(FRAMES[0]).save(
        tmp_path / "a.gif", save_all=True, append_images=map(Image.fromarray, FRAMES[1:]),
        duration=40,
    )  # fmt: skip
    content = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(content + bytes(20))
    assert load_clip(tmp_path / "a.gif").num_frames == 30
    (tmp_path / "a.gif").write_bytes(content[: len(content) // 2])
    with pytest.raises(DamagedError, match="frames cannot be read"):
        load_clip(tmp_path / "a.gif")
    assert load_clip(tmp_path / "a.gif", allow_damaged=True).num_frames < 20
    path = tmp_path / "a.mkv"
    write_container(path, FRAMES, "mjpeg", "matroska", pixels="yuvj420p")
    assert load_clip(path).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    said = " ".join(one.message for one in load_clip(path, allow_damaged=True).warnings)
    assert "number of frames by the duration" in said


def test_an_mp4_that_ends_before_its_index_is_named_as_cut(tmp_path):
    path = write(tmp_path / "a.mp4", H264)
    content = path.read_bytes()
    assert content.index(b"moov") > content.index(b"mdat")
    for end in (content.index(b"moov") - 4, content.index(b"mdat") + 200):
        path.write_bytes(content[:end])
        with pytest.raises(FormatError, match="ends before its index"):
            load_clip(path)
    path.write_bytes(content[: content.index(b"mdat")] + b"x" * len(content))
    with pytest.raises(FormatError, match="not a readable video"):
        load_clip(path)
