"""Bad input, one clear sentence each."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit

from clip_makers import moving_frames, region, ultrasound, write_image_folder, write_video
from echoseg.errors import DamagedError, EchosegError, FormatError
from echoseg.io import FORMATS, find_format, load_clip


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.avi", b"", "the file is empty"),
        ("text.avi", b"this is no video, only words\n" * 40, "not of a supported format"),
        ("cut.dcm", bytes(128) + b"DICM" + bytes(40), "DICOM"),
        ("head.avi", b"RIFF\x10\0\0\0AVI " + bytes(50), "video"),
        ("cut.nii.gz", b"\x1f\x8b\x08\0\0\0", "packed file"),
    ],
)
def test_a_broken_file_is_refused_by_name_and_reason(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=words) as caught:
        load_clip(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_path_and_an_empty_folder_are_refused(tmp_path):
    with pytest.raises(FormatError, match="no such file or folder"):
        load_clip(tmp_path / "none.dcm")
    with pytest.raises(FormatError, match="holds no frames"):
        load_clip(tmp_path)


def test_a_format_of_ones_own_that_cannot_detect_is_named(tmp_path, monkeypatch):
    def sniff(head, path):
        return head[0] == path.sufix

    own = dataclasses.replace(FORMATS["video"], sniff=sniff)
    monkeypatch.setattr("echoseg.io.formats.FORMATS", {"loop": own, **FORMATS})
    (tmp_path / "clip.loop").write_bytes(b"LOOP 40")
    for door in (find_format, load_clip):
        with pytest.raises(FormatError, match=r"'loop' cannot tell .* \(AttributeError\); .*mend"):
            door(tmp_path / "clip.loop")


@pytest.mark.parametrize("size", [0, 16, 200, 400])
def test_random_bytes_never_raise_anything_else(tmp_path, size):
    rng = np.random.default_rng(size)
    heads = (b"", b"RIFF1234AVI ", b"\0\0\0\x18ftypisom", bytes(128) + b"DICM", b"GIF89a")
    for index, head in enumerate((*heads, b"\x5c\x01\0\0", b"DimSize = 1\nElementType = x\n")):
        path = tmp_path / f"{index}"
        path.write_bytes(head + rng.bytes(size))
        with pytest.raises(EchosegError):
            load_clip(path)


def test_a_ct_and_an_object_without_pixels_are_refused(tmp_path):
    dataset = ultrasound(moving_frames(), Modality="CT")
    dataset.save_as(tmp_path / "ct.dcm", enforce_file_format=True)
    with pytest.raises(FormatError, match=r"Modality must be US.*CT"):
        load_clip(tmp_path / "ct.dcm")
    dataset = ultrasound(moving_frames())
    del dataset.PixelData
    dataset.save_as(tmp_path / "bare.dcm", enforce_file_format=True)
    with pytest.raises(FormatError, match="has no pixels"):
        load_clip(tmp_path / "bare.dcm")


def test_a_folder_of_one_file_is_that_file_and_of_several_names_them(tmp_path):
    dataset = ultrasound(moving_frames(), FrameTime=40)
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    assert load_clip(tmp_path).num_frames == 6
    assert load_clip(tmp_path).source.endswith("one.dcm")
    dataset.save_as(tmp_path / "two.dcm", enforce_file_format=True)
    with pytest.raises(FormatError, match=r"holds one\.dcm, two\.dcm and no frames of one clip"):
        load_clip(tmp_path)
    (tmp_path / "two.dcm").unlink()
    del dataset.PixelData
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    with pytest.raises(FormatError, match=r"one\.dcm: the DICOM object has no pixels"):
        load_clip(tmp_path)


def test_a_size_that_changes_midway_names_the_frame(tmp_path):
    write_image_folder(tmp_path / "f", moving_frames())
    Image.fromarray(np.zeros((50, 64), np.uint8)).save(tmp_path / "f" / "frame10.png")
    with pytest.raises(FormatError, match=r"frame 3 has 50 x 64 pixels, frame 0 has 48 x 64"):
        load_clip(tmp_path / "f")


def test_a_truncated_png_is_told_by_number_and_left_out_only_if_allowed(tmp_path):
    write_image_folder(tmp_path / "f", moving_frames())
    path = tmp_path / "f" / "frame9.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DamagedError, match=r"1 of 6 frames.*frame 2.*--allow-damaged") as caught:
        load_clip(tmp_path / "f")
    assert caught.value.damaged_frames == (2,)
    clip = load_clip(tmp_path / "f", allow_damaged=True)
    assert clip.num_frames == 5
    assert clip.damaged_frames == (2,)
    assert "damaged_frames" in {warning.code for warning in clip.warnings}


def test_a_truncated_avi_is_refused_and_its_readable_part_allowed(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "cut.avi"
    write_video(path, rng.integers(0, 255, (20, 48, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(DamagedError, match=r"of 20 frames cannot be read.*--allow-damaged"):
        load_clip(path)
    clip = load_clip(path, allow_damaged=True)
    assert 8 <= clip.num_frames < 20
    assert clip.num_frames + len(clip.damaged_frames) == 20


def test_a_broken_jpeg_in_the_middle_is_told_and_the_rest_keeps_its_times(tmp_path):
    import pydicom
    from pydicom import examples

    dataset = pydicom.dcmread(examples.get_path("ybr_color"))
    assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    parts = list(generate_frames(dataset.PixelData, number_of_frames=30))
    parts[7] = b"\xff\xd8" + bytes(60)
    dataset.PixelData = encapsulate(parts)
    dataset.save_as(tmp_path / "broken.dcm")
    with pytest.raises(DamagedError, match=r"1 of 30 frames.*frame 7"):
        load_clip(tmp_path / "broken.dcm")
    clip = load_clip(tmp_path / "broken.dcm", allow_damaged=True)
    assert clip.num_frames == 29
    steps = np.diff(clip.times_s)
    assert steps[6] == pytest.approx(2 * steps[0], rel=1e-3)


def test_a_region_outside_the_picture_is_a_stale_scale(tmp_path):
    dataset = ultrasound(moving_frames(), FrameTime=40)
    dataset.SequenceOfUltrasoundRegions = [region(RegionLocationMaxX1=700)]
    dataset.save_as(tmp_path / "stale.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "stale.dcm")
    assert clip.spacing_mm is None
    assert clip.sector_box is None
    assert "stale_scale" in {warning.code for warning in clip.warnings}


def test_pixel_spacing_is_never_taken_for_a_scale(tmp_path):
    dataset = ultrasound(moving_frames(), FrameTime=40, PixelSpacing=[0.5, 0.5])
    dataset.save_as(tmp_path / "spacing.dcm", enforce_file_format=True)
    assert load_clip(tmp_path / "spacing.dcm").spacing_mm is None


def test_times_come_from_vector_then_time_then_cine_rate(tmp_path):
    for elements, expected in (
        ({"FrameTimeVector": [0, 40, 60, 40, 40, 40], "FrameTime": 10}, [0, 0.04, 0.1]),
        ({"FrameTime": 20, "CineRate": 7}, [0, 0.02, 0.04]),
        ({"CineRate": 50}, [0, 0.02, 0.04]),
    ):
        dataset = ultrasound(moving_frames(), **elements)
        dataset.save_as(tmp_path / "t.dcm", enforce_file_format=True)
        assert load_clip(tmp_path / "t.dcm").times_s[:3] == pytest.approx(expected)


def _colour_flow(rgb, index):
    rgb[10:30, 10:40] = ((220, 30, 20), (20, 40, 220))[index % 2]


def _thin_line(rgb, index):
    rgb[40, 10:40] = (220, 30, 20) if index % 2 else (20, 220, 30)


def _logo(rgb, index):
    rgb[:12, :40] = (220, 30, 20)


def _tint(rgb, index):
    rgb[..., 2] = rgb[..., 2] // 3


@pytest.mark.parametrize(
    ("paint", "flagged"),
    [(_colour_flow, True), (_thin_line, False), (_logo, False), (_tint, False)],
)
def test_colour_that_changes_is_flagged_and_lines_logos_and_tints_are_not(tmp_path, paint, flagged):
    for index, frame in enumerate(moving_frames()):
        rgb = np.stack([frame] * 3, -1)
        paint(rgb, index)
        Image.fromarray(rgb).save(tmp_path / f"{index}.png")
    codes = {warning.code for warning in load_clip(tmp_path).warnings}
    assert ("colour_doppler" in codes) == flagged


CLIPS = Path(__file__).parents[3] / "shared" / "clips"


@pytest.mark.skipif(not CLIPS.is_dir(), reason="the real clips are not beside this checkout")
@pytest.mark.parametrize(
    ("name", "size", "flagged"),
    [
        ("color3d_jpeg_baseline.dcm", (120, 480, 640), False),
        ("IM00001.implicit_little_endian.dcm", (8, 240, 320), True),
        ("IM00001.fragmented_no_bot_jpeg_baseline.50.dcm", (8, 240, 320), True),
        ("a4c_1024x768.mp4", (45, 768, 1024), False),
        ("apical_long_axis_630x584.mp4", (68, 584, 630), False),
    ],
)
def test_real_clips_are_read_and_colour_is_flagged(name, size, flagged):
    clip = load_clip(CLIPS / name)
    assert clip.frames.shape == size
    assert ("colour_doppler" in {warning.code for warning in clip.warnings}) == flagged


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\x1f\x8b\x08", b"7z\xbc\xaf\x27\x1c"])
def test_a_packed_file_is_to_be_unpacked(tmp_path, head):
    (tmp_path / "study.dcm").write_bytes(head + bytes(200))
    with pytest.raises(FormatError, match=r"packed file .*; unpack it first"):
        load_clip(tmp_path / "study.dcm")


def test_a_nifti_of_colours_is_named_as_such(tmp_path):
    import nibabel

    colours = np.zeros((16, 12, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), tmp_path / "rgb.nii.gz")
    with pytest.raises(FormatError, match=r"must be grey, these have colours \(R, G, B\)"):
        load_clip(tmp_path / "rgb.nii.gz")


@pytest.mark.parametrize("mask", ["frame{}_mask", "mask_frame{}", "frame{}-GT", "frame{} label"])
def test_pictures_named_as_masks_of_the_frames_are_passed_over(tmp_path, mask):
    rng = np.random.default_rng(0)
    for index in range(6):
        frame = rng.integers(0, 255, (40, 50), dtype=np.uint8)
        Image.fromarray(frame).save(tmp_path / f"frame{index}.png")
        Image.fromarray(np.zeros_like(frame)).save(tmp_path / f"{mask.format(index)}.png")
    clip = load_clip(tmp_path)
    assert clip.num_frames == 6 and clip.frames.mean() > 100


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"MATLAB 5.0 MAT-file, Platform: PCWIN64", "a MATLAB file"),
        (b"MATLAB 7.3 MAT-file, Platform: PCWIN64", "a MATLAB file"),
        (b"\x5c\x01\0\0" + bytes(344), "an Analyze 7.5 image"),
    ],
)
def test_files_of_arrays_that_are_not_read_are_named_with_the_way_out(tmp_path, start, words):
    (tmp_path / "a").write_bytes(start + bytes(2000))
    with pytest.raises(FormatError, match=rf"this is .*{words}.*save "):
        load_clip(tmp_path / "a")
