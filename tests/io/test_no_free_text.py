"""Free text of a file's elements is in no message: neither of a refusal nor of a warning."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from clip_makers import moving_frames, region, save_object, ultrasound
from echoseg.clip import Clip
from echoseg.errors import EchosegError, FormatError, reason_of
from echoseg.io import load_clip
from echoseg.io.clip_header import read_clip_header
from echoseg.io.describe import describe

MARK = "ZZNAME"


def messages(path):
    """What reading a file says, in every place that has words of it."""
    said = [read_clip_header(path).no_clip_reason, str(describe(path))]
    try:
        clip = load_clip(path, allow_damaged=True)
    except EchosegError as error:
        return " ".join([*said, str(error).replace(str(path), "")])
    assert isinstance(clip, Clip)
    said += [warning.message for warning in clip.warnings] + [repr(clip.sources)]
    return " ".join(said)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
@pytest.mark.parametrize(
    "keyword",
    ["Modality", "ImageType", "PhotometricInterpretation", "FrameIncrementPointer",
     "NumberOfFrames", "FrameTime", "FrameTimeVector", "CineRate", "HeartRate", "RWaveTimeVector",
     "Rows", "BitsStored", "PlanarConfiguration", "PixelAspectRatio", "SOPClassUID",
     "PixelSpacing", "RecommendedDisplayFrameRate", "SamplesPerPixel",
     "BurnedInAnnotation"],
)  # fmt: skip
def test_a_name_in_any_element_that_is_read_is_repeated_nowhere(tmp_path, keyword):
    dataset = ultrasound(moving_frames(), SequenceOfUltrasoundRegions=[region()])
    path = tmp_path / "a.dcm"
    _write_text(dataset, keyword, path)
    assert MARK.encode() in path.read_bytes()
    assert MARK not in messages(path)


def _write_text(dataset, keyword, path):
    """Write an object whose element is the text, whatever its value representation allows."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.dataelem import DataElement

    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"  # implicit: the reader applies VRs
    dataset[keyword] = DataElement(tag_for_keyword(keyword), "LO", MARK + "  ")
    dataset.save_as(path, enforce_file_format=True, implicit_vr=True, little_endian=True)


@pytest.mark.parametrize("place", ["CodeValue", "CodingSchemeDesignator", "CodeMeaning"])
def test_a_name_in_the_code_of_a_view_is_not_repeated(tmp_path, place):
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "SCT", "a view"
    setattr(code, place, MARK)
    save_object(tmp_path / "a.dcm", moving_frames(), FrameTime=40, ViewCodeSequence=[code])
    said = messages(tmp_path / "a.dcm")
    assert MARK not in said and "not of PS3.16 CID 12226" in said


def test_a_name_in_a_header_of_text_is_not_repeated(tmp_path):
    path = tmp_path / "a.mhd"
    path.write_text(f"NDims = 3\nDimSize = {MARK} 1 1\nElementType = {MARK}\nElementDataFile = x\n")
    assert MARK not in messages(path)
    np.savez(tmp_path / "a.npz", **{MARK: np.zeros((2, 2)), "other": np.zeros(3)})
    assert MARK not in messages(tmp_path / "a.npz")


@pytest.mark.parametrize("kind", [ValueError, KeyError, TypeError, EOFError, OSError, MemoryError])
def test_texts_of_libraries_are_replaced_and_ours_are_kept(kind):
    assert MARK not in reason_of(kind(MARK)) and reason_of(kind(MARK))
    assert reason_of(FileNotFoundError(2, MARK, MARK)) == "No such file or directory"
    assert reason_of(FormatError("the file is empty")) == "the file is empty"


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_class_that_is_any_text_is_not_repeated(tmp_path):  # found by fuzzing
    dataset = ultrasound(moving_frames())
    for name in ("Rows", "Columns"):
        delattr(dataset, name)
    dataset.SOPClassUID = ["1.2.840.10008.5.1.4.1.1.3.1", MARK]
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=False)
    said = messages(tmp_path / "a.dcm")
    assert MARK not in said and "not a known one" in said
