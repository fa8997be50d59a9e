"""SEG as masks: whatever order and encoding the writer chose, each mask on its own frame."""

from contextlib import nullcontext

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from clip_makers import moving_frames, write_dicom_series
from echoseg.clip import Clip
from echoseg.errors import FormatError
from echoseg.io import load_masks
from echoseg.io.dicom_seg import check_refers
from echoseg.io.masks import fill_frames

CODES = {1: ("T-32600", "SRT"), 2: ("49848007", "SCT"), 3: ("82471001", "SCT")}


def item(**values):
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def write_seg(path, frames, *, codes=CODES, labels=("a", "b", "c"), places=True, kind="BINARY"):
    """Write `(segment, frame from 1, mask)` in the given order."""
    dataset = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4",
        SOPInstanceUID="1.2.3",
        SegmentationType=kind,
        NumberOfFrames=len(frames),
        Rows=frames[0][2].shape[0],
        Columns=frames[0][2].shape[1],
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        PixelRepresentation=0,
    )
    bits = 1 if kind == "BINARY" else 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    pixels = np.stack([mask for *_, mask in frames]).astype(np.uint8)
    if kind == "FRACTIONAL":
        dataset.MaximumFractionalValue, pixels = 200, pixels * 150
    raw = pack_bits(pixels.ravel()) if kind == "BINARY" else pixels.tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB"
    dataset.SegmentSequence = Sequence()
    for number, (value, scheme) in codes.items():
        code = item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning="x")
        segment = item(SegmentNumber=number, SegmentLabel=labels[number - 1])
        segment.SegmentedPropertyTypeCodeSequence = [code]
        dataset.SegmentSequence.append(segment)
    dataset.PerFrameFunctionalGroupsSequence = Sequence()
    for segment, frame, _ in frames:
        groups = item(
            SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
        )
        if places:
            source = item(ReferencedSOPInstanceUID="1.9", ReferencedFrameNumber=frame)
            groups.DerivationImageSequence = [item(SourceImageSequence=[source])]
        dataset.PerFrameFunctionalGroupsSequence.append(groups)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def labels():
    return np.random.default_rng(3).integers(0, 4, (4, 6, 10)).astype(np.uint8)


def parts(labels):
    return [(s, t + 1, mask == s) for t, mask in enumerate(labels) for s in (1, 2, 3)]


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_frames_in_any_order_reach_their_place(tmp_path, labels, kind):
    frames = parts(labels)
    np.random.default_rng(0).shuffle(order := list(range(len(frames))))
    path = write_seg(tmp_path / "s.dcm", [frames[index] for index in order], kind=kind)
    clip, masks = load_masks(path, fps=30.0)
    assert np.array_equal(masks, labels)
    assert clip.format_name == "dicom masks"


def test_frames_that_were_left_out_are_empty(tmp_path, labels):
    labels[[0, 2, 3]] = 0
    frames = [one for one in parts(labels) if one[2].any()]
    masks = load_masks(write_seg(tmp_path / "s.dcm", frames), fps=30.0)[1]
    assert len(masks) == 2
    assert np.array_equal(fill_frames(masks, Clip(frames=labels)), labels)


def test_a_label_map_and_names_without_codes_are_read(tmp_path, labels):
    other = dict.fromkeys((1, 2, 3), ("1", "99X"))
    names = ("lv cavity", "LV Myocardium", "LA cavity")
    frames = [(1, t + 1, mask) for t, mask in enumerate(labels)]
    path = write_seg(tmp_path / "s.dcm", frames, codes=other, labels=names, kind="LABELMAP")
    assert np.array_equal(load_masks(path, fps=30.0)[1], labels)


def test_without_references_the_order_within_a_segment_counts(tmp_path, labels):
    path = write_seg(tmp_path / "s.dcm", parts(labels), places=False)
    assert np.array_equal(load_masks(path, fps=30.0)[1], labels)
    path = write_seg(tmp_path / "t.dcm", parts(labels)[:-1], places=False)
    with pytest.raises(FormatError, match="must refer to those of the clip"):
        load_masks(path, fps=30.0)


def test_a_segment_of_something_else_is_refused_without_its_name(tmp_path, labels):
    codes = CODES | {3: ("1", "99X")}
    path = write_seg(tmp_path / "s.dcm", parts(labels), codes=codes, labels=("a", "b", "Miller"))
    with pytest.raises(FormatError, match="segment 3 is another") as caught:
        load_masks(path, fps=30.0)
    assert "Miller" not in str(caught.value)


def test_another_dicom_object_is_refused(tmp_path, labels):
    path = write_seg(tmp_path / "s.dcm", parts(labels))
    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.save_as(path)
    with pytest.raises(FormatError, match="must be a segmentation object"):
        load_masks(path, fps=30.0)


def test_many_tiny_frames_are_read_up_to_what_their_descriptions_take(tmp_path):
    labels = np.random.default_rng(0).integers(0, 4, (220, 2, 3)).astype(np.uint8)
    path = write_seg(tmp_path / "s.dcm", parts(labels), places=False)
    assert np.array_equal(load_masks(path, fps=30.0, max_decoded_gib=0.0101)[1], labels)
    with pytest.raises(FormatError, match=r"660 frames of 2 x 3 .* counts as 16,384 pixels"):
        load_masks(path, fps=30.0, max_decoded_gib=0.01)


def test_a_segmentation_of_a_series_is_refused_whose_frames_it_does_not_tell(tmp_path, labels):
    """Temporal positions count the files with masks alone, so these would be frames 0 and 1."""
    frames = [(1, place, labels[0] == 1) for place in (4, 10)]
    path = write_seg(tmp_path / "seg.dcm", frames, places=False)
    dataset = pydicom.dcmread(path)
    for rank, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        source = item(ReferencedSOPInstanceUID=f"1.9.{frames[rank][1]}")
        groups.DerivationImageSequence = [item(SourceImageSequence=[source])]
        groups.FrameContentSequence = [item(TemporalPositionIndex=rank + 1)]
    dataset.save_as(path)
    with pytest.raises(FormatError, match=r"of a series.*--clip \(masked_clip\), or"):
        load_masks(path)


def test_a_segmentation_belongs_to_a_series_or_to_another(tmp_path, labels):
    write_dicom_series(tmp_path / "clip", moving_frames(14))
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "clip").iterdir()]
    path = write_seg(tmp_path / "seg.dcm", parts(labels))
    dataset = pydicom.dcmread(path)
    for uid, is_own in ((uids[3], True), ("1.2.3.4", False)):
        instance = item(ReferencedSOPInstanceUID=uid)
        dataset.ReferencedSeriesSequence = [item(ReferencedInstanceSequence=[instance])]
        dataset.save_as(path)
        with nullcontext() if is_own else pytest.raises(FormatError, match="another object"):
            check_refers(path, tmp_path / "clip")
    for file in (tmp_path / "clip").iterdir():  # what states no UID contradicts none
        header = pydicom.dcmread(file)
        del header.SOPInstanceUID
        header.save_as(file)
    check_refers(path, tmp_path / "clip")
