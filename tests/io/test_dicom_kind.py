"""What is not a 2-D clip is refused by name: volumes, sets of planes, stills, spectra, reports."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from clip_makers import moving_frames, region, save_object, ultrasound
from echoseg import load_clip
from echoseg.errors import NotAClipError
from echoseg.io.clip_header import read_clip_header
from echoseg.io.dicom_kind import no_clip_reason

VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
TIME = {"FrameTime": 40.0}


def positions(sequence, name, values):
    groups = []
    for value in values:
        position, group = Dataset(), Dataset()
        setattr(position, name, [0.0, 0.0, value])
        setattr(group, sequence, [position])
        groups.append(group)
    return {"PerFrameFunctionalGroupsSequence": groups}


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"SOPClassUID": VOLUME, **TIME}, "3-D volume .*Enhanced US Volume"),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], **TIME},
            "Image Type is .*VOLUME",
        ),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "0400"], **TIME}, "Image Type is .*0400"),
        ({"ImageType": ["DERIVED", "PRIMARY", "TTE", "0041"], **TIME}, "3-D volume"),
        ({"FrameIncrementPointer": 0x00182005, **TIME}, "names a position"),
        ({"SliceThickness": "1", "SpacingBetweenSlices": "1"}, "SpacingBetweenSlices and no time"),
        (positions("PlanePositionSequence", "ImagePositionPatient", range(6)), "positions that"),
        (positions("PlanePositionVolumeSequence", "ImagePositionVolume", range(6)), "positions"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "0002"], **TIME}, "M-mode"),
        ({"SequenceOfUltrasoundRegions": [region(RegionSpatialFormat=3)], **TIME}, "spectrum"),
        ({"Modality": "CT", **TIME}, "Modality must be US"),
    ],
)
def test_what_is_not_a_clip_of_one_plane_is_refused_by_name(tmp_path, elements, words):
    save_object(tmp_path / "a.dcm", moving_frames(), **elements)
    with pytest.raises(NotAClipError, match=words) as refusal:
        load_clip(tmp_path / "a.dcm")
    assert read_clip_header(tmp_path / "a.dcm").no_clip_reason in str(refusal.value)


@pytest.mark.filterwarnings("ignore:Invalid value")
@pytest.mark.parametrize(
    "elements",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "", "0011"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "EPICARDIAL", "0001"]},
        {"ImageType": ["ORIGINAL", "PRIMARY"]},
        {"SliceThickness": "1"},
        {"FrameIncrementPointer": 0x00181063},
        {"SequenceOfUltrasoundRegions": [region(), region(RegionSpatialFormat=3)]},
        {"SequenceOfUltrasoundRegions": [region(RegionSpatialFormat=5), region()]},
        {"Modality": "us"},
        positions("PlanePositionSequence", "ImagePositionPatient", [1.0] * 6),
    ],
)
def test_a_clip_is_not_taken_for_something_else(tmp_path, elements):
    save_object(tmp_path / "a.dcm", moving_frames(), **TIME, **elements)
    assert read_clip_header(tmp_path / "a.dcm").no_clip_reason == ""
    assert load_clip(tmp_path / "a.dcm").num_frames == 6


def test_a_frame_rate_from_the_user_says_that_the_frames_are_a_sequence(tmp_path):
    save_object(tmp_path / "a.dcm", moving_frames(), SliceThickness="1")
    with pytest.raises(NotAClipError):
        load_clip(tmp_path / "a.dcm")
    assert load_clip(tmp_path / "a.dcm", fps=25).frame_rate_hz == pytest.approx(25)


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_a_broken_element_is_no_evidence():
    dataset = ultrasound(moving_frames())
    dataset.ImageType, dataset.SliceThickness = ["A", "B", "C", "12,5"], None
    assert no_clip_reason(dataset) == ""


def test_patients_are_known_by_a_hash_and_placeholders_are_no_patients(tmp_path):
    headers = []
    for name in ("4711", "4711 ", "4712", "ANONYMOUS", "0000", ""):
        save_object(tmp_path / "a", moving_frames(), PatientID=name, StudyInstanceUID="1.2.3")
        headers.append(read_clip_header(tmp_path / "a"))
    one, same, other, *nobody = (header.patient for header in headers)
    assert one == same != other and nobody == ["", "", ""] and "4711" not in one
    assert len({header.study for header in headers}) == 1


def test_masks_beside_frames_are_passed_over_and_masks_alone_refused(tmp_path):
    from PIL import Image

    frames = moving_frames(12)
    masks = np.where(frames > 150, 255, 0).astype(np.uint8)
    for place, names in (
        ("suffix", ("f{:03}.png", "f{:03}_mask.png")),
        ("prefix", ("image{}.png", "gt{}.png")),
    ):
        folder = tmp_path / place
        folder.mkdir()
        for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
            Image.fromarray(frame).save(folder / names[0].format(index))
            Image.fromarray(mask).save(folder / names[1].format(index))
        clip = load_clip(folder)
        np.testing.assert_array_equal(clip.frames, frames)
        assert [warning.code for warning in clip.warnings] == [
            "masks_left_out",
            "assumed_frame_rate",
        ]
    for index, mask in enumerate(masks):
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{index}.png")
    with pytest.raises(NotAClipError, match="values of label maps"):
        load_clip(tmp_path / "masks")


def test_frames_of_two_clips_in_one_folder_are_refused(tmp_path):
    from PIL import Image

    for index, frame in enumerate(moving_frames(4)):
        Image.fromarray(frame).save(tmp_path / f"left{index}.png")
        Image.fromarray(frame.T).save(tmp_path / f"right{index}.png")
    with pytest.raises(Exception, match=r"2 kinds, such as left0\.png and right0\.png"):
        load_clip(tmp_path)


@pytest.mark.parametrize("steps", [(0.5, 0.5, 0.5), (0.4, 0.4, 0.6)])
def test_an_array_that_is_a_volume_is_refused_unless_the_user_gives_its_rate(tmp_path, steps):
    from nibabel.nifti1 import Nifti1Image

    frames = moving_frames(30)
    image = Nifti1Image(frames.transpose(2, 1, 0), np.diag([*steps, 1.0]))
    image.header.set_xyzt_units("mm")
    image.to_filename(tmp_path / "a.nii")
    spacing = " ".join(map(str, steps))
    (tmp_path / "a.mha").write_bytes(
        f"NDims = 3\nDimSize = 64 48 30\nElementSpacing = {spacing}\nElementType = MET_UCHAR\n"
        "ElementDataFile = LOCAL\n".encode()
        + frames.tobytes()
    )
    for name in ("a.nii", "a.mha"):
        with pytest.raises(NotAClipError, match="as of a 3-D volume"):
            load_clip(tmp_path / name)
        assert load_clip(tmp_path / name, fps=25).num_frames == 30


@pytest.mark.parametrize("names", [["IM_1"], ["IM_1", "IM_2", "IM_3"]])
def test_a_directory_of_a_disc_tells_how_many_of_its_files_are_missing(tmp_path, names):
    (tmp_path / "DICOM").mkdir()
    save_object(tmp_path / "DICOM" / "IM_1", moving_frames())
    records = [Dataset() for _ in [*names, "patient"]]  # a record of a patient names no file
    for record, name in zip(records, names, strict=False):
        record.ReferencedFileID = ["DICOM", name]
    known = {"SOPClassUID": "1.2.840.10008.1.3.10", "DirectoryRecordSequence": records}
    save_object(tmp_path / "DICOMDIR", **known)
    reason = read_clip_header(tmp_path / "DICOMDIR").no_clip_reason
    assert reason.startswith("this is the directory (DICOMDIR) of a study")
    assert ("2 of the 3 files that it lists are not there" in reason) == (len(names) > 1)
