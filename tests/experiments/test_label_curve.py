"""The cells of the label-efficiency experiment, and its command."""

from typer.testing import CliRunner

from curve_makers import SMALL, put_all, small_curve
from experiments.__main__ import app


def test_only_the_supervised_method_runs_where_all_is_labeled():
    curve = small_curve(fractions=(0.25, 1.0), num_seeds=2)
    assert [cell.name for cell in curve.cells()] == [
        "supervised-25pct-seed0", "mssnet-25pct-seed0", "supervised-100pct-seed0",
        "supervised-25pct-seed1", "mssnet-25pct-seed1", "supervised-100pct-seed1",
    ]  # fmt: skip


def test_every_method_runs_where_the_frames_between_are_unlabeled():
    curve = small_curve(fractions=(1.0,), settings=SMALL | {"labeled_frames": "ed_es"})
    assert [cell.row for cell in curve.cells()] == ["supervised", "mssnet"]


def test_every_method_gets_the_same_patients_of_a_seed():
    curve = small_curve(num_seeds=2)
    configs = [curve.train_config(cell) for cell in curve.cells()]
    assert [config.split_seed for config in configs] == [0, 0, 1, 1]
    assert {config.labeled_fraction for config in configs} == {0.25}
    assert len({config.num_labeled + config.num_unlabeled for config in configs}) == 1


def test_complete_cells_are_drawn(tmp_path):
    put_all(small_curve(), tmp_path)
    done = CliRunner().invoke(app, ["curve", "--draw", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "2 of 2 cells are complete" in done.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert {"table.md", "table.csv", "figure.png", "summary.json"} <= names
