"""HDF5 in zea's layouts, made up here: scan-converted images, grids in metres, beams."""

import time

import numpy as np
import pytest

from clip_makers import moving_frames
from echoseg.errors import ArgumentError, FormatError
from echoseg.io import load_clip
from echoseg.io.beams import Grid

h5py = pytest.importorskip("h5py")
FRAMES = moving_frames(5, rows=40, columns=30)
STAMPS_S = 7.5 + np.arange(5) * 0.02


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name.replace("__", "/")] = values
    return path


def cartesian(rows, columns, dz_mm, dx_mm):
    z, x = np.mgrid[:rows, :columns]
    return np.stack([x * dx_mm, 0 * x, z * dz_mm], -1) / 1000  # m


def polar(depths_mm, angles, apex_mm=(0.0, 0.0)):
    r, a = np.meshgrid(depths_mm, angles, indexing="ij")
    x, z = apex_mm[0] + r * np.sin(a), apex_mm[1] + r * np.cos(a)
    return np.stack([x, 0 * x, z], -1) / 1000


@pytest.mark.parametrize(
    "name", ["data__image_sc", "data__image_sc__values", "data__image_sc__pixels"]
)
def test_scan_converted_images_of_each_release(tmp_path, name):
    clip = load_clip(write(tmp_path / "a.hdf5", **{name: FRAMES}), spacing_mm=(0.3, 0.3), fps=50)
    assert clip.format_name == "hdf5"
    assert np.array_equal(clip.frames, FRAMES)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_decibels_as_zea_stores_camus_are_the_grey_levels_of_its_source(tmp_path, kind):
    frames = np.pad(FRAMES, ((0, 0), (2, 2), (2, 2)))  # black beside the sector
    levels_db = (frames / 255.0 * 60 - 60).astype(kind)
    pixels, extent = FRAMES[..., None], np.zeros(6, np.float32)
    path = write(
        tmp_path / "a.hdf5",
        data__image_sc=levels_db,
        data__image__pixels=pixels,
        data__image__extent=extent,
    )
    clip = load_clip(path, fps=50)
    assert np.array_equal(clip.frames, frames)
    assert (clip.spacing_mm, clip.warnings) == (None, ())


def test_other_floats_are_spread_with_a_warning(tmp_path):
    path = write(tmp_path / "a.hdf5", data__image_sc=FRAMES / 255.0 - 30)
    assert {one.code for one in load_clip(path, fps=50).warnings} == {"rescaled_grey"}


def test_stamps_that_are_not_one_per_frame_are_told(tmp_path):
    path = write(
        tmp_path / "a.hdf5",
        data__image_sc__values=FRAMES,
        data__image_sc__timestamps=np.arange(4) * 0.02,
    )
    (note,) = load_clip(path).warnings
    assert note.code == "assumed_frame_rate" and "4 values for 5 frames" in note.message


def test_a_grid_in_metres_gives_the_scale_and_stamps_the_times(tmp_path):
    path = write(
        tmp_path / "a.hdf5",
        data__image__values=FRAMES[..., None],
        data__image__coordinates=cartesian(40, 30, 0.5, 0.4),
        data__image__timestamps=STAMPS_S,
    )
    clip = load_clip(path)
    assert np.array_equal(clip.frames, FRAMES)
    assert clip.spacing_mm == pytest.approx((0.5, 0.4))
    assert clip.frame_rate_hz == pytest.approx(50)


def test_rows_that_run_upwards_are_turned(tmp_path):
    path = write(
        tmp_path / "a.hdf5",
        data__image__values=FRAMES[:, ::-1, ::-1],
        data__image__coordinates=cartesian(40, 30, 0.5, 0.4)[::-1, ::-1],
    )
    assert np.array_equal(load_clip(path).frames, FRAMES)


@pytest.mark.parametrize("apex_mm", [(0.0, 0.0), (3.0, -12.0)])
def test_beams_become_a_sector_of_the_right_size(tmp_path, apex_mm):
    depths_mm, angles = np.linspace(5, 120, 300), np.linspace(-0.7, 0.7, 120)
    r, a = np.meshgrid(depths_mm, angles, indexing="ij")
    disk = np.hypot(r * np.sin(a) - 10, r * np.cos(a) - 80) < 20  # mm, from the apex
    frames = np.where(disk, 200, r / 3).astype(np.uint8)[None].repeat(3, 0)
    path = write(
        tmp_path / "a.hdf5",
        data__image__values=frames,
        data__image__coordinates=polar(depths_mm, angles, apex_mm),
    )
    clip = load_clip(path, fps=50)
    row_mm, column_mm = clip.spacing_mm
    assert row_mm == column_mm
    bright = clip.frames[0] > 120
    assert bright.sum() * row_mm * column_mm == pytest.approx(np.pi * 20**2, rel=0.02)
    rows, columns = np.nonzero(bright)
    assert np.ptp(rows) * row_mm == pytest.approx(40, abs=1.5)
    assert np.ptp(columns) * column_mm == pytest.approx(40, abs=1.5)
    middle_mm = columns.mean() * column_mm - clip.size[1] * column_mm / 2
    assert middle_mm == pytest.approx(10, abs=0.6)
    assert (clip.frames[0, 0, :20] == 0).all()  # beside the sector


def test_beams_without_places_are_refused(tmp_path):
    with pytest.raises(FormatError, match="columns may be beams"):
        load_clip(write(tmp_path / "a.hdf5", data__image=FRAMES))


def test_channel_data_and_other_layouts_are_refused_by_name(tmp_path):
    with pytest.raises(FormatError, match="data/image_sc or data/image"):
        load_clip(write(tmp_path / "a.hdf5", data__raw_data=np.zeros((2, 3, 4, 5, 1), np.float32)))


def test_places_that_are_no_grid_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ArgumentError, match="rows and columns, or on beams"):
        Grid(rng.uniform(0, 100, (20, 30, 2)))
    with pytest.raises(ArgumentError, match="finite"):
        Grid(np.full((20, 30, 2), np.nan))


def test_a_chunk_of_many_frames_is_decompressed_once(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (60, 160, 200), np.uint8)
    took_s = {}
    for chunks in ((1, 160, 200), (60, 160, 200), (16, 50, 64)):
        path = tmp_path / f"{chunks[0]}.hdf5"
        with h5py.File(path, "w") as file:
            file.create_dataset("data/image_sc", data=frames, chunks=chunks, compression="gzip")
        start = time.process_time()
        clip = load_clip(path, spacing_mm=(0.3, 0.3), fps=50)
        took_s[chunks[0]] = time.process_time() - start
        assert np.array_equal(clip.frames, frames)
    assert max(took_s[60], took_s[16]) < 8 * took_s[1]  # 60 times without a cache


def test_the_ecg_is_on_the_clock_of_the_frames(tmp_path):
    known = {
        "data__image_sc__values": FRAMES,
        "data__image_sc__timestamps": np.arange(5) * 0.02,
        "data__image_sc__start_time_offset": np.float32(0.5),
        "metadata__ecg__samples": np.sin(np.arange(400.0)),
        "metadata__ecg__sampling_frequency": np.float32(200),
        "metadata__ecg__start_time_offset": np.float32(0.1),
    }
    ecg = load_clip(write(tmp_path / "a.hdf5", **known)).ecg
    assert ecg is not None and ecg.times_s[:2] == pytest.approx([-0.4, -0.395])
    assert np.array_equal(ecg.values, known["metadata__ecg__samples"])
    for name, value in (("sampling_frequency", 0.0), ("samples", np.full(9, np.nan))):
        path = write(tmp_path / f"{name}.hdf5", **known | {f"metadata__ecg__{name}": value})
        assert load_clip(path).ecg is None


@pytest.mark.parametrize("num_bytes", [8, 100, 3000])
def test_a_cut_file_is_named_as_such(tmp_path, num_bytes):
    path = write(tmp_path / "a.hdf5", data__image_sc=FRAMES)
    path.write_bytes(path.read_bytes()[:num_bytes] + bytes(200))
    with pytest.raises(FormatError, match="truncated or broken; get a whole copy"):
        load_clip(path)
