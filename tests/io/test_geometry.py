"""What a container says of the picture's shape is obeyed: upright, with square pixels."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from clip_makers import region, ultrasound
from echoseg.io import load_clip


def marked(num_frames=4, rows=64, columns=96):
    """A dark film with a bright corner at the top left, 16 rows by 24 columns, and motion."""
    frames = np.full((num_frames, rows, columns), 20, np.uint8)
    frames[:, :, :] += (np.arange(columns) // 4).astype(np.uint8)
    frames[:, :16, :24] = 220
    for index in range(num_frames):
        frames[index, 40 + index, 30:] = 120
    return frames


def corner(frame):
    """(first row, last row + 1, first column, last column + 1) of the bright corner."""
    rows, columns = (np.flatnonzero((frame > 160).any(axis)) for axis in (1, 0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def write_mp4(path, frames, aspect=None):
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], "yuv420p"
        if aspect:
            stream.sample_aspect_ratio = aspect
        for frame in frames:
            rgb = np.stack([frame] * 3, -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())


MATRICES = {
    "90": ((0, 1), (-1, 0)),
    "180": ((-1, 0), (0, -1)),
    "270": ((0, -1), (1, 0)),
    "mirrored": ((-1, 0), (0, 1)),
    "upside down": ((1, 0), (0, -1)),
}
CORNERS = {
    "90": (0, 24, 48, 64),
    "180": (48, 64, 72, 96),
    "270": (72, 96, 0, 16),
    "mirrored": (0, 16, 72, 96),
    "upside down": (48, 64, 0, 24),
}


@pytest.mark.parametrize("name", MATRICES)
def test_a_display_matrix_turns_the_picture(tmp_path, name):
    path = tmp_path / "c.mp4"
    write_mp4(path, marked())
    (a, b), (c, d) = MATRICES[name]
    content = bytearray(path.read_bytes())
    header = content.find(b"tkhd") + 4
    at = header + (52 if content[header] else 40)
    one = 1 << 16
    content[at : at + 36] = struct.pack(
        ">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30
    )
    path.write_bytes(content)
    clip = load_clip(path)
    assert np.abs(np.subtract(corner(clip.frames[0]), CORNERS[name])).max() <= 1


@pytest.mark.parametrize(
    ("aspect", "shape"), [((2, 1), (64, 192)), ((1, 2), (128, 96)), ((10, 11), (70, 96))]
)
def test_pixels_of_a_video_become_square(tmp_path, aspect, shape):
    write_mp4(tmp_path / "c.mp4", marked(), Fraction(*aspect))
    clip = load_clip(tmp_path / "c.mp4")
    assert clip.size == shape
    top, bottom, left, right = corner(clip.frames[0])
    assert (bottom - top) * 96 * shape[1] / 96 == pytest.approx(
        16 / 64 * shape[0] * shape[1], rel=0.1
    )
    assert right - left == pytest.approx(24 / 96 * shape[1], rel=0.1)
    assert "stretched_frames" in {note.code for note in clip.warnings}


def test_a_cover_picture_is_not_the_film(tmp_path):
    with av.open(str(tmp_path / "c.mkv"), "w") as container:
        cover, film = container.add_stream("ffv1", rate=1), container.add_stream("ffv1", rate=25)
        cover.height = cover.width = 32
        film.height, film.width = 64, 96
        for stream in (cover, film):
            stream.pix_fmt = "gray"
        still = av.VideoFrame.from_ndarray(np.zeros((32, 32), np.uint8), format="gray")
        container.mux(cover.encode(still))
        for frame in marked():
            container.mux(film.encode(av.VideoFrame.from_ndarray(frame, format="gray")))
        for stream in (cover, film):
            container.mux(stream.encode())
    assert np.array_equal(load_clip(tmp_path / "c.mkv").frames, marked())


def test_square_pixels_are_left_alone(tmp_path):
    write_mp4(tmp_path / "c.mp4", marked(), Fraction(1, 1))
    clip = load_clip(tmp_path / "c.mp4")
    assert clip.size == (64, 96)
    assert "stretched_frames" not in {note.code for note in clip.warnings}


def test_a_turned_photograph_is_turned_back(tmp_path):
    shade = np.random.default_rng(0).integers(0, 40, (64, 96), dtype=np.uint8)
    for index, frame in enumerate(marked() + shade // 2):
        picture = Image.fromarray(np.rot90(frame))
        exif = picture.getexif()
        exif[0x0112] = 6  # to be turned by 90 degrees clockwise
        picture.save(tmp_path / f"{index}.jpg", exif=exif, quality=95)
    assert np.abs(np.subtract(corner(load_clip(tmp_path).frames[0]), (0, 16, 0, 24))).max() <= 1


def write_dicom(path, **elements):
    ultrasound(marked(), FrameTime=40, **elements).save_as(path, enforce_file_format=True)


def test_dicom_pixels_become_square_and_their_scale_with_them(tmp_path):
    path = tmp_path / "c.dcm"
    part = region(RegionLocationMaxX1=95, RegionLocationMaxY1=63)
    part.PhysicalDeltaX, part.PhysicalDeltaY = 0.08, 0.04  # cm: twice as wide as high
    write_dicom(path, PixelAspectRatio=[1, 2], SequenceOfUltrasoundRegions=[part])
    clip = load_clip(path)
    assert clip.size == (64, 192)
    assert clip.spacing_mm == pytest.approx((0.4, 0.4))
    assert clip.sector_box == (0, 0, 64, 192)
    top, bottom, left, right = corner(clip.frames[0])
    assert (top, bottom, left) == (0, 16, 0)
    assert right == pytest.approx(48, abs=1)


def test_a_region_with_square_pixels_outweighs_the_aspect_ratio(tmp_path):
    path = tmp_path / "c.dcm"
    part = region(RegionLocationMaxX1=95, RegionLocationMaxY1=63)
    part.PhysicalDeltaX = part.PhysicalDeltaY = 0.04
    write_dicom(path, PixelAspectRatio=[1, 2], SequenceOfUltrasoundRegions=[part])
    clip = load_clip(path)
    assert clip.size == (64, 96)
    assert clip.spacing_mm == pytest.approx((0.4, 0.4))
    (note,) = (note for note in clip.warnings if note.code == "contradicted_pixel_aspect")
    assert "2" in note.message


def test_an_aspect_ratio_without_a_region_stretches(tmp_path):
    write_dicom(tmp_path / "c.dcm", PixelAspectRatio=[2, 1])
    clip = load_clip(tmp_path / "c.dcm")
    assert clip.size == (128, 96)
    assert "stretched_frames" in {note.code for note in clip.warnings}


@pytest.mark.parametrize("value", [[0, 1], [1, 0], [1, 100]])
def test_an_aspect_ratio_that_is_none_is_ignored(tmp_path, value):
    write_dicom(tmp_path / "c.dcm", PixelAspectRatio=value)
    assert load_clip(tmp_path / "c.dcm").size == (64, 96)
