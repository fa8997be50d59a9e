"""Patient and study as sources state them: other alphabets, broken values, wrong types."""

import warnings

import pydicom
import pytest
from pydicom.charset import python_encoding
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_makers import write_source
from echoseg.dicom.identity import add_identity
from echoseg.dicom.source import read_source
from echoseg.errors import ArgumentError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("identity") / "clip.dcm"
    write_source(path, num_frames=8)
    return path


def identity_of(clip, path, *, charset=None, **elements):
    """What an object states of a clip whose header has elements as (VR, bytes)."""
    dataset = pydicom.dcmread(clip)
    if charset is not None:
        dataset.SpecificCharacterSet = charset
    if charset == "":
        del dataset.SpecificCharacterSet
    for name, (vr, content) in elements.items():
        tag = Tag(name)
        dataset._dict[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path)
    written = pydicom.Dataset()
    written.SpecificCharacterSet = "ISO_IR 192"
    add_identity(written, read_source(path).header)
    return written


@pytest.mark.parametrize(
    ("charset", "encoding", "name"),
    [
        ("ISO_IR 100", "latin-1", "Grün^Ælfgifu"),
        ("ISO_IR 144", "iso8859-5", "Люксембург"),
        ("GB18030", "gb18030", "Wang^XiaoDong=王^小东"),
        ("ISO_IR 192", "utf-8", "Yamada=山田^太郎"),
        ("", "utf-8", "Grün^Ä"),  # not declared
        ("ISO_IR_192", "utf-8", "Grün^Ä"),  # misspelt
        ("", "latin-1", "Grün^Ä"),
    ],
)
def test_names_of_any_alphabet_arrive_as_they_are(clip, tmp_path, charset, encoding, name):
    content = name.encode(encoding)
    content += b" " * (len(content) % 2)
    if charset in python_encoding and charset:  # pydicom encodes it so
        write_source(tmp_path / "s", num_frames=8, charset=charset, PatientName=name)
        dataset = identity_of(tmp_path / "s", tmp_path / "c")
    else:
        dataset = identity_of(clip, tmp_path / "c", charset=charset, PatientName=("PN", content))
    assert str(dataset.PatientName) == name


@pytest.mark.parametrize(
    ("name", "vr", "content", "expected"),
    [
        ("StudyDate", "DA", b"2026.01.02", "20260102"),
        ("StudyDate", "DA", b"yesterda", ""),
        ("StudyDate", "LO", b"20260102", "20260102"),
        ("StudyTime", "TM", b"12:30:15", "123015"),
        ("StudyTime", "TM", b"25:61:00", ""),
        ("PatientSex", "CS", b"female", ""),
        ("PatientSize", "DS", b"tall", None),
        ("PatientAge", "AS", b"62 years", None),
        ("PatientName", "LO", b"Doe^John", "Doe^John"),
        ("PatientName", "UN", b"Doe^John", "Doe^John"),
        ("StudyInstanceUID", "LO", b"1.2.3.4 ", "1.2.3.4"),
        ("PatientID", "LO", b"X" * 80, "X" * 80),
    ],
)
def test_broken_values_are_mended_or_left_out_and_identifiers_stay(
    clip, tmp_path, name, vr, content, expected
):
    dataset = identity_of(clip, tmp_path / "c", **{name: (vr, content)})
    if expected is None:
        assert name not in dataset
    else:
        assert str(dataset[name].value or "") == expected
        assert dataset[name].VR == pydicom.datadict.dictionary_VR(name)


@pytest.mark.parametrize("content", [b"not a uid!", b"1." + b"2" * 70, b"1.2.3\\1.2.4", b""])
def test_a_study_without_a_usable_uid_is_refused(clip, tmp_path, content):
    with pytest.raises(ArgumentError, match="StudyInstanceUID"):
        identity_of(clip, tmp_path / "c", StudyInstanceUID=("UI", content))
