"""CAMUS as nnU-Net takes it, and nnU-Net's names of predictions on the way back."""

import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from dataset_makers import SPACING_MM, made_clip
from echoseg import evaluate
from echoseg.clip import Clip, View
from echoseg.data import Record, camus_writer, load_dataset
from echoseg.data.dataset import Dataset
from echoseg.errors import ConfigError, DatasetError
from echoseg.evaluation.onnx_network import OnnxAdapter
from echoseg.evaluation.predictions import PredictionFolder
from experiments.__main__ import app
from experiments.nnunet import write_raw
from experiments.nnunet_onnx import adapter_of

VIEWS = (View.A2C, View.A4C)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three training patients and one for validation, two views each."""
    root = tmp_path_factory.mktemp("camus")
    names = [f"patient000{i}" for i in range(1, 5)]
    for name in names:
        camus_writer.write_patient(root, name, {view: made_clip() for view in VIEWS})
    camus_writer.write_splits(root, {"training": names[:3], "validation": names[3:]})
    return load_dataset(root)


@pytest.fixture(scope="module")
def raw(data, tmp_path_factory):
    return write_raw(data, tmp_path_factory.mktemp("raw") / "nnUNet_raw", num_held_out=1)


def names_in(folder):
    return {path.name for path in folder.iterdir()}


def test_each_training_still_has_an_image_and_its_labels(data, raw):
    cases = {
        f"{record.name}_{phase}" for record in data.split("train").records for phase in ("ED", "ES")
    }
    assert len(cases) == 12 == raw.num_training + raw.num_held_out
    assert names_in(raw.folder / "imagesTr") == {f"{case}_0000.nii.gz" for case in cases}
    assert names_in(raw.folder / "labelsTr") == {f"{case}.nii.gz" for case in cases}
    assert names_in(raw.folder) == {
        "imagesTr", "labelsTr", "imagesTs", "dataset.json", "splits_final.json",
    }  # fmt: skip
    assert names_in(raw.folder.parent) == {raw.folder.name}


def test_validation_patients_are_images_to_predict_and_nothing_else(raw):
    assert names_in(raw.folder / "imagesTs") == {
        f"patient0004_{view}_{phase}_0000.nii.gz"
        for view in ("2CH", "4CH")
        for phase in ("ED", "ES")
    }
    assert raw.num_validation == 4
    assert "patient0004" not in (raw.folder / "splits_final.json").read_text("utf-8")


def test_a_patient_is_held_out_with_all_its_stills(raw):
    (split,) = json.loads((raw.folder / "splits_final.json").read_text("utf-8"))
    patients = {part: {case.split("_")[0] for case in split[part]} for part in ("train", "val")}
    assert patients["val"] == set(raw.held_out) and len(split["val"]) == 4
    assert not patients["val"] & patients["train"] and len(split["train"]) == 8


def test_an_image_keeps_its_pixels_axes_and_spacing(data, raw):
    record = data.split("train").records[0]
    clip, annotation = record.load()
    for part, case, pixels in (
        ("imagesTr", f"{record.name}_ES_0000", clip.frames[annotation.es_frame]),
        ("labelsTr", f"{record.name}_ES", annotation.masks[annotation.es_frame]),
    ):
        image = nib.load(raw.folder / part / f"{case}.nii.gz")
        assert image.ndim == 2 and image.get_data_dtype() == np.uint8
        assert np.array_equal(np.asarray(image.dataobj).T, pixels)
        assert image.header.get_zooms() == pytest.approx(SPACING_MM[::-1])


def test_its_own_reader_sees_the_same(data, raw):
    sitk = pytest.importorskip("SimpleITK")
    record = data.split("train").records[1]
    clip, annotation = record.load()
    image = sitk.ReadImage(str(raw.folder / "imagesTr" / f"{record.name}_ED_0000.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(image), clip.frames[annotation.ed_frame])
    assert image.GetSpacing() == pytest.approx(SPACING_MM[::-1])


def test_the_description_counts_the_cases_and_names_the_labels(raw):
    told = json.loads((raw.folder / "dataset.json").read_text("utf-8"))
    assert told["numTraining"] == 12 and told["file_ending"] == ".nii.gz"
    assert told["labels"] == {
        "background": 0, "lv_cavity": 1, "lv_myocardium": 2, "left_atrium": 3,
    }  # fmt: skip
    assert list(told["channel_names"]) == ["0"]


def test_predictions_in_its_names_come_back_exactly(data, raw, tmp_path):
    """As `nnUNetv2_predict` writes them: the case's name, two dimensions, side files beside."""
    sitk = pytest.importorskip("SimpleITK")
    validation = data.split("validation")
    for record in validation.records:
        _, annotation = record.load()
        for phase, frame in (("ED", annotation.ed_frame), ("ES", annotation.es_frame)):
            name = f"{record.name}_{phase}"
            source = sitk.ReadImage(str(raw.folder / "imagesTs" / f"{name}_0000.nii.gz"))
            image = sitk.GetImageFromArray(annotation.masks[frame].astype(np.uint8))
            image.CopyInformation(source)
            sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    for side_file in ("dataset.json", "plans.json", "predict_from_raw_data_args.json"):
        (tmp_path / side_file).write_text("{}", "utf-8")
    result = evaluate(PredictionFolder(tmp_path), validation.records)
    assert {name: s["dice"]["mean"] for name, s in result.summary["structures"].items()} == {
        "lv_endo": 1, "lv_epi": 1, "la": 1,
    }  # fmt: skip
    assert result.summary["ef"]["mae"] == 0 and not result.problems


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"num_held_out": 3}, "num_held_out must be from 1 to 2 of the 3 training patients, got 3"),
        ({"num_held_out": 0}, "num_held_out must be"),
        ({"name": "CAMUS"}, "name must be DatasetNNN_NAME"),
    ],
)
def test_bad_settings_write_nothing(data, tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        write_raw(data, tmp_path / "raw", **{"num_held_out": 1} | settings)
    assert not (tmp_path / "raw").exists()


def test_what_is_there_is_never_written_over(data, raw):
    with pytest.raises(ConfigError, match="must not exist yet"):
        write_raw(data, raw.folder.parent, num_held_out=1)


def test_a_clip_without_spacing_is_refused_and_nothing_is_left(data, tmp_path):
    clip, annotation = made_clip()
    bare = Record(
        name="bare", patient="x", view=View.A4C, files=(), split="train",
        read=lambda: (Clip(frames=clip.frames), annotation),
    )  # fmt: skip
    mixed = Dataset(name="custom", root=tmp_path, records=(*data.records, bare))
    with pytest.raises(DatasetError, match="bare must have a spacing and masks at ED and ES"):
        write_raw(mixed, tmp_path / "raw", num_held_out=1)
    assert not (tmp_path / "raw").exists()


def test_the_command_says_what_it_wrote_and_refuses_in_one_line(data, tmp_path):
    command = ["nnunet", str(data.root), "-o", str(tmp_path / "raw"), "--num-held-out", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "8 stills to train on, 4 held out" in " ".join(result.output.split())
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2 and "must not exist yet" in " ".join(again.output.split())
    assert "Traceback" not in again.output


# its network as an ONNX file
def plans(**changes):
    configuration = {
        "normalization_schemes": ["ZScoreNormalization"], "spacing": [1.5, 1.5],
        "patch_size": [112, 128],
    }  # fmt: skip
    return {"configurations": {"2d": configuration | changes}}


def test_the_adapter_states_what_nnunet_does_to_a_frame(raw):
    labels = json.loads((raw.folder / "dataset.json").read_text("utf-8"))["labels"]
    adapter = OnnxAdapter.model_validate(adapter_of(plans(), labels))
    assert adapter == OnnxAdapter(spacing_mm=1.5, values="z_score")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"normalization_schemes": ["CTNormalization"]}, "must be one ZScoreNormalization"),
        ({"spacing": [1.5, 1.0]}, "square pixels"),
    ],
)
def test_plans_that_the_adapter_cannot_state_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        adapter_of(plans(**changes), {"background": 0})
