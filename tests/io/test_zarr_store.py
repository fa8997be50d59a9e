"""EchoXFlow's Zarr stores, made up here: beams, clocks, damaged stores, bombs."""

import json
import os

import numpy as np
import pytest

from clip_makers import RATE_HZ, moving_frames, write_zarr
from echoseg.data import load_dataset
from echoseg.errors import DamagedError, FormatError, NotAClipError, TooLargeError
from echoseg.io import load_clip
from echoseg.io.clip_header import read_clip_header
from echoseg.io.describe import describe
from echoseg.io.zarr_array import _zstd_bytes

zarr = pytest.importorskip("zarr")
numcodecs = pytest.importorskip("numcodecs")
FRAMES = moving_frames(6)
BMODE = "data/2d_brightness_mode"


def store(path, **words):
    write_zarr(path, FRAMES, **words)
    return path


def disk_frames(depths_mm, angles):
    r, a = np.meshgrid(depths_mm, angles, indexing="ij")
    disk = np.hypot(r * np.sin(a) - 10, r * np.cos(a) - 80) < 20
    return np.where(disk, 200, r / 3).astype(np.uint8)[None].repeat(3, 0)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize(
    "geometry",
    [
        {"DepthStart": 0.005, "DepthEnd": 0.12, "Tilt": 0.1, "Width": 1.4},
        {"depth_start_m": 0.005, "depth_end_m": 0.12, "tilt_rad": 0.1, "width_rad": 1.4},
        {"depth_start_m": 0.005, "depth_end_m": 0.12, "angle_start_rad": -0.6,
         "angle_end_rad": 0.8},
    ],
)  # fmt: skip
def test_beams_become_a_sector_with_times_and_scale(tmp_path, zarr_format, geometry):
    frames = disk_frames(np.linspace(5, 120, 300), np.linspace(-0.6, 0.8, 120))
    write_zarr(tmp_path / "a.zarr", frames, zarr_format=zarr_format, geometry=geometry)
    clip = load_clip(tmp_path / "a.zarr")
    row_mm, column_mm = clip.spacing_mm or (0, 0)
    bright = clip.frames[0] > 120
    assert bright.sum() * row_mm * column_mm == pytest.approx(np.pi * 20**2, rel=0.02)
    rows, _ = np.nonzero(bright)
    assert np.ptp(rows) * row_mm == pytest.approx(40, abs=1.5)
    assert clip.frame_rate_hz == pytest.approx(RATE_HZ, rel=1e-4)
    assert clip.format_name == "zarr" and len(clip.source_sha256) == 64


@pytest.mark.parametrize("compressor", [None, "zstd", "lz4", "blosc"])
@pytest.mark.parametrize("chunks", [(4, 48, 64), (6, 20, 64), (1, 48, 10)])
def test_chunks_and_codecs_give_the_same_frames(tmp_path, compressor, chunks):
    plain = load_clip(store(tmp_path / "plain"))
    root = write_zarr(tmp_path / "a", FRAMES)
    codec = numcodecs.get_codec({"id": compressor}) if compressor else None
    root.create_array(BMODE, data=FRAMES, chunks=chunks, compressors=codec, overwrite=True)
    clip = load_clip(tmp_path / "a")
    assert np.array_equal(clip.frames, plain.frames)
    assert not {"missing_chunks"} & {one.code for one in clip.warnings}


def test_the_sector_that_names_the_array_is_used(tmp_path):
    other = {"DepthStart": 0.01, "DepthEnd": 0.04, "Tilt": 0.0, "Width": 0.8}
    right = other | {"DepthEnd": 0.11}
    sectors = [
        {"semantic_id": "bmode", "geometry": g, "frames": {"array_path": f"data/{name}"}}
        for g, name in ((other, "2d_brightness_mode_0"), (right, "2d_brightness_mode"))
    ]
    clip = load_clip(store(tmp_path / "a", recording_manifest={"sectors": sectors}))
    assert clip.spacing_mm is not None
    assert clip.size[0] * clip.spacing_mm[0] == pytest.approx(101, abs=4)


def test_r_waves_and_ecg_are_on_the_clock_of_the_frames(tmp_path):
    root = write_zarr(tmp_path / "a", FRAMES)
    root.create_array("data/ecg", data=np.sin(np.arange(500.0)))
    root.create_array("timestamps/ecg", data=7.4 + np.arange(500) / 500)
    manifest = root.attrs["recording_manifest"] | {"ecg": {"qrs_trigger_times": [7.1, 7.6, "x"]}}
    root.attrs["recording_manifest"] = manifest
    clip = load_clip(tmp_path / "a")
    assert clip.r_wave_times_s == pytest.approx((-0.4, 0.1))
    assert clip.ecg is not None and clip.ecg.times_s[0] == pytest.approx(-0.1)
    root.attrs["recording_manifest"] = manifest | {"ecg": {"qrs_trigger_times": [0.1, 0.6]}}
    assert load_clip(tmp_path / "a").r_wave_times_s == ()  # another clock


def test_clocks_that_contradict_are_told_with_both_values(tmp_path):
    path = store(tmp_path / "a", median_delta_time={"2d_brightness_mode": 1 / 60})
    (note,) = [one for one in load_clip(path).warnings if one.code == "contradicted_frame_rate"]
    assert "25 fps" in note.message and "60 fps" in note.message


@pytest.mark.parametrize("stamps", [np.zeros(6), np.arange(4.0), np.full(6, np.nan), None])
def test_a_useless_clock_costs_no_pixels_and_its_reason_is_told(tmp_path, stamps):
    root = write_zarr(tmp_path / "a", FRAMES)
    del root["timestamps/2d_brightness_mode"]
    if stamps is not None:
        root.create_array("timestamps/2d_brightness_mode", data=stamps)
    clip = load_clip(tmp_path / "a")
    (note,) = [one for one in clip.warnings if one.code == "assumed_frame_rate"]
    assert any(words in note.message for words in ("not increasing", "4 values for 6", "missing"))
    root.attrs["median_delta_time"] = {"2d_brightness_mode": 0.02}
    assert load_clip(tmp_path / "a").frame_rate_hz == pytest.approx(50)


def test_beams_without_places_are_refused(tmp_path):
    for manifest in ({}, {"sectors": [{"semantic_id": "bmode", "geometry": {"Width": "wide"}}]}):
        with pytest.raises(FormatError, match="depths and angles"):
            load_clip(store(tmp_path / "a", recording_manifest=manifest))


def test_other_recordings_are_no_clips_and_other_stores_are_refused(tmp_path):
    for kind, words in (("1d_pulsed_wave_doppler", "no 2-D B-mode"), ("3d_brightness_mode", "3-D")):
        root = zarr.open_group(tmp_path / kind, mode="w")
        root.create_array(f"data/{kind}", data=FRAMES)
        root.attrs["content_types"] = [kind]
        with pytest.raises(NotAClipError, match=words):
            load_clip(tmp_path / kind)
        assert words in read_clip_header(tmp_path / kind).no_clip_reason
    zarr.open_group(tmp_path / "other", mode="w").create_array("0", data=FRAMES)
    with pytest.raises(FormatError, match=r"EchoXFlow's layout.* holds 0"):
        load_clip(tmp_path / "other")
    root = write_zarr(tmp_path / "two", FRAMES)
    for name in ("_0", "_1"):
        root.create_array(BMODE + name, data=FRAMES)
    del root[BMODE]
    with pytest.raises(FormatError, match="holds 2"):
        load_clip(tmp_path / "two")


def chunk(path, index):
    return path / BMODE / f"{index}.0.0"


@pytest.mark.parametrize("harm", ["missing", "cut", "noise", "empty"])
def test_a_damaged_chunk_is_a_damaged_frame(tmp_path, harm):
    path = store(tmp_path / "a")
    content = chunk(path, 2).read_bytes()
    harmed = {"cut": content[: len(content) // 2], "noise": os.urandom(len(content)), "empty": b""}
    if harm == "missing":
        chunk(path, 2).unlink()
    else:
        chunk(path, 2).write_bytes(harmed[harm])
    with pytest.raises(DamagedError, match=r"1 of 6 frames cannot be read \(frame 2\)"):
        load_clip(path)
    clip = load_clip(path, allow_damaged=True)
    assert clip.damaged_frames == (2,)
    assert clip.times_s == pytest.approx(np.array([0, 1, 3, 4, 5]) / RATE_HZ, abs=1e-6)


def test_part_of_a_frame_that_is_not_there_is_told(tmp_path):
    root = write_zarr(tmp_path / "a", FRAMES)
    root.create_array(BMODE, data=FRAMES, chunks=(1, 20, 64), overwrite=True)
    (tmp_path / "a" / BMODE / "3.1.0").unlink()
    codes = {one.code for one in load_clip(tmp_path / "a").warnings}
    assert "missing_chunks" in codes


def test_chunks_that_unpack_to_more_than_stated_are_not_unpacked(tmp_path):
    bomb = numcodecs.Zstd().encode(bytes(2**24))
    for index, content in enumerate((bomb, numcodecs.Zstd().encode(FRAMES[0]) + bomb)):
        root = write_zarr(tmp_path / str(index), FRAMES)
        codec = numcodecs.Zstd()
        root.create_array(BMODE, data=FRAMES, chunks=(1, 48, 64), compressors=codec, overwrite=True)
        chunk(tmp_path / str(index), 1).write_bytes(content)
        with pytest.raises(DamagedError, match="frame 1"):
            load_clip(tmp_path / str(index))
    path = store(tmp_path / "blosc")
    chunk(path, 1).write_bytes(numcodecs.Blosc().encode(bytes(2**24)))
    with pytest.raises(DamagedError, match="frame 1"):
        load_clip(path)


@pytest.mark.parametrize("num_bytes", [1, 200, 256, 300, 65_791, 65_792, 2**20])
def test_the_size_of_a_zstandard_frame(num_bytes):
    for content in (bytes(num_bytes), np.random.default_rng(0).bytes(num_bytes)):
        packed = numcodecs.Zstd().encode(content)
        assert _zstd_bytes(packed) == num_bytes
        assert _zstd_bytes(packed + packed) == -1
        assert _zstd_bytes(packed[:-1]) == -1


def changed(path, **fields):
    file = path / BMODE / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"filters": [{"id": "pickle"}]},
        {"compressor": {"id": "pickle"}},
        {"compressor": {"id": "gzip", "level": 1}},
        {"compressor": "blosc"},
        {"dtype": "|O", "filters": [{"id": "vlen-utf8"}]},
        {"dtype": "<M8[s]"},
        {"shape": [6, 48]},
        {"chunks": [0, 48, 64]},
        {"shape": ["6", 48, 64]},
        {"zarr_format": 9},
    ],
)
def test_odd_metadata_are_refused_and_no_code_is_run(tmp_path, fields):
    with pytest.raises(FormatError):
        load_clip(changed(store(tmp_path / "a"), **fields))


def test_headers_that_state_more_than_the_limit_are_refused(tmp_path):
    for fields in ({"shape": [10**9, 48, 64]}, {"shape": [6, 10**5, 10**5]}):
        with pytest.raises(TooLargeError):
            load_clip(changed(store(tmp_path / "a"), **fields))
    with pytest.raises(TooLargeError, match="chunks"):
        load_clip(changed(store(tmp_path / "a"), chunks=[10**6, 48, 64]))
    with pytest.raises(TooLargeError, match="chunks"):
        load_clip(changed(store(tmp_path / "a"), shape=[6, 480, 640], chunks=[1, 1, 1]))


def test_no_link_leads_out_of_the_store(tmp_path):
    secret = store(tmp_path / "secret")
    path = store(tmp_path / "a")
    chunk(path, 0).unlink()
    chunk(path, 0).symlink_to(chunk(secret, 0))
    with pytest.raises(DamagedError):
        load_clip(path)
    (path / BMODE / "0.0.0").unlink()
    (path / BMODE / ".zarray").unlink()
    (path / BMODE / ".zarray").symlink_to(secret / BMODE / ".zarray")
    with pytest.raises(FormatError, match="outside"):
        load_clip(path)
    manifest = {"sectors": [{"semantic_id": "bmode", "timestamps": {"array_path": "../secret"}}]}
    with pytest.raises(FormatError):
        load_clip(store(tmp_path / "b", recording_manifest=manifest))


def test_a_folder_of_exams_is_a_data_set_whose_patients_are_exams(tmp_path):
    for name in ("one/a.zarr", "one/b.zarr", "two/c.zarr"):
        store(tmp_path / name, exam_id=name[:3])
    zarr.open_group(tmp_path / "two" / "d.zarr", mode="w").attrs["content_types"] = ["ecg"]
    (tmp_path / "two" / "d.zarr" / "data").mkdir()
    data = load_dataset(tmp_path)
    assert len(data) == 3
    first, second, third = (one.patient for one in data.records)
    assert first == second != third and "one" not in first


def test_inspect_names_arrays_of_the_layout_only(tmp_path):
    root = write_zarr(tmp_path / "a", FRAMES, exam_id="Anna Muster")
    root.create_array("data/Anna", data=FRAMES)
    told = describe(tmp_path / "a")
    assert told["header"]["arrays"][BMODE] == "(6, 48, 64) in chunks (1, 48, 64)"
    assert told["identity"] == ["attributes of the store"]
    assert "Anna" not in str(told)
