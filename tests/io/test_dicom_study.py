"""Study and day of a DICOM clip: in the clip and its report, and not with an alias."""

import warnings

import pytest
from pydicom.dataset import Dataset

from dicom_makers import write_source
from echoseg import load_clip
from echoseg.inference.analysis import analyze_masks
from echoseg.io.dicom_study import hash_id, read_study

UID = "1.2.3.4"


def test_a_clip_knows_its_study_by_a_hash_and_its_day(tmp_path):
    masks = write_source(tmp_path / "x.dcm", StudyInstanceUID=UID, AcquisitionDate="20260103")
    clip = load_clip(tmp_path / "x.dcm")
    assert (clip.study, clip.acquired_on) == (hash_id(UID), "2026-01-03")
    source = analyze_masks(clip, masks).to_dict()["input"]
    assert (source["study"], source["acquired_on"]) == (hash_id(UID), "2026-01-03")
    assert UID not in str(source)
    hidden = load_clip(tmp_path / "x.dcm", alias="pseudonym")
    assert (hidden.study, hidden.acquired_on) == ("", "")


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ({"StudyDate": "20251231"}, "2025-12-31"),
        ({"StudyDate": "20251231", "ContentDate": "20260101"}, "2026-01-01"),
        ({"StudyDate": "20251231", "AcquisitionDate": ""}, "2025-12-31"),
        ({"StudyDate": "19000101"}, ""),
        ({"StudyDate": "20261332"}, ""),
        ({"StudyDate": "Miller"}, ""),
        ({}, ""),
    ],
)
def test_only_a_day_is_taken_for_one(days, expected):
    dataset = Dataset()
    for name, value in days.items():
        with warnings.catch_warnings(action="ignore"):  # pydicom's, of values that are no dates
            setattr(dataset, name, value)
    assert read_study(dataset) == ("", expected)
