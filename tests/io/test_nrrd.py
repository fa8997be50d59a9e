"""NRRD: what Slicer's own readers and writers give, and what hostile files are answered."""

import gzip

import nrrd as pynrrd
import numpy as np
import pytest
import slicerio

from clip_makers import moving_frames
from echoseg import load_clip
from echoseg.errors import DamagedError, EchosegError, FormatError, NotAClipError
from echoseg.io import describe, load_masks
from echoseg.io.frames import OpenOptions
from echoseg.io.label_names import NAMES
from echoseg.io.masks import read_masks
from echoseg.io.slicer import write_segmentation, write_sequence

FRAMES = moving_frames()
SPACING_MM = (0.4, 0.3)
TIMES_S = np.arange(len(FRAMES)) / 50


def label_maps(num_frames=5):
    masks = np.zeros((num_frames, 40, 30), np.uint8)
    for index, mask in enumerate(masks):
        mask[5:20, 8 : 18 - index] = 1
        mask[20:24, 8:18] = 2
        mask[28:36, 8:18] = 3
    return masks


def masks_of(path):
    return read_masks(path, OpenOptions())


# round trips with the real readers
def test_a_sequence_is_read_by_slicers_reader_and_comes_back(tmp_path):
    path = tmp_path / "clip.seq.nrrd"
    write_sequence(path, FRAMES, SPACING_MM, TIMES_S)
    volume = slicerio.read_volume(str(path))
    assert slicerio.number_of_frames(volume) == len(FRAMES)
    for index in (0, 3):
        frame = slicerio.sequence_frame(volume, index)
        assert np.array_equal(frame["voxels"][:, :, 0].T, FRAMES[index])
    spacing = np.linalg.norm(np.asarray(volume["ijkToLPS"])[:3, :3], axis=0)
    assert spacing.tolist() == pytest.approx([0.3, 0.4, 1])
    assert [float(v) for v in volume["sequence"]["indexValues"]] == pytest.approx(TIMES_S)
    clip = load_clip(path)
    assert np.array_equal(clip.frames, FRAMES)
    assert clip.spacing_mm == pytest.approx(SPACING_MM)
    assert clip.times_s == pytest.approx(TIMES_S)


def test_times_of_a_sequence_are_from_its_first_frame(tmp_path):
    write_sequence(tmp_path / "late.seq.nrrd", FRAMES, SPACING_MM, TIMES_S + 7)
    assert load_clip(tmp_path / "late.seq.nrrd").times_s == pytest.approx(TIMES_S - TIMES_S[0])


def test_a_sequence_that_slicer_wrote_is_read(tmp_path):
    frames = [
        {"voxels": frame.T[:, :, None], "ijkToLPS": np.diag([0.3, 0.4, 1, 1])} for frame in FRAMES
    ]
    sequence = slicerio.create_sequence(frames, index_values=TIMES_S)
    slicerio.write_volume(str(tmp_path / "a.seq.nrrd"), sequence)
    clip = load_clip(tmp_path / "a.seq.nrrd")
    assert np.array_equal(clip.frames, FRAMES)
    assert clip.spacing_mm == pytest.approx(SPACING_MM)
    assert clip.times_s == pytest.approx(TIMES_S)


def test_a_segmentation_is_read_by_slicers_reader_and_comes_back(tmp_path):
    path, masks = tmp_path / "masks.seg.nrrd", label_maps()
    write_segmentation(path, masks, SPACING_MM)
    segmentation = slicerio.read_segmentation(str(path))
    assert slicerio.segment_names(segmentation) == list(NAMES.values())
    for label, name in NAMES.items():
        segment = slicerio.segment_from_name(segmentation, name)
        assert np.array_equal(slicerio.segment_mask(segmentation, segment).T, masks == label)
    assert np.array_equal(masks_of(path).masks, masks)


def test_overlapping_segments_of_slicer_in_layers_are_merged_by_their_names(tmp_path):
    masks = label_maps()
    segmentation = slicerio.create_segmentation(masks.T.shape, np.diag([0.3, 0.4, 1, 1]))
    outer = np.isin(masks, (1, 2)).T  # the epicardium's contour, filled, under the cavity
    slicerio.add_segment(segmentation, (masks == 3).T, {"id": "a", "name": "Left atrium"})
    slicerio.add_segment(segmentation, outer, {"id": "b", "name": "Myocardium"})
    slicerio.add_segment(segmentation, (masks == 1).T, {"id": "c", "name": "LV_endo"})
    slicerio.write_segmentation(str(tmp_path / "a.seg.nrrd"), segmentation)
    result = masks_of(tmp_path / "a.seg.nrrd")
    assert np.array_equal(result.masks, masks)
    assert load_masks(tmp_path / "a.seg.nrrd")[0].spacing_mm == pytest.approx(SPACING_MM)


def test_a_sequence_of_label_maps_is_masks(tmp_path):
    masks = label_maps()
    write_sequence(tmp_path / "m.seq.nrrd", masks, SPACING_MM, TIMES_S[:5], labels=True)
    result = masks_of(tmp_path / "m.seq.nrrd")
    assert np.array_equal(result.masks, masks) and result.clip.times_s[1] == pytest.approx(0.02)
    with pytest.raises(NotAClipError, match="masks and not frames"):
        load_clip(tmp_path / "m.seq.nrrd")


def test_another_segment_is_refused_by_number(tmp_path):
    segmentation = slicerio.create_segmentation((30, 40, 5), np.eye(4))
    for name in "abcd":
        slicerio.add_segment(segmentation, np.zeros((30, 40, 5), bool), {"id": name, "name": name})
    slicerio.write_segmentation(str(tmp_path / "a.seg.nrrd"), segmentation)
    with pytest.raises(FormatError, match="got segment 4 of value 4; name it so, or delete it"):
        masks_of(tmp_path / "a.seg.nrrd")
    with pytest.raises(NotAClipError, match="segmentation, not the frames"):
        load_clip(tmp_path / "a.seg.nrrd")


# plain NRRD
@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
@pytest.mark.parametrize("dtype", [np.uint8, np.dtype(">u2"), np.int16, np.float32])
def test_encodings_and_types(tmp_path, encoding, dtype):
    header = {"encoding": encoding, "spacings": [0.3, 0.4, 1], "space units": ["mm"] * 3}
    frames = FRAMES.astype(dtype)
    pynrrd.write(str(tmp_path / "a.nrrd"), frames, header, index_order="C")
    clip = load_clip(tmp_path / "a.nrrd", fps=50)
    assert np.abs(clip.frames.astype(int) - FRAMES).max() <= 1


def test_colors_become_grey_and_a_detached_file_is_found(tmp_path):
    colors = np.repeat(FRAMES[..., None], 3, -1)
    header = {"kinds": ["RGB-color", "domain", "domain", "list"], "encoding": "raw"}
    pynrrd.write(str(tmp_path / "a.nhdr"), colors, header, index_order="C")
    clip = load_clip(tmp_path / "a.nhdr", fps=50)
    assert np.abs(clip.frames.astype(int) - FRAMES).max() <= 1
    (tmp_path / "a.raw").unlink()
    with pytest.raises(FormatError, match="the file of pixels that it names is not there"):
        load_clip(tmp_path / "a.nhdr", fps=50)


def test_spacing_without_a_unit_is_not_used(tmp_path):
    pynrrd.write(str(tmp_path / "a.nrrd"), FRAMES, {"spacings": [0.3, 0.4, 2]}, index_order="C")
    clip = load_clip(tmp_path / "a.nrrd", fps=50)
    assert clip.spacing_mm is None
    assert "spacing_without_unit" in {note.code for note in clip.warnings}


def test_a_volume_a_still_and_time_first_are_not_clips(tmp_path):
    cube = {"spacings": [0.4, 0.4, 0.4], "space units": ["mm"] * 3}
    pynrrd.write(str(tmp_path / "a.nrrd"), FRAMES, cube, index_order="C")
    with pytest.raises(NotAClipError, match="3-D volume"):
        load_clip(tmp_path / "a.nrrd")
    pynrrd.write(str(tmp_path / "b.nrrd"), FRAMES[0], {}, index_order="C")
    with pytest.raises(NotAClipError, match="at least 2 frames"):
        load_clip(tmp_path / "b.nrrd")


HEADER = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: {sizes}\nencoding: {encoding}\n{more}\n"


def write(path, sizes="30 40 5", encoding="raw", more="", data=b""):
    more = more + "\n" if more else ""
    path.write_bytes(HEADER.format(sizes=sizes, encoding=encoding, more=more).encode() + data)
    return path


def test_a_cut_file_is_damaged(tmp_path):
    with pytest.raises(DamagedError, match="6000 bytes, 100 are there"):
        load_clip(write(tmp_path / "a.nrrd", data=bytes(100)), fps=50)


def test_no_file_outside_its_folder_is_read(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(FRAMES[:5, :40, :30].tobytes())
    path = write(tmp_path / "in" / "a.nhdr", more="data file: ../secret.raw")
    with pytest.raises(FormatError, match="outside of its folder"):
        load_clip(path, fps=50)


def test_a_gzip_bomb_ends_at_the_stated_size_and_large_sizes_at_the_limit(tmp_path):
    bomb = gzip.compress(bytes(2**26))
    path = write(tmp_path / "a.nrrd", encoding="gzip", data=bomb)
    assert load_clip(path, fps=50).frames.shape == (5, 40, 30)
    huge = write(tmp_path / "b.nrrd", sizes="5000 5000 60000")
    with pytest.raises(EchosegError, match="GiB"):
        load_clip(huge, fps=50)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sizes": "30 40"}, "broken"),
        ({"sizes": "30 -4 5"}, "broken"),
        ({"sizes": "a b c"}, "broken"),
        ({"encoding": "hex"}, "encoding must be raw, gzip or bzip2"),
        ({"encoding": "gzip", "data": b"no gzip"}, "broken"),
        ({"more": "data file: LIST"}, "several files"),
        ({"more": "line skip: 3"}, "skipped lines"),
        ({"more": "kinds: domain domain"}, "broken"),
        ({"more": "kinds: list domain domain"}, "axes must be columns, rows and time"),
        ({"more": "space directions: (1,0) none"}, "broken"),
    ],
)
def test_broken_headers_are_refused_in_a_sentence(tmp_path, fields, words):
    with pytest.raises(FormatError, match=words):
        load_clip(write(tmp_path / "a.nrrd", **fields), fps=50)


def test_inspect_shows_the_header_and_no_text(tmp_path):
    header = {"spacings": [0.3, 0.4, 1], "content": "Jane Doe"}
    pynrrd.write(str(tmp_path / "a.nrrd"), FRAMES, header, index_order="C")
    stated = describe.describe(tmp_path / "a.nrrd")
    assert stated["header"]["header"]["sizes"] == " ".join(map(str, FRAMES.shape[::-1]))
    assert "Jane" not in str(stated)
