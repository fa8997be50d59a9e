import pytest

from dicom_makers import write_result, write_source
from echoseg.dicom.result import read_result


@pytest.fixture(scope="session")
def dicom_case(tmp_path_factory):
    """Source, result folder and masks of one clip."""
    folder = tmp_path_factory.mktemp("dicom")
    masks = write_source(folder / "clip.dcm")
    write_result(folder / "result", folder / "clip.dcm", masks)
    return folder / "clip.dcm", folder / "result", masks


@pytest.fixture(scope="session")
def dicom_result(dicom_case):
    source, folder, _ = dicom_case
    return read_result(folder, source)
