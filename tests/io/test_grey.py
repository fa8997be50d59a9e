"""The same picture gives the same grey levels from any file; what is guessed is said."""

import subprocess
import sys

import nibabel
import numpy as np
import pytest
from PIL import Image

from clip_makers import moving_frames, ultrasound
from echoseg import frame_store
from echoseg.errors import FormatError
from echoseg.io import load_clip, load_masks
from echoseg.io.nifti import read_array, write_masks
from echoseg.io.video import write_h264


def codes(clip):
    return {warning.code for warning in clip.warnings}


def write_nifti(path, data):
    nibabel.Nifti1Image(data.transpose(2, 1, 0), np.eye(4)).to_filename(path)


@pytest.mark.parametrize(
    ("factor", "bits"), [(1, 16), (1, 8), (16, 12), (4095 / 255, 12), (256, 16), (257, 16)]
)
def test_dicom_of_any_depth_gives_the_same_grey(tmp_path, factor, bits):
    frames = moving_frames()
    deep = np.rint(frames * float(factor)).astype(np.uint16)
    dataset = ultrasound(deep, FrameTime=40, BitsStored=bits, HighBit=bits - 1)
    dataset.save_as(tmp_path / "deep.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "deep.dcm")
    assert np.array_equal(clip.frames, frames)
    assert codes(clip) == set()


def test_a_file_that_uses_fewer_bits_than_it_says_is_rescaled_and_says_so(tmp_path):
    frames = moving_frames()
    deep = frames.astype(np.uint16) * 16
    ultrasound(deep, FrameTime=40).save_as(tmp_path / "deep.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "deep.dcm")
    assert np.corrcoef(clip.frames.ravel(), frames.ravel())[0, 1] > 0.999
    assert "rescaled_grey" in codes(clip)


def test_inverted_grey_is_turned_and_said(tmp_path):
    frames = moving_frames()
    inverted = ultrasound(frames, FrameTime=40, PhotometricInterpretation="MONOCHROME1")
    inverted.save_as(tmp_path / "inverted.dcm", enforce_file_format=True)
    clip = load_clip(tmp_path / "inverted.dcm")
    assert np.array_equal(clip.frames, 255 - frames)
    assert codes(clip) == {"inverted_grey"}


def test_sixteen_bit_png_gives_the_same_grey(tmp_path):
    frames = moving_frames()
    for index, frame in enumerate(frames):
        Image.fromarray(frame.astype(np.uint16) * 257).save(tmp_path / f"{index}.png")
    clip = load_clip(tmp_path)
    assert np.array_equal(clip.frames, frames)
    assert "rescaled_grey" not in codes(clip)


def test_png_frames_of_two_depths_are_refused(tmp_path):
    for index, frame in enumerate(moving_frames()):
        deep = index > 2
        Image.fromarray(frame.astype(np.uint16) * 257 if deep else frame).save(
            tmp_path / f"{index}.png"
        )
    with pytest.raises(FormatError, match="must have one type, these are uint16, uint8"):
        load_clip(tmp_path)


@pytest.mark.parametrize("kind", [np.int16, np.float32, np.uint16])
def test_whole_numbers_of_a_byte_stay_as_they_are_in_nifti(tmp_path, kind):
    frames = moving_frames()
    write_nifti(tmp_path / "clip.nii", frames.astype(kind))
    clip = load_clip(tmp_path / "clip.nii")
    assert np.array_equal(clip.frames, frames)
    assert "rescaled_grey" not in codes(clip)


def test_other_numbers_are_spread_by_percentiles_and_the_clip_says_so(tmp_path):
    frames = moving_frames()
    write_nifti(tmp_path / "clip.nii", frames.astype(np.float32) / 255 - 0.5)
    clip = load_clip(tmp_path / "clip.nii")
    assert np.corrcoef(clip.frames.ravel(), frames.ravel())[0, 1] > 0.999
    (warning,) = (w for w in clip.warnings if w.code == "rescaled_grey")
    assert "grey levels -0.3" in warning.message
    text = "ObjectType = Image\nNDims = 3\nDimSize = 64 48 6\nElementType = MET_USHORT\n"
    pixels = (frames.astype("<u2") * 300).tobytes()
    (tmp_path / "clip.mhd").write_bytes(text.encode() + b"ElementDataFile = LOCAL\n" + pixels)
    assert "rescaled_grey" in codes(load_clip(tmp_path / "clip.mhd"))


def test_pixels_that_are_no_numbers_are_named_as_the_cause(tmp_path):
    frames = moving_frames()
    data = frames.astype(np.float32)
    data[:, :12] = np.nan
    data[0, 20, 20] = np.inf
    write_nifti(tmp_path / "some.nii", data)
    clip = load_clip(tmp_path / "some.nii")
    (warning,) = (w for w in clip.warnings if w.code == "pixels_not_numbers")
    assert warning.message.startswith("25 % of the pixels are NaN or infinite")
    assert np.array_equal(clip.frames[1:, 12:], frames[1:, 12:])
    write_nifti(tmp_path / "all.nii", data * np.nan)
    with pytest.raises(FormatError, match=r"all\.nii: .*every pixel is NaN or infinite"):
        load_clip(tmp_path / "all.nii")


def test_a_long_clip_is_mapped_and_is_the_same(tmp_path, monkeypatch):
    frames = moving_frames(12)
    write_nifti(tmp_path / "clip.nii.gz", frames.astype(np.float32) / 255 - 0.5)
    held = load_clip(tmp_path / "clip.nii.gz")
    monkeypatch.setattr(frame_store, "MAX_HELD_BYTES", 0)
    monkeypatch.setattr(frame_store, "EACH_BYTES", 5000)
    mapped = load_clip(tmp_path / "clip.nii.gz")
    assert isinstance(mapped.frames, np.memmap)
    assert not isinstance(held.frames, np.memmap)
    assert np.array_equal(mapped.frames, held.frames)
    assert mapped.warnings == held.warnings


def save_rgb_dicom(path, frames):
    colour = np.repeat(frames[..., None], 3, -1)
    changes = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    ultrasound(colour, FrameTime=20, **changes).save_as(path, enforce_file_format=True)


def save_scaled_nifti(path, frames, slope_inter=(0.1, 5.0)):
    write_masks(path, frames, None, None)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array(slope_inter, "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)


def save_npz(path, frames):
    with path.open("wb") as file:
        np.savez_compressed(file, frames=np.repeat(frames[..., None], 3, -1))


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    "save",
    [
        save_rgb_dicom,
        save_scaled_nifti,
        save_npz,
        lambda path, frames: write_h264(path, (np.stack([one] * 3, -1) for one in frames), 50.0),
    ],
    ids=["dicom", "nifti", "npz", "h264"],
)
def test_reading_holds_little_more_than_the_grey_frames(tmp_path, save):
    frames = np.zeros((120, 1000, 1000), np.uint8)
    frames[:, :200, :200] = np.arange(120)[:, None, None]
    save(tmp_path / "clip", frames)
    code = (
        "import sys; from echoseg.io import load_clip; load_clip(sys.argv[1]); "
        "print(*(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line))"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "clip")]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert 1024 * int(done.stdout) < 1.3 * frames.nbytes + 200e6  # what is decoded is 360 MB


@pytest.mark.parametrize("slope_inter", [(0.1, 5.0), (2.0, 0.0), (0.0, 3.0), (np.nan, 0.0)])
def test_scaled_nifti_has_the_values_that_nibabel_reads(tmp_path, slope_inter):
    frames = moving_frames(5)
    save_scaled_nifti(tmp_path / "clip.nii", frames, slope_inter)
    image = nibabel.load(tmp_path / "clip.nii")
    values, header = read_array(tmp_path / "clip.nii")
    assert np.array_equal(values, np.asanyarray(image.dataobj).T)
    assert header["dim"][3] == 5
    np.save(tmp_path / "clip.npy", values)
    ours, plain = (load_clip(tmp_path / name) for name in ("clip.nii", "clip.npy"))
    assert np.array_equal(ours.frames, plain.frames)


def test_scaled_masks_are_label_maps(tmp_path):
    masks = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) % 4
    save_scaled_nifti(tmp_path / "masks.nii", masks * 2, (0.5, 0.0))
    assert np.array_equal(load_masks(tmp_path / "masks.nii", fps=25)[1], masks)


@pytest.mark.parametrize("order", "CF")
def test_npz_arrays_in_either_order_are_read(tmp_path, order):
    frames = np.asarray(moving_frames(5), np.int32, order=order)
    np.savez(tmp_path / "clip.npz", frames=frames, ef=np.float64(61))
    assert np.array_equal(load_clip(tmp_path / "clip.npz").frames, frames)
