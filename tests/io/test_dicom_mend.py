"""DICOM objects whose header is wrong about the pixels: read, or refused with the true cause."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, encapsulate_extended

from clip_makers import moving_frames, ultrasound, write_container
from echoseg.errors import FormatError
from echoseg.io import load_clip

FRAMES = moving_frames(6)


def codes(clip):
    return {note.code for note in clip.warnings}


def jpeg(frame):
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=100)
    return file.getvalue()


def encapsulated(path, pixels, syntax=uid.JPEGBaseline8Bit, **elements):
    dataset = ultrasound(FRAMES, FrameTime=40, **elements)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pixels
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path, enforce_file_format=True)
    return path


def assert_read(path):
    clip = load_clip(path)
    assert clip.frames.shape == FRAMES.shape
    assert abs(clip.frames.astype(int) - FRAMES).max() <= 2
    return clip


def with_table(offsets, fragments_per_frame=1):
    plain = encapsulate([jpeg(f) for f in FRAMES], fragments_per_frame, has_bot=False)
    table = np.array(offsets, "<u4").tobytes()
    return plain[:4] + struct.pack("<I", len(table)) + table + plain[8:]


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("offsets", [[0] * 6, [0, 10, 20, 30, 40, 50], [0, 10], [8] * 6])
def test_a_wrong_table_of_offsets_is_set_aside(tmp_path, offsets, fragments):
    path = encapsulated(tmp_path / "c.dcm", with_table(offsets, fragments))
    assert "offset_table_ignored" in codes(assert_read(path))


def test_a_table_of_every_second_fragment_is_wrong(tmp_path):
    """Its offsets are of fragments, but of those in the middle of frames."""
    right = with_table([], 2)
    starts, place = [], 8
    while place < len(right):
        starts.append(place - 8)
        place += 8 + struct.unpack("<I", right[place + 4 : place + 8])[0]
    path = encapsulated(tmp_path / "c.dcm", with_table([0, *starts[1:11:2]], 2))
    assert "offset_table_ignored" in codes(assert_read(path))


def test_right_tables_are_used(tmp_path):
    pixels = encapsulate([jpeg(f) for f in FRAMES], fragments_per_frame=2, has_bot=True)
    assert "offset_table_ignored" not in codes(assert_read(encapsulated(tmp_path / "a", pixels)))
    pixels, offsets, lengths = encapsulate_extended([jpeg(f) for f in FRAMES])
    path = encapsulated(
        tmp_path / "b", pixels, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths
    )
    assert "offset_table_ignored" not in codes(assert_read(path))


def test_a_wrong_extended_table_is_set_aside(tmp_path):
    pixels, _, lengths = encapsulate_extended([jpeg(f) for f in FRAMES])
    wrong = bytes(8 * len(FRAMES))
    path = encapsulated(
        tmp_path / "c", pixels, ExtendedOffsetTable=wrong, ExtendedOffsetTableLengths=lengths
    )
    assert "offset_table_ignored" in codes(assert_read(path))


def test_fragments_without_a_table_at_all(tmp_path):
    pixels = encapsulate([jpeg(f) for f in FRAMES], has_bot=False)[8:]
    assert_read(encapsulated(tmp_path / "c.dcm", pixels))


def without_meta(path, encoded, *, explicit):
    """Write from the first element of group 0008 on, as old exports do."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = not explicit, True
    write_dataset(buffer, encoded)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("first", ["SpecificCharacterSet", "ImageType", "SOPClassUID"])
def test_without_a_meta_header(tmp_path, explicit, first):
    dataset = ultrasound(FRAMES, FrameTime=40)
    if first == "SpecificCharacterSet":
        dataset.SpecificCharacterSet = "ISO_IR 100"
    if first == "ImageType":
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    del dataset.file_meta
    clip = load_clip(without_meta(tmp_path / "c.dcm", dataset, explicit=explicit))
    assert np.array_equal(clip.frames, FRAMES)
    assert "assumed_syntax" in codes(clip)
    assert clip.frame_rate_hz == pytest.approx(25)


@pytest.mark.parametrize("kind", ["jpeg", "j2k", "rle"])
def test_compressed_frames_without_a_meta_header(tmp_path, kind):
    dataset = ultrasound(FRAMES, FrameTime=40)
    if kind == "jpeg":
        dataset.PixelData = encapsulate([jpeg(f) for f in FRAMES])
        dataset["PixelData"].is_undefined_length = True
    else:
        dataset.compress(uid.RLELossless if kind == "rle" else uid.JPEG2000Lossless)
    dataset["PixelData"].VR = "OB"
    del dataset.file_meta
    assert "assumed_syntax" in codes(
        assert_read(without_meta(tmp_path / "c", dataset, explicit=True))
    )


def colour(path, channels, said, **elements):
    dataset = ultrasound(FRAMES, FrameTime=40, **elements)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, said
    dataset.PlanarConfiguration = 0
    dataset.PixelData = channels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def sampled_422(luma):
    """(Y, Y, Cb, Cr) of neutral chroma."""
    grey = np.full((*luma.shape[:2], luma.shape[2] // 2, 4), 128, np.uint8)
    grey[..., 0], grey[..., 1] = luma[..., ::2], luma[..., 1::2]
    return grey


def test_uncompressed_partial_422_is_read(tmp_path):
    partial = np.rint(16 + FRAMES.astype(float) * 219 / 255).astype(np.uint8)
    assert_read(colour(tmp_path / "c.dcm", sampled_422(partial), "YBR_PARTIAL_422"))
    assert_read(colour(tmp_path / "d.dcm", sampled_422(FRAMES), "YBR_FULL_422"))


def test_frames_said_to_be_sampled_that_are_whole(tmp_path):
    whole = np.stack([FRAMES, np.full_like(FRAMES, 128), np.full_like(FRAMES, 128)], -1)
    assert_read(colour(tmp_path / "c.dcm", whole, "YBR_FULL_422"))


def test_a_wrong_colour_space_is_seen_in_the_channels(tmp_path):
    neutral = np.full_like(FRAMES, 128)
    said_rgb = colour(tmp_path / "a.dcm", np.stack([FRAMES, neutral, neutral], -1), "RGB")
    said_ybr = colour(tmp_path / "b.dcm", np.stack([FRAMES] * 3, -1), "YBR_FULL")
    for path in (said_rgb, said_ybr):
        assert codes(assert_read(path)) >= {"wrong_colour_space"}
    right = colour(tmp_path / "c.dcm", np.stack([FRAMES] * 3, -1), "RGB")
    assert "wrong_colour_space" not in codes(assert_read(right))


@pytest.mark.parametrize("planes", [0, 1])
def test_a_missing_planar_configuration_is_seen_in_the_pixels(tmp_path, planes):
    rng = np.random.default_rng(3)
    tint = (FRAMES[..., None] * [1.0, 0.8, 0.6]).astype(np.uint8)
    tint[2:] = FRAMES[2:, ..., None]  # grey in part
    tint[:, :4, :4] = rng.integers(0, 255, (len(FRAMES), 4, 4, 3))
    stored = tint.transpose(0, 3, 1, 2) if planes else tint
    dataset = ultrasound(FRAMES, FrameTime=40, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    dataset.PixelData = np.ascontiguousarray(stored).tobytes()
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    luma = np.rint(tint.astype(np.float32) @ np.float32([0.299, 0.587, 0.114]))
    assert abs(load_clip(tmp_path / "c.dcm").frames - luma).max() <= 1


@pytest.mark.parametrize(("shift", "nominal"), [(0, 16), (4, 16), (8, 16), (0, 8)])
def test_palettes_of_8_12_and_16_bits(tmp_path, shift, nominal):
    dataset = ultrasound(FRAMES, FrameTime=40, PhotometricInterpretation="PALETTE COLOR")
    table = (255 - np.arange(255)).astype(np.uint16)  # an odd number of entries
    entries = (table << shift).astype("<u2" if nominal == 16 else np.uint8).tobytes()
    for name in ("Red", "Green", "Blue"):
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [255, 0, nominal])
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries + bytes(len(entries) % 2))
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    expected = table[np.minimum(FRAMES, 254)]
    assert np.array_equal(load_clip(tmp_path / "c.dcm").frames, expected)


def test_seven_bits_in_eight_fill_the_scale(tmp_path):
    dataset = ultrasound(FRAMES // 2, FrameTime=40, BitsStored=7, HighBit=6)
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    assert_read(tmp_path / "c.dcm")


@pytest.mark.parametrize("modality", ["SC", "XC", "ES", "OT", "GM"])
def test_other_labels_of_ultrasound_are_read_with_a_warning(tmp_path, modality):
    ultrasound(FRAMES, FrameTime=40, Modality=modality).save_as(
        tmp_path / "c", enforce_file_format=True
    )
    assert "not_marked_ultrasound" in codes(assert_read(tmp_path / "c"))


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("modality", ["us", " US", "IVUS", ""])
def test_ultrasound_is_recognized_however_it_is_written(tmp_path, modality):
    ultrasound(FRAMES, FrameTime=40, Modality=modality).save_as(
        tmp_path / "c", enforce_file_format=True
    )
    assert "not_marked_ultrasound" not in codes(assert_read(tmp_path / "c"))


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
def test_another_acquisition_is_refused_with_a_way_out(tmp_path):
    ultrasound(FRAMES, Modality="ct").save_as(tmp_path / "c", enforce_file_format=True)
    with pytest.raises(FormatError, match=r"must be US .*, got CT; .* correct Modality"):
        load_clip(tmp_path / "c")


@pytest.mark.parametrize(
    ("syntax", "codec", "container"),
    [
        ("1.2.840.10008.1.2.4.100", "mpeg2video", "mpeg2video"),
        ("1.2.840.10008.1.2.4.100.1", "mpeg2video", "mpeg2video"),
        ("1.2.840.10008.1.2.4.102", "libx264", "h264"),
        ("1.2.840.10008.1.2.4.102.1", "libx264", "mp4"),
        ("1.2.840.10008.1.2.4.106.1", "libx264", "h264"),
        ("1.2.840.10008.1.2.4.107", "libx265", "hevc"),
        ("1.2.840.10008.1.2.4.108", "libx265", "hevc"),
    ],
)
def test_video_inside_dicom_in_one_fragment_or_several(tmp_path, syntax, codec, container):
    frames = moving_frames(8, rows=96, columns=128)
    write_container(tmp_path / "v", frames, codec, container)
    dataset = ultrasound(frames, FrameTime=40)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "YBR_PARTIAL_420"
    dataset.PlanarConfiguration, dataset.file_meta.TransferSyntaxUID = 0, uid.UID(syntax)
    content = (tmp_path / "v").read_bytes()
    parts = 3 if syntax.endswith(".1") else 1
    dataset.PixelData = encapsulate([content], fragments_per_frame=parts, has_bot=False)
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "c.dcm", enforce_file_format=True)
    assert abs(load_clip(tmp_path / "c.dcm").frames.astype(int) - frames).mean() < 8


def colours(path, pixels, **elements):
    dataset = ultrasound(FRAMES, SamplesPerPixel=3, FrameTime=40, **elements)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return load_clip(path)


def test_planes_that_are_stated_wrong_are_seen_in_grey_pixels(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, FRAMES.shape, np.uint8)
    mixed, planes = np.stack([frames] * 3, 3), np.stack([frames] * 3, 1)
    for stated, pixels in ((0, planes), (1, mixed)):
        known = {"PhotometricInterpretation": "RGB", "PlanarConfiguration": stated}
        clip = colours(tmp_path / "wrong.dcm", pixels, **known)
        assert np.array_equal(clip.frames, frames) and codes(clip) == {"wrong_planes"}
        known["PlanarConfiguration"] = 1 - stated
        clip = colours(tmp_path / "right.dcm", pixels, **known)
        assert np.array_equal(clip.frames, frames) and codes(clip) == set()


@pytest.mark.parametrize("space", ["YBR_FULL", "RGB"])
def test_planes_of_ycbcr_are_not_taken_for_grey_pixels(tmp_path, space):
    neutral = np.full_like(FRAMES, 128)
    planes = np.stack([FRAMES, neutral, neutral], 1)
    known = {"PhotometricInterpretation": space, "PlanarConfiguration": 1}
    clip = colours(tmp_path / "a.dcm", planes, **known)
    assert np.array_equal(clip.frames, FRAMES) and "wrong_planes" not in codes(clip)


@pytest.mark.parametrize(
    "names",
    [["PhotometricInterpretation"], ["SamplesPerPixel"], ["BitsStored", "HighBit"],
     ["PixelRepresentation"]],
)  # fmt: skip
def test_elements_of_the_pixels_that_are_missing_are_assumed_and_told(tmp_path, names):
    dataset = ultrasound(FRAMES, FrameTime=40)
    for name in names:
        delattr(dataset, name)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "a.dcm")
    assert np.array_equal(clip.frames, FRAMES)
    (note,) = clip.warnings
    assert note.code == "assumed_pixels" and all(name in note.message for name in names)


def test_a_photometric_interpretation_in_small_letters_is_read(tmp_path):
    ultrasound(FRAMES, FrameTime=40).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content.replace(b"MONOCHROME2", b"monochrome2"))
    clip = load_clip(tmp_path / "a.dcm")
    assert np.array_equal(clip.frames, FRAMES) and clip.warnings == ()
