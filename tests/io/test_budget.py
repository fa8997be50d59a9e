"""Files whose headers or compressed data claim more than they hold, or more than may be decoded."""

import contextlib
import gzip
import io
import os
import struct
import time
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_makers import moving_frames, ultrasound
from echoseg.errors import ConfigError, FormatError, TooLargeError
from echoseg.io import hdf5, load_clip, load_masks
from echoseg.io.clip_header import read_clip_header
from echoseg.io.formats import find_format, source_sha256
from echoseg.io.nifti import write_masks
from echoseg.io.video import write_mjpeg

SMALL = 0.001
"""GiB: 16 frames, or 1 MiB."""


def refused(path, match="limit of 0.001 GiB", **words: Any):
    began, limits = time.perf_counter(), {"max_decoded_gib": SMALL, **words}
    with pytest.raises(TooLargeError, match=match):
        load_clip(path, **limits)
    assert time.perf_counter() - began < 20


def avi(path, length):
    write_mjpeg(path, moving_frames(6), 25)
    content = bytearray(path.read_bytes())
    content[(at := content.index(b"strh") + 8 + 32) : at + 4] = struct.pack("<I", length)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("length", [10**7, 10**8, 2**30 + 6, 2**31 - 1])
def test_avi_length(tmp_path, length):
    refused(avi(tmp_path / "a.avi", length), "limit of 2 GiB", max_decoded_gib=2.0)
    refused(tmp_path / "a.avi", "limit of 2 GiB", max_decoded_gib=2.0, allow_damaged=True)


def test_more_frames_than_the_limit_are_refused_and_fewer_are_read(tmp_path):
    write_mjpeg(tmp_path / "a.avi", moving_frames(20), 25)
    refused(tmp_path / "a.avi")
    assert load_clip(tmp_path / "a.avi", max_decoded_gib=0.002).num_frames == 20


@pytest.mark.parametrize("number", ["1000000000", "2147483647"])
def test_dicom_number_of_frames(tmp_path, number):
    frames = moving_frames(6)
    dataset = ultrasound(frames, NumberOfFrames=number)
    dataset.PixelData = dataset.PixelData[: -frames[0].size // 2]  # cut within the last
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert load_clip(tmp_path / "a.dcm").num_frames == 5
    dataset = ultrasound(frames, NumberOfFrames=number)
    dataset.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    assert load_clip(tmp_path / "b.dcm").num_frames == 6


def test_dicom_of_a_huge_frame(tmp_path):
    dataset = ultrasound(moving_frames(6))
    dataset.Rows = dataset.Columns = 60_000
    dataset.NumberOfFrames = 60
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(FormatError):
        load_clip(tmp_path / "a.dcm")


def deflated(path, num_bytes):
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    frames = np.zeros((num_bytes // 65536, 256, 256), np.uint8)
    frames[:] = moving_frames(len(frames), 256, 256)
    dataset = ultrasound(frames)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return frames


def test_deflated_dicom(tmp_path):
    frames = deflated(tmp_path / "a.dcm", 20 * 65536)
    refused(tmp_path / "a.dcm")
    assert np.array_equal(load_clip(tmp_path / "a.dcm").frames, frames)


def test_compressed_nifti_and_metaimage(tmp_path):
    masks = np.zeros((40, 256, 256), np.uint8)
    masks[:, 100:, 100:] = moving_frames(40, 156, 156)
    write_masks(tmp_path / "a.nii.gz", masks, (0.3, 0.3), 0.02)
    refused(tmp_path / "a.nii.gz")
    assert np.array_equal(load_clip(tmp_path / "a.nii.gz").frames, masks)
    header = "NDims = 3\nDimSize = 256 256 40\nElementType = MET_UCHAR\nCompressedData = True\n"
    (tmp_path / "a.mhd").write_text(header + "ElementDataFile = a.zraw\n")
    (tmp_path / "a.zraw").write_bytes(zlib.compress(masks.tobytes()))
    refused(tmp_path / "a.mhd")
    # more inside than the header says
    (tmp_path / "a.mhd").write_text(header.replace("40", "2") + "ElementDataFile = a.zraw\n")
    refused(tmp_path / "a.mhd")


def test_a_flipped_bit_of_compressed_nifti_is_seen_by_the_checksum(tmp_path):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (4, 64, 64), np.uint8)
    write_masks(tmp_path / "a.nii.gz", noise, (0.3, 0.3), 0.02)
    content = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    packed = bytearray(gzip.compress(bytes(content), 0))
    packed[-5000] ^= 1  # stored, not compressed: only the checksum knows
    (tmp_path / "a.nii.gz").write_bytes(packed)
    with pytest.raises(FormatError, match="truncated or broken"):
        load_clip(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("place", [12, 60, 200, 489])
def test_a_broken_stream_of_gzip_is_no_exception_of_zlib(tmp_path, place):
    write_masks(tmp_path / "a.nii.gz", moving_frames(6), (0.3, 0.3), 0.02)
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[place : place + 8] = b"\xff" * 8
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(FormatError):
        load_clip(tmp_path / "a.nii.gz")
    assert source_sha256(tmp_path / "a.nii.gz")
    assert read_clip_header(tmp_path / "a.nii.gz") is not None


def test_npz(tmp_path):
    frames = np.zeros((40, 256, 256), np.uint8)
    frames[:] = moving_frames(40, 256, 256)
    np.savez_compressed(tmp_path / "a.npz", frames=frames)
    refused(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = io.BytesIO()
        np.save(head, frames[:2])
        archive.writestr("frames.npy", head.getvalue() + bytes(2**21))  # more than its header says
    refused(tmp_path / "b.npz")


def test_pictures_larger_than_a_screen(tmp_path, recwarn):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(2):
        Image.new("1", (13_000, 13_000)).save(folder / f"{index}.png")
    refused(folder, "a frame may have", max_decoded_gib=2.0)
    Image.new("1", (7000, 7000)).save(
        tmp_path / "a.tif", save_all=True, append_images=[Image.new("1", (7000, 7000))]
    )
    refused(tmp_path / "a.tif", "a frame may have", max_decoded_gib=2.0)
    assert read_clip_header(folder).no_clip_reason is not None
    assert not recwarn.list


def test_tiff_whose_pages_form_a_loop(tmp_path):  # found by fuzzing: 20 minutes
    path = tmp_path / "a.tif"
    pictures = [Image.fromarray(frame) for frame in moving_frames(4)]
    for number in (1, 2, 4):
        pictures[0].save(path, save_all=True, append_images=pictures[1:number])
        content = bytearray(path.read_bytes())
        place, ends = int.from_bytes(content[4:8], "little"), []
        first = place
        while place:
            ends.append(place + 2 + 12 * int.from_bytes(content[place : place + 2], "little"))
            place = int.from_bytes(content[ends[-1] : ends[-1] + 4], "little")
        assert len(ends) == number
        content[ends[-1] : ends[-1] + 4] = first.to_bytes(4, "little")
        path.write_bytes(content)
        began = time.perf_counter()
        with contextlib.suppress(FormatError):
            assert load_clip(path).num_frames == number
        assert time.perf_counter() - began < 5


def gif(path, side, num_frames=2):
    pictures = [Image.new("P", (8, 8), color) for color in range(num_frames)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    content = bytearray(path.read_bytes())
    content[6:10] = struct.pack("<HH", side, side)
    path.write_bytes(content)
    return path


def test_gif_canvas(tmp_path):
    with pytest.raises(FormatError):
        load_clip(gif(tmp_path / "a.gif", 16_000, 30))
    refused(gif(tmp_path / "b.gif", 2000, 30))


def test_metaimage_header_of_many_lines(tmp_path):
    began = time.perf_counter()
    header = b"NDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n" + b"a=\n" * 500_000
    (tmp_path / "a.mha").write_bytes(header + b"ElementDataFile = LOCAL\n" + bytes(64))
    with pytest.raises(FormatError):
        load_clip(tmp_path / "a.mha")
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("size", ["16 16 -1", "0 16 16", "99999 99999 2", "16 16 99999999999999"])
def test_metaimage_sizes(tmp_path, size):
    text = f"NDims = 3\nDimSize = {size}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(text.encode() + bytes(1024))
    with pytest.raises(FormatError):
        load_clip(tmp_path / "a.mha")


def mhd(path, name):
    path.write_text(
        f"NDims = 3\nDimSize = 8 8 4\nElementType = MET_UCHAR\nElementDataFile = {name}\n"
    )
    return path


def test_metaimage_reads_no_file_outside_its_folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    secret = tmp_path / "secret.raw"
    secret.write_bytes(np.random.default_rng(0).bytes(4 * 8 * 8))
    (folder / "link").symlink_to(secret)
    os.mkfifo(folder / "pipe")
    for name in (secret, "../secret.raw", "link", "/etc/passwd", "/dev/zero", "pipe", "LIST", "."):
        with pytest.raises(FormatError):
            load_clip(mhd(folder / "a.mhd", name))
    for name in (secret, "../secret.raw", "link"):
        path = mhd(folder / "a.mhd", name)
        with pytest.raises(FormatError, match="--allow-outside"):
            load_clip(path)
        assert load_clip(path, allow_outside=True).num_frames == 4
    for name in ("/dev/zero", "pipe"):
        path = mhd(folder / "a.mhd", name)
        assert source_sha256(path)  # neither is opened
        with pytest.raises(FormatError):
            load_clip(path, allow_outside=True)
        with pytest.raises(FormatError):
            load_masks(path)


def test_hdf5_reads_no_file_outside(tmp_path):
    h5py = pytest.importorskip("h5py")
    frames = moving_frames()
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data/image_sc"] = frames
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["data"] = h5py.ExternalLink("secret.h5", "/data")
    layout = h5py.VirtualLayout(frames.shape, np.uint8)
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "data/image_sc", frames.shape)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        file.create_virtual_dataset("data/image_sc", layout)
    (tmp_path / "raw").write_bytes(frames.tobytes())
    with h5py.File(tmp_path / "raw.h5", "w") as file:
        parts = [(str(tmp_path / "raw"), 0, frames.size)]
        file.create_dataset("data/image_sc", frames.shape, np.uint8, external=parts)
    for name in ("link.h5", "virtual.h5", "raw.h5"):
        with pytest.raises(FormatError, match="--allow-outside"):
            load_clip(tmp_path / name)
        assert np.array_equal(load_clip(tmp_path / name, allow_outside=True).frames, frames)


def test_hdf5_chunks(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        size = (300, 1000, 1000)
        file.create_dataset("data/image_sc", size, np.uint8, chunks=size, compression="gzip")
    refused(tmp_path / "a.h5", "chunks must be at most 256 MiB", max_decoded_gib=2.0)


def test_hdf5_chunks_that_reach_beyond_the_clip_are_not_all_held(tmp_path):
    h5py = pytest.importorskip("h5py")
    frames = moving_frames(14)[:, :16, :16]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        sides, most = {"chunks": (2**22, 4, 4), "compression": "gzip"}, (None, 16, 16)
        file.create_dataset("data/image_sc", data=frames, maxshape=most, **sides)
    with h5py.File(tmp_path / "a.h5") as file:
        held = hdf5._hold_chunks(file["data/image_sc"])
        assert held.id.get_access_plist().get_chunk_cache()[1] <= 2**28  # 16 chunks of 64 MiB
    assert np.array_equal(load_clip(tmp_path / "a.h5").frames, frames)


@pytest.mark.parametrize("limit", [0, -1, np.nan, np.inf, "2", None])
def test_the_limit_is_a_number(limit: Any):
    with pytest.raises(ConfigError, match="--max-decoded"):
        load_clip(moving_frames(), max_decoded_gib=limit)


def test_no_pipe_or_device_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", "/dev/null"):
        with pytest.raises(FormatError):
            find_format(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    with pytest.raises(FormatError):
        load_clip(folder)
