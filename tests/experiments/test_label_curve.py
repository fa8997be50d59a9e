"""The cells of the label-efficiency experiment, and its command."""

from inspect import signature

from typer.testing import CliRunner

from curve_makers import SMALL, begin, put, put_all, small_curve
from echoseg.files import write_json
from echoseg.train.config import method_class
from experiments.__main__ import app
from experiments.cells import Cost, cell_folder
from experiments.label_curve import METHODS, curve_markdown
from experiments.summary import summarize


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


def test_without_labels_masks_come_from_simulated_clips_alone():
    curve = small_curve(fractions=(0.0, 0.25))
    configs = {cell.column: curve.train_config(cell) for cell in curve.cells()}
    assert configs["0"].labeled_fraction == 0 and configs["0"].extra_data == ("phantom:400",)
    assert configs["0.25"].extra_data == ()
    curve = small_curve(fractions=(0.0, 0.25), settings=SMALL | {"extra_data": ["phantom:9"]})
    given = {curve.train_config(cell).extra_data for cell in curve.cells()}
    assert given == {("phantom:9",)}


def options_of(config):
    parameters = signature(method_class(config.method)).parameters
    return {name: config.method_options.get(name, p.default) for name, p in parameters.items()}


def test_no_two_rows_are_the_same_method():
    for names, same in ((METHODS, 0), (("mssnet", "rac_only"), 1)):
        curve = small_curve(methods=names, num_seeds=1, fractions=(0.25,))
        configs = [curve.train_config(cell) for cell in curve.cells()]
        assert len({(c.method, str(options_of(c))) for c in configs}) == len(names) - same


def test_a_common_start_and_frame_sparse_labels_are_settings_of_every_cell():
    settings = SMALL | {"init_from": "phantom", "num_steps": 2, "labeled_frames": "ed_es"}
    curve = small_curve(methods=METHODS, data=("animated:folder",), settings=settings)
    configs = [curve.train_config(cell) for cell in curve.cells()]
    assert len(configs) == 9 and {config.init_from for config in configs} == {"phantom"}
    assert {config.labeled_frames for config in configs} == {"ed_es"}
    assert len({config.num_labeled for config in configs}) == 1
    by_options = {str(config.method_options) for config in configs}
    assert {"{'rac': False, 'doc': True}", "{'doc': True}", "{}"} == by_options


def test_views_machines_and_detectable_effects_stand_in_the_tables(tmp_path):
    curve = small_curve(num_seeds=2)
    begin(curve, tmp_path)
    for index, cell in enumerate(curve.cells()):
        put(curve, tmp_path, cell, {"a": 0.9 - 0.01 * index, "b": 0.8, "c": 0.7 + 0.02 * index})
        place = cell_folder(tmp_path, cell)
        rows = (place / "eval-0" / "items.csv").read_text().splitlines()
        rows = [
            rows[0],
            *(row.replace("b,b,", "b,b,A2C").replace("a,a,", "a,a,A4C") for row in rows[1:]),
        ]
        (place / "eval-0" / "items.csv").write_text("\n".join(rows) + "\n")
        cost = Cost(num_steps=2, cpu_s=60, machine=f"machine {index // 2}", commit="abc")
        write_json(place / "cost.json", cost)
    text = curve_markdown(summarize(curve, tmp_path))
    assert "lv_endo, A4C: Dice" in text and "lv_endo, A2C: Dice" in text
    assert "machine 0, commit abc: 2.0 CPU minutes for supervised 0.25 seed 0, mssnet" in text
    assert "detectable" in text


def test_complete_cells_are_drawn(tmp_path):
    put_all(small_curve(), tmp_path)
    done = CliRunner().invoke(app, ["curve", "--draw", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "2 of 2 cells are complete" in done.stdout
    names = {path.name for path in tmp_path.iterdir()}
    assert {"table.md", "table.csv", "figure.png", "summary.json"} <= names


def test_the_table_of_frame_sparse_labels_says_so_and_has_every_method(tmp_path):
    settings = SMALL | {"labeled_frames": "ed_es"}
    curve = small_curve(methods=METHODS, fractions=(0.5, 1.0), settings=settings)
    text = curve_markdown(summarize(put_all(curve, tmp_path), tmp_path))
    assert "only the masks of ED and ES are used" in text
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == ["| labeled patients", "50 %", "100 % |"]
    assert [row[0][2:] for row in rows[2:11]] == list(METHODS)
    (tmp_path / "whole").mkdir()
    whole = put_all(small_curve(), tmp_path / "whole")
    assert "ED and ES" not in curve_markdown(summarize(whole, tmp_path / "whole"))
