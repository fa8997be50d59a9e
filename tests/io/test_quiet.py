"""Libraries print nothing while a file is read, and are as before afterwards."""

import logging
import warnings

import numpy as np
import pytest

from clip_makers import moving_frames, ultrasound
from echoseg.io import load_clip
from echoseg.io.describe import describe
from echoseg.io.quiet import quiet


def test_warnings_and_logs_of_libraries_end_with_the_reading(capfd):
    warnings.simplefilter("always")
    with quiet():
        warnings.warn("a misspelt character set", stacklevel=1)
        logging.getLogger("pydicom").error("unusual")
        logging.getLogger("nibabel.global").error("pixdim[1,2,3] should be positive")
    out, err = capfd.readouterr()
    assert not out + err
    with pytest.warns(UserWarning):
        warnings.warn("mine", UserWarning, stacklevel=1)
    assert logging.getLogger("nibabel").level == logging.NOTSET


def test_odd_headers_are_read_without_a_line_on_the_terminal(tmp_path, capfd):
    import nibabel

    image = nibabel.Nifti1Image(moving_frames().transpose(2, 1, 0), np.eye(4))
    image.to_filename(tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[80:92] = np.array([-0.5, 0, -3], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    dataset = ultrasound(moving_frames(), SpecificCharacterSet="ISO_IR 192")
    dataset.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    raw = (tmp_path / "b.dcm").read_bytes()
    assert b"ISO_IR 192" in raw
    (tmp_path / "b.dcm").write_bytes(raw.replace(b"ISO_IR 192", b"ISO IR 999"))
    for name in ("a.nii", "b.dcm"):
        load_clip(tmp_path / name, spacing_mm=(0.5, 0.5), fps=30)
        describe(tmp_path / name)
    out, err = capfd.readouterr()
    assert not out + err
