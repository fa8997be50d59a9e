"""The view that a DICOM object names is read; others are told of; --view wins."""

import numpy as np
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset

from echoseg.clip import Clip, View
from echoseg.io import dicom_writer, load_clip


def written(path, view=View.UNKNOWN):
    frames = np.random.default_rng(0).integers(0, 255, (3, 48, 64), dtype=np.uint8)
    dicom_writer.write(path, Clip(frames=frames, times_s=np.arange(3) / 30, view=view))
    return path


def coded(path, value, scheme, meaning):
    dataset = dcmread(written(path))
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    dataset.ViewCodeSequence = [code]
    dcmwrite(path, dataset)
    return path


@pytest.mark.parametrize("view", list(View))
def test_what_is_written_is_read(tmp_path, view):
    assert load_clip(written(tmp_path / "clip.dcm", view)).view == view


@pytest.mark.parametrize(
    ("value", "scheme", "view"),
    [
        ("399214001", "SCT", View.A4C),
        ("G-A19C", "SRT", View.A4C),
        ("G-A19B", "SRT", View.A2C),
        ("399271003", "SCT", View.PSAX),
    ],
)
def test_codes_of_both_schemes_are_known(tmp_path, value, scheme, view):
    assert load_clip(coded(tmp_path / "clip.dcm", value, scheme, "a view")).view == view


def test_a_view_without_a_word_here_is_told_unless_the_user_says_it(tmp_path):
    path = coded(tmp_path / "clip.dcm", "399310008", "SCT", "Subcostal long axis")
    clip = load_clip(path)
    assert clip.view == View.UNKNOWN
    assert [w.code for w in clip.warnings] == ["view_in_file"]
    assert "Subcostal long axis" in clip.warnings[0].message
    told = load_clip(path, view=View.A4C)
    assert told.view == View.A4C
    assert not told.warnings


def test_an_empty_code_is_no_view(tmp_path):
    path = written(tmp_path / "clip.dcm")
    dataset = dcmread(path)
    dataset.ViewCodeSequence = []
    dcmwrite(path, dataset)
    clip = load_clip(path)
    assert clip.view == View.UNKNOWN
    assert not clip.warnings
