import nibabel
import numpy as np
import pytest

from echoseg.data import camus
from echoseg.errors import DatasetError


def make_copy(root, patients=("patient0001", "patient0002")):
    """Write CAMUS's layout with two made-up stills a patient; axes are (x, y) as in the release."""
    (root / "database_split").mkdir(parents=True)
    (root / "database_split" / "subgroup_training.txt").write_text("\n".join(patients) + "\n")
    rng = np.random.default_rng(0)
    for patient in patients[:-1] if len(patients) > 2 else patients:
        folder = root / "database_nifti" / patient
        folder.mkdir(parents=True)
        for phase in ("ED", "ES"):
            for suffix, top in (("", 256), ("_gt", 4)):
                data = rng.integers(0, top, (30, 20), dtype=np.uint8)
                image = nibabel.Nifti1Image(data, np.diag([0.3, 0.15, 1, 1]))
                nibabel.save(image, folder / f"{patient}_4CH_{phase}{suffix}.nii.gz")


def test_stills_come_as_row_and_column_with_their_own_spacing(tmp_path):
    make_copy(tmp_path)
    data = camus.collect(tmp_path).split("train")
    assert [r.name for r in data.records] == ["patient0001_4CH", "patient0002_4CH"]
    clip, annotation = data[1]
    path = tmp_path / "database_nifti" / "patient0002" / "patient0002_4CH_ED.nii.gz"
    assert clip.frames.shape == annotation.masks.shape == (2, 20, 30)
    assert (annotation.ed_frame, annotation.es_frame) == (0, 1)
    assert np.array_equal(clip.frames[0], np.asarray(nibabel.load(path).dataobj).T)
    assert clip.spacing_mm == pytest.approx((0.15, 0.3))


def test_patients_that_are_listed_and_absent_are_left_out(tmp_path):
    make_copy(tmp_path, ("patient0001", "patient0002", "patient0039"))
    data = camus.collect(tmp_path)
    assert [record.patient for record in data.records] == ["patient0001", "patient0002"]
    assert "1 of the 3 patients of subgroup_training.txt are absent" in data.notes


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is truncated or broken"),
        (b"no gzip at all", "is truncated or broken"),
        ("half", "is truncated or broken"),
        ("flipped", "is truncated or broken"),
        ("frames", "must have its image's size, 20 x 30, it has 2 x 20 x 30"),
        ("small", "must have its image's size"),
    ],
)
def test_a_patient_with_a_bad_file_is_named(tmp_path, data, said):
    make_copy(tmp_path)
    path = tmp_path / "database_nifti" / "patient0002" / "patient0002_4CH_ES_gt.nii.gz"
    good = path.read_bytes()
    sizes = {"frames": (30, 20, 2), "small": (30, 19)}
    if data in sizes:
        nibabel.save(nibabel.Nifti1Image(np.zeros(sizes[data], np.uint8), np.eye(4)), path)
    else:
        flipped = good[:20] + bytes(255 - byte for byte in good[20:])
        path.write_bytes({"half": good[: len(good) // 2], "flipped": flipped}.get(data, data))
    with pytest.raises(DatasetError, match=f"patient0002_4CH_ES_gt.nii.gz {said}"):
        list(camus.collect(tmp_path).split("train"))


def test_a_picture_with_values_that_are_no_numbers_is_refused(tmp_path):
    make_copy(tmp_path)
    path = tmp_path / "database_nifti" / "patient0002" / "patient0002_4CH_ED.nii.gz"
    picture = np.full((30, 20), 100, np.float32)
    picture[3, 4] = np.nan
    nibabel.save(nibabel.Nifti1Image(picture, np.eye(4)), path)
    with pytest.raises(DatasetError, match=r"must hold grey levels 0 to 255, it has nan"):
        list(camus.collect(tmp_path).split("train"))
