"""The table of several tools: scores by view, and paired differences that are known."""

import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from dataset_makers import made_clip
from echoseg import evaluate
from echoseg.clip import View
from echoseg.data import camus_writer, load_dataset
from echoseg.errors import DatasetError, ModelError
from echoseg.evaluation.predictors import Predicted
from experiments.__main__ import app
from experiments.compared import differences, read_evaluation, tables


class Shrunk:
    """The experts' masks without some rows of the cavity; more in one view."""

    name, labels, protocol = "shrunk", None, {}

    def __init__(self, rows):
        self.rows = rows

    def about(self):
        return dict.fromkeys(("name", "sha256", "architecture", "image_size", "licence"), "")

    def predict(self, record, clip, annotation):
        masks = annotation.masks.copy()
        for mask in masks:
            lit = np.flatnonzero((mask == 1).any(1))
            mask[lit[: self.rows * (1 + (record.view is View.A4C))]] = 0
        return Predicted(masks)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("camus")
    names = [f"patient000{i}" for i in range(1, 4)]
    for name in names:
        camus_writer.write_patient(root, name, {view: made_clip() for view in (View.A2C, View.A4C)})
    camus_writer.write_splits(root, {"validation": names})
    data = load_dataset(root)
    for rows, name in ((0, "exact"), (2, "shrunk")):
        evaluate(Shrunk(rows), data, split="validation").save(root / name)
    return root / "exact", root / "shrunk"


def test_differences_are_paired_by_patient_and_told_apart_by_view(folders):
    exact, shrunk = (read_evaluation(folder.name, folder) for folder in folders)
    found = differences(exact, shrunk)
    assert found["A4C", "lv_endo"].mean < found["A2C", "lv_endo"].mean < 0
    own = [
        points
        for (view, what, _), points in shrunk.points.items()
        if (view, what) == ("A4C", "lv_endo")
    ]
    assert found["A4C", "lv_endo"].mean == pytest.approx(np.mean(own) - 100)
    assert found["A2C", "lv_endo"].num_patients == 3
    assert found["A2C", "la"].mean == 0
    assert found["A4C", "ef"].mean > 0


def test_the_table_has_a_row_per_view_and_tool(folders):
    exact, shrunk = (read_evaluation(folder.name, folder) for folder in folders)
    lines = tables(exact, [shrunk])
    assert [line.split(" | ")[:3] for line in lines[2:6:2]] == [
        ["| exact", "A2C", "1.000 [1.000 to 1.000]"], ["| exact", "A4C", "1.000 [1.000 to 1.000]"],
    ]  # fmt: skip
    assert sum(line.startswith("| shrunk") for line in lines) == 2 + 4


class Losing(Shrunk):
    """As `Shrunk`; segments no cavity, or gives no masks, for patients from a number on."""

    def __init__(self, first, has_masks=True):
        super().__init__(2)
        self.first, self.has_masks = first, has_masks

    def predict(self, record, clip, annotation):
        predicted = super().predict(record, clip, annotation)
        if int(record.patient[-1]) < self.first:
            return predicted
        if not self.has_masks:
            raise ModelError(f"{record.name}: no masks")
        return Predicted(np.where(predicted.masks == 1, 0, predicted.masks))


@pytest.mark.parametrize(
    ("tool", "ef", "differences_n"),
    [
        (Losing(3), ", n 2 of 3", {"LV ": "", r"\|EF": ", n 2 of 3"}),
        (Losing(3, False), ", n 2 of 3", {"LV ": ", n 2 of 3", r"\|EF": ", n 2 of 3"}),
        (Losing(1), "no EF of 3", {"LV ": "", r"\|EF": "-"}),
    ],
    ids=["no cavity", "no masks", "no EF at all"],
)
def test_what_a_tool_lost_shows_in_its_rows(folders, tmp_path, tool, ef, differences_n):
    data = load_dataset(folders[0].parent)
    evaluate(tool, data, split="validation").save(tmp_path / "losing")
    exact = read_evaluation("exact", folders[0])
    lines = tables(exact, [read_evaluation("losing", tmp_path / "losing")])
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    (ours, theirs) = ([row[-1] for row in rows if row[0] == name] for name in ("exact", "losing"))
    assert not any(" n " in cell for cell in ours)
    assert all(cell.endswith(ef) for cell in theirs[:2])
    for name, n in differences_n.items():
        line = next(line for line in lines if line.startswith(f"| losing | {name}"))
        assert line.endswith(f"{n} |") and line.count(" n ") == 2 * n.count(" n ")


def test_evaluations_of_other_data_and_other_folders_are_refused(folders, tmp_path):
    exact = read_evaluation("exact", folders[0])
    other = read_evaluation("other", folders[1])
    other.summary["data"]["sha256"] = "0"
    with pytest.raises(DatasetError, match="must be evaluated on the same data"):
        tables(exact, [other])
    with pytest.raises(DatasetError, match=r"must be a result of echoseg evaluate|is not a result"):
        read_evaluation("none", tmp_path)


def test_published_results_without_clips_have_no_difference_of_the_ef(folders, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(folders[1], bare)
    (bare / "clips.csv").unlink()
    lines = tables(read_evaluation("exact", folders[0]), [read_evaluation("bare", bare)])
    assert lines[-1].endswith("| - | - |")


def test_the_command_needs_names_and_two_folders(folders):
    def run(*words):
        result = CliRunner().invoke(app, ["compared", *words])
        return result.exit_code, result.output

    code, text = run(f"a={folders[0]}", f"b={folders[1]}")
    assert code == 0 and "| b |" in text
    code, text = run(f"a={folders[0]}")
    assert code == 2 and "two or more NAME=FOLDER" in " ".join(text.split())
