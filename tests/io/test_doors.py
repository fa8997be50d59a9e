"""Files that labs have beside AVI and DICOM: every kind gives the frames that were written."""

import base64

import numpy as np
import pytest
import tifffile
from PIL import Image

from clip_makers import moving_frames, ultrasound, write_container
from echoseg.errors import FormatError
from echoseg.io import find_format, load_clip
from echoseg.io.containers import sniff_video

FRAMES = moving_frames(8, rows=96, columns=128)
CONTAINERS = {
    "wmv": ("wmv2", "asf"),
    "mpg": ("mpeg1video", "mpeg"),
    "vob": ("mpeg2video", "vob"),
    "m2v": ("mpeg2video", "mpeg2video"),
    "ts": ("libx264", "mpegts"),
    "m2ts": ("libx264", "mpegts"),
    "flv": ("flv1", "flv"),
    "h264": ("libx264", "h264"),
    "hevc": ("libx265", "hevc"),
    "m4v": ("mpeg4", "m4v"),
    "mxf": ("mpeg2video", "mxf"),
    "ivf": ("libvpx-vp9", "ivf"),
    "y4m": ("rawvideo", "yuv4mpegpipe"),
    "nut": ("ffv1", "nut"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_each_container_is_known_by_its_bytes_and_read(tmp_path, kind):
    codec, container_format = CONTAINERS[kind]
    write_container(tmp_path / f"clip.{kind}", FRAMES, codec, container_format)
    path = (tmp_path / f"clip.{kind}").rename(tmp_path / "nameless")
    assert find_format(path) == "video"
    clip = load_clip(path)
    assert clip.frames.shape == FRAMES.shape
    assert abs(clip.frames.astype(int) - FRAMES).mean() < 8
    assert not {"assumed_frame_rate", "no_times"} & {note.code for note in clip.warnings}
    assert clip.frame_rate_hz == pytest.approx(25, rel=0.01)


@pytest.mark.parametrize(
    ("codec", "kind", "rate_hz"),
    [("libx264", "h264", 50), ("libx265", "hevc", 50), ("libx264", "h264", 25)],
)
def test_the_rate_of_a_raw_stream_is_the_one_it_states(tmp_path, codec, kind, rate_hz):
    write_container(tmp_path / "clip", FRAMES, codec, kind, rate_hz=rate_hz)
    clip = load_clip(tmp_path / "clip")
    assert clip.frame_rate_hz == pytest.approx(rate_hz)
    assert clip.decision("frame_rate_hz").statements[0].origin == "rate of the video stream"


def test_a_raw_stream_without_a_rate_has_none(tmp_path):
    quiet = {"x265-params": "log-level=none:vui-timing-info=0"}
    write_container(tmp_path / "clip", FRAMES, "libx265", "hevc", rate_hz=50, options=quiet)
    clip = load_clip(tmp_path / "clip")
    assert clip.decision("frame_rate_hz").choice is None
    assert "assumed_frame_rate" in {note.code for note in clip.warnings}


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\x01\0\x01\0\x10\x10" + bytes(80),  # an icon
        b"\0\0\x01\x5c" + bytes(344),  # NIfTI, big endian
        b"GGGG" + bytes(400),
        b"MZ\x90\0" + bytes(400),
        b"%PDF-1.7" + bytes(400),
        b"\x1f\x8b\x08\0" + bytes(400),
    ],
)
def test_other_files_are_no_videos(content):
    assert not sniff_video(content)


@pytest.mark.parametrize("kind", ["tif", "png", "webp", "imagej"])
def test_files_of_several_pictures(tmp_path, kind):
    path = tmp_path / f"clip.{kind}"
    if kind == "imagej":  # one page is described, all are there
        tifffile.imwrite(path, FRAMES, imagej=True)
    else:
        first, *rest = map(Image.fromarray, FRAMES)
        options = {} if kind == "tif" else {"duration": 40}
        options |= {"lossless": True} if kind == "webp" else {}
        first.save(path, save_all=True, append_images=rest, **options)
    clip = load_clip(path)
    assert clip.format_name == "images"
    assert np.array_equal(clip.frames, FRAMES)
    assert clip.spacing_mm is None
    stated = "assumed_frame_rate" not in {note.code for note in clip.warnings}
    assert stated == (kind in ("png", "webp"))
    assert not stated or clip.frame_rate_hz == pytest.approx(25)


def test_grey_levels_of_16_bits_come_from_tiff(tmp_path):
    path = tmp_path / "clip.tif"
    first, *rest = (Image.fromarray(frame.astype(np.uint16) * 257) for frame in FRAMES)
    first.save(path, save_all=True, append_images=rest)
    assert np.array_equal(load_clip(path).frames, FRAMES)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_folders_of_pictures(tmp_path, suffix):
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {})
    for index, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(tmp_path / f"frame{index + 5}.{suffix}", **options)
    clip = load_clip(tmp_path)
    assert abs(clip.frames.astype(int) - FRAMES).max() <= (2 if suffix == "jpg" else 0)


def test_one_picture_is_refused_by_name(tmp_path):
    Image.fromarray(FRAMES[0]).save(tmp_path / "frame.jpg")
    with pytest.raises(FormatError, match=r"one picture.*Give its folder"):
        load_clip(tmp_path / "frame.jpg")


def test_numpy_arrays_in_every_order_of_axes(tmp_path):
    colour = np.stack([FRAMES] * 3, -1)
    for name, array in {
        "grey": FRAMES,
        "one_channel": FRAMES[..., None],
        "rgb": colour,
        "channels_first": colour.transpose(0, 3, 1, 2),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        clip = load_clip(tmp_path / f"{name}.npy", spacing_mm=(0.3, 0.4), fps=50)
        assert np.array_equal(clip.frames, FRAMES), name
        assert clip.spacing_mm == (0.3, 0.4)
        assert clip.frame_rate_hz == pytest.approx(50)


def test_npz_holds_one_clip_or_names_it(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", FRAMES, ef=np.array(61.0))
    np.savez(tmp_path / "b.npz", frames=FRAMES, masks=np.zeros_like(FRAMES))
    for name in "ab":
        assert np.array_equal(load_clip(tmp_path / f"{name}.npz").frames, FRAMES)
    np.savez(tmp_path / "c.npz", left=FRAMES, right=FRAMES)
    with pytest.raises(FormatError, match=r"holds \(8, 96, 128\), \(8"):
        load_clip(tmp_path / "c.npz")


def test_pickled_objects_are_not_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(FormatError, match="not a readable NumPy file"):
        load_clip(tmp_path / "a.npy")


HTJ2K = (
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB/1wA"
    "EyBIUFBQUFBQUFBQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAN0AAf+TwCX6AEd0AADAEsASwBMA"
    "7QCHdAD5AId0ACb+Agd0AMATwBPAE4D+3XgAQLQAvP6CACGUAHpH4gAGtADAFowBWQBVAIgaUVYY/EooDjlWKlDSQzYAEmAe"
    "2TI8MnOPaNYACGmh8QJ5Lox2AMAupgF0MAtMCBi7vxTKCFIHLvY/kRDkrlz+aAsG1fdjOOhnAEeJw+NlrRgEs1YHMgGQQPUA"
    "yg8IDAzNAElDI/lgCRUmQWPpct/Piu7Ox+MBsgEAohkY/gEzq6r51tjWX0Dxl74A/9k="
)
"""The 16 x 16 frame of the next test, compressed without loss by OpenJPH 0.26."""


def test_high_throughput_jpeg_2000(tmp_path):
    from pydicom.encaps import encapsulate
    from pydicom.uid import HTJ2KLossless

    y, x = np.mgrid[:16, :16]
    frame = (120 + 90 * np.sin(x / 3 + 1) * np.cos(y / 4)).astype(np.uint8)
    dataset = ultrasound(np.stack([frame] * 3), FrameTime=40)
    dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
    dataset.PixelData = encapsulate([base64.b64decode(HTJ2K)] * 3)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    assert np.array_equal(load_clip(tmp_path / "c.dcm").frames, np.stack([frame] * 3))
