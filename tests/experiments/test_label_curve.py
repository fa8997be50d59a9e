import pytest

from curve_makers import SMALL, put, small_curve
from echoseg.data import Issue, IssueKind
from echoseg.errors import ConfigError, OutputError
from echoseg.evaluation.tables import table_text
from echoseg.files import locked_dir
from echoseg.metrics.agreement import mean_interval
from experiments.curve_figure import label_curve_png
from experiments.label_curve import (
    NOT_JUDGED,
    Cell,
    begin,
    is_done,
    read,
    run_cell,
    run_curve,
)
from experiments.label_table import markdown, summary


def test_nothing_but_the_supervised_way_runs_where_all_is_labelled():
    curve = small_curve(labels=(0.25, 1.0), num_seeds=2)
    names = [cell.name for cell in curve.cells()]
    assert names == [
        "supervised-25pct-seed0", "mssnet-25pct-seed0", "supervised-100pct-seed0",
        "supervised-25pct-seed1", "mssnet-25pct-seed1", "supervised-100pct-seed1",
    ]  # fmt: skip


def test_what_is_named_twice_runs_once():
    curve = small_curve(recipes=("mssnet", "mssnet"), labels=(0.25, 0.25))
    assert [cell.name for cell in curve.cells()] == ["mssnet-25pct-seed0"]


def test_every_way_runs_where_the_frames_between_are_unlabelled():
    curve = small_curve(labels=(1.0,), settings=SMALL | {"labeled_frames": "ed_es"})
    assert [cell.recipe for cell in curve.cells()] == ["supervised", "mssnet"]


def test_every_way_sees_the_same_patients_of_a_seed():
    curve = small_curve(num_seeds=2)
    runs = [curve.run_of(cell) for cell in curve.cells()]
    assert [run.split_seed for run in runs] == [0, 0, 1, 1]
    assert len({run.num_labeled + run.num_unlabeled for run in runs}) == 1


@pytest.mark.slow
def test_a_curve_is_run_once_and_a_cut_cell_goes_on(tmp_path, monkeypatch):
    curve = small_curve(settings=SMALL | {"num_steps": 4, "save_every": 2})
    first, second = curve.cells()
    begin(curve, tmp_path)

    def cut(self, *args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("echoseg.train.run_folder.RunFolder.write_model", cut)
        with pytest.raises(KeyboardInterrupt):
            run_cell(curve, tmp_path, False, first)
    assert not is_done(tmp_path, first)
    seen = []
    run_curve(curve, tmp_path, report=lambda done: seen.append(done.cell))
    assert seen == [first, second]
    held = {path.name for path in (tmp_path / "runs" / first.name).iterdir()}
    assert held == {"items.csv", "log.jsonl", "run.json"}
    run_curve(curve, tmp_path, report=lambda done: seen.append(done.cell))
    assert len(seen) == 2
    told = summary(curve, tmp_path)
    assert told["num_done"] == 2
    assert {score["structure"] for score in told["scores"]} == {"lv_endo", "lv_epi", "la", "mean"}


def test_scores_and_gains_are_means_over_seeds_paired_by_item(tmp_path):
    curve = small_curve(num_seeds=2)
    begin(curve, tmp_path)
    ours = [{"a": 0.90, "b": 0.70}, {"a": 0.92, "b": 0.72}]
    theirs = [{"a": 0.88, "b": 0.60}, {"a": 0.88, "b": 0.64}]
    for seed in (0, 1):
        put(tmp_path, Cell(recipe="mssnet", labels=0.25, seed=seed), ours[seed])
        put(tmp_path, Cell(recipe="supervised", labels=0.25, seed=seed), theirs[seed])
    told = summary(curve, tmp_path)
    score = next(s for s in told["scores"] if s["recipe"] == "mssnet")
    assert score["dice"] == pytest.approx(0.81)
    assert score["sd_of_seeds"] == pytest.approx(0.02 / 2**0.5)
    assert score["failed_share"] == 0.5
    assert score["hd95"] == 2
    gain = next(g for g in told["gains"] if g["structure"] == "lv_endo")
    assert gain["gain"] == pytest.approx((0.03 + 0.09) / 2)
    assert gain["ci95"] == pytest.approx(mean_interval([0.03, 0.09], ["a", "b"]))
    assert "| supervised | lv_endo | +6.00" in markdown(told)
    assert label_curve_png(told).startswith(b"\x89PNG")


def test_clips_that_could_not_be_judged_are_told(tmp_path):
    curve = small_curve(recipes=("supervised",))
    begin(curve, tmp_path)
    (cell,) = curve.cells()
    put(tmp_path, cell, {"a": 0.9})
    problem = Issue(place="clip7", kind=IssueKind.BROKEN, reason="cut")
    (tmp_path / "runs" / cell.name / NOT_JUDGED).write_text(table_text([problem], Issue))
    told = summary(curve, tmp_path)
    assert told["not_judged"] == ["clip7"]
    assert "1 clips could not be judged" in markdown(told)


@pytest.mark.parametrize("kind", [ConfigError, KeyError])
def test_a_curve_that_fails_at_once_leaves_the_folder_as_it_was(tmp_path, monkeypatch, kind):
    def fails(*args):
        raise kind("no")

    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr("experiments.label_curve.run_training", fails)
        with pytest.raises(kind):
            run_curve(small_curve(), out)
        assert not out.exists()
        begin(small_curve(), out := tmp_path)
        before = (out / "curve.json").read_bytes()
        with pytest.raises(kind):
            run_curve(small_curve(num_seeds=2), out)
    assert (out / "curve.json").read_bytes() == before


def test_two_at_once_in_one_folder_are_refused(tmp_path):
    with locked_dir(tmp_path), pytest.raises(OutputError, match="in use by another process"):
        run_curve(small_curve(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_path_may_be_written_in_any_way(tmp_path):
    begin(small_curve(data=("d1",), judge="d1"), tmp_path)
    begin(small_curve(data=("./d1/",), judge="x/../d1"), tmp_path)


def test_another_experiment_in_the_folder_is_refused_and_a_larger_one_is_not(tmp_path):
    begin(small_curve(), tmp_path)
    begin(small_curve(labels=(0.5,), num_seeds=3), tmp_path)
    assert read(tmp_path).labels == (0.25, 0.5)
    with pytest.raises(ConfigError, match="settings"):
        begin(small_curve(settings=SMALL | {"num_steps": 3}), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(ConfigError, match="holds other files"):
        begin(small_curve(), tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"recipes": ("mssnett",)}, "did you mean mssnet"),
        ({"settings": {"num_step": 3}}, "did you mean num_steps"),
        ({"settings": {"seed": 3}}, "settings must leave seed to the experiment"),
        ({"labels": (0.0,)}, "labeled_fraction"),
        ({"labels": (float("nan"),)}, "must be a finite number"),
        ({"judge": "phantom:test"}, "give --judge phantom --split test"),
        ({"judge": ""}, "judge must be .*got ''"),
        ({"num_seeds": 0}, "num_seeds must be greater than or equal to 1, got 0"),
        ({"settings": {"architecture": {"size": "huge"}}}, "architecture.size must be .*'huge'"),
        ({"settings": {"architecture": {"sice": "tiny"}}}, "did you mean size"),
        ({"settings": {"init_from": "camus", "model": "unet"}}, "must be left out with init_from"),
        ({"settings": {"num_steps": "many"}}, "num_steps must be a valid integer"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(changes, told):
    with pytest.raises(ConfigError, match=told):
        small_curve(**changes)
