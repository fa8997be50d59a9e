"""The grid that both experiments share: resuming, damage, refusals, one items table."""

import numpy as np
import pytest
from typer.testing import CliRunner

from animated_makers import write_camus
from curve_makers import SMALL, begin, put, put_all, small_bench, small_curve
from echoseg.data import Issue, IssueKind
from echoseg.errors import ConfigError, DatasetError, ModelError, OutputError
from echoseg.evaluation.tables import table_text
from echoseg.files import locked_dir
from echoseg.train.loop import Progress
from echoseg.train.run_folder import RunFolder, resume_states
from experiments import cells, grid
from experiments.__main__ import app
from experiments.cells import FAILED, cell_folder, damage, is_complete, run_cell
from experiments.eval_sets import eval_records
from experiments.figures import curve_png
from experiments.grid import read_experiment, run_grid
from experiments.label_curve import LabelCurve, curve_markdown
from experiments.paired import paired_mean
from experiments.summary import summarize


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_scores_and_differences_are_means_over_seeds_paired_by_item(tmp_path):
    curve = small_curve(num_seeds=2)
    begin(curve, tmp_path)
    dice = {
        "mssnet": [{"a": 0.90, "b": 0.70}, {"a": 0.92, "b": 0.72}],
        "supervised": [{"a": 0.88, "b": 0.60}, {"a": 0.88, "b": 0.64}],
    }
    for cell in curve.cells():
        put(curve, tmp_path, cell, dice[cell.row][cell.seed])
    summary = summarize(curve, tmp_path)
    scores = {(s["row"], s["structure"]): s for s in summary["scores"]}
    score = scores["mssnet", "lv_endo"]
    assert score["dice"] == pytest.approx(0.81)
    assert score["sd_of_seeds"] == pytest.approx(0.02 / 2**0.5)
    assert (score["failed_fraction"], score["hd95"], score["num_seeds"]) == (0.5, 2, 2)
    assert score["difference"] is None  # the reference itself
    other = scores["supervised", "lv_endo"]
    assert other["difference"] == pytest.approx(-(0.03 + 0.09) / 2)
    table = np.array([[-0.02, -0.10], [-0.04, -0.08]])
    assert other["difference_ci95"] == pytest.approx(paired_mean(table).ci95)
    assert other["smallest_effect"] == pytest.approx(paired_mean(table).smallest_effect)
    assert other["p_value"] is None  # two patients are too few to rank
    assert scores["supervised", "mean"]["dice"] == pytest.approx(other["dice"])
    assert "| supervised | -6.00" in curve_markdown(summary)
    assert curve_png(summary).startswith(b"\x89PNG")


def test_clips_that_could_not_be_evaluated_are_reported(tmp_path):
    curve = put_all(small_curve(methods=("supervised",)), tmp_path)
    (cell,) = curve.cells()
    problem = Issue(place="clip7", kind=IssueKind.BROKEN, reason="cut")
    path = cell_folder(tmp_path, cell) / "eval-0" / FAILED
    path.write_text(table_text([problem], Issue))
    summary = summarize(curve, tmp_path)
    assert summary["failed_clips"] == ["clip7"]
    assert "1 clips could not be evaluated: clip7." in curve_markdown(summary)


@pytest.mark.slow
def test_a_curve_runs_once_and_an_interrupted_cell_resumes(tmp_path, monkeypatch):
    settings = SMALL | {"num_steps": 4, "save_every": 2, "architecture": {"size": "tiny"}}
    curve = small_curve(settings=settings)
    first, second = curve.cells()
    begin(curve, tmp_path)

    def interrupt(self, *words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("echoseg.train.run_folder.RunFolder.write_model", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_cell(curve, tmp_path, False, first)
    assert not is_complete(curve, tmp_path, first)
    assert any(cell_folder(tmp_path, first).glob("resume-*.safetensors"))
    lines = []
    run_grid(curve, tmp_path, report=lines.append)
    assert [line.split("  ")[1] for line in lines] == [first.name, second.name]
    names = {path.name for path in cell_folder(tmp_path, first).iterdir()}
    assert names == {"eval-0", "cost.json", "log.jsonl", "run.json"}
    run_grid(curve, tmp_path, report=lines.append)
    assert len(lines) == 2
    summary = summarize(curve, tmp_path)
    assert summary["num_complete"] == 2
    structures = {score["structure"] for score in summary["scores"]}
    assert structures == {"lv_endo", "lv_epi", "la", "mean"}


class FakeTraining:
    """Stands in for `run_training`: 1 s of CPU and 2 s of wall clock per step of 100.

    It reports every 50 steps and saves every 25; at each of `stops` it is interrupted, which saves,
    or killed, which leaves the files as they were.
    """

    def __init__(self, *stops):
        self.stops, self.cpu_s = list(stops), 0.0

    def process_time(self):
        return self.cpu_s

    def monotonic(self):
        return 2 * self.cpu_s

    def __call__(self, config, folder, *, report=lambda progress: None, components):
        if config is not None:
            RunFolder(folder).begin(config, 0)
        states = [int(path.stem[-6:]) for path in resume_states(folder)]
        for step in range(max(states, default=0) + 1, 101):
            self.cpu_s += 1
            if step % 50 == 0:
                report(Progress(step=step, num_steps=100, values={}, left_s=0))
            stop = self.stops[0] if self.stops and self.stops[0][1] == step else None
            if step % 25 == 0 or (stop and stop[0] == "interrupted"):
                (folder / f"resume-{step:06}.safetensors").touch()
            if stop:
                self.stops.pop(0)
                raise KeyboardInterrupt if stop[0] == "interrupted" else MemoryError
        return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("stops", "cpu_s"),
    [
        ([], 100),
        ([("interrupted", 60)], 100),
        ([("interrupted", 10), ("interrupted", 60), ("interrupted", 61)], 100),
        ([("killed", 70)], 100),  # the 20 steps after the last state are taken again
        ([("killed", 90)], 100),  # the last state is after the last report
        ([("killed", 70), ("interrupted", 80), ("killed", 99)], 100),
        ([("killed", 40)], 75),  # before the first report
    ],
)
def test_the_cost_of_a_cell_is_that_of_all_its_parts(tmp_path, monkeypatch, stops, cpu_s):
    training = FakeTraining(*stops)
    monkeypatch.setattr(cells, "time", training)
    monkeypatch.setattr(cells, "run_training", training)
    curve = small_curve()
    cell, folder = curve.cells()[0], tmp_path / "cell"
    for kind, _ in stops:
        spent = folder / "spent.json"
        with monkeypatch.context() as patched, pytest.raises((KeyboardInterrupt, MemoryError)):
            if kind == "killed":
                patched.setattr(cells.Meter, "stop", lambda meter: None)
            cells._train(curve, folder, cell)
        assert spent.exists() or kind == "killed"
    cells._train(curve, folder, cell)
    cost = cells.read_cost(folder)
    assert (cost.cpu_s, cost.wall_s) == pytest.approx((cpu_s, 2 * cpu_s))
    assert not list(folder.glob("resume-*")) and not (folder / "spent.json").exists()


DAMAGES = [
    ("cost.json", "{"),
    ("cost.json", "{}"),
    ("cost.json", None),
    ("eval-0/items.csv", "clip,patient"),
    ("eval-1/items.csv", ""),
]


@pytest.mark.parametrize(("file", "text"), DAMAGES)
def test_a_damaged_cell_is_run_again_and_not_drawn(tmp_path, monkeypatch, file, text):
    bench = put_all(small_bench(), tmp_path)
    cell, _ = bench.cells()
    path = cell_folder(tmp_path, cell) / file
    path.unlink() if text is None else path.write_text(text)
    drawn = invoke("bench", "--draw", "-o", tmp_path)
    assert drawn.exit_code == 2
    assert str(path) in drawn.stderr and drawn.stderr.count("\n") == 1
    lines = []
    monkeypatch.setattr(grid, "run_cell", lambda e, o, k, cell: cell)
    run_grid(bench, tmp_path, report=lines.append)
    assert [line.split("  ")[1] for line in lines[1:]] == ["unet-seed0"]
    assert file in lines[0] and "running unet-seed0 again" in lines[0]


def test_a_table_cut_in_a_row_is_damaged(tmp_path):
    bench = put_all(small_bench(), tmp_path)
    cell = bench.cells()[0]
    path = cell_folder(tmp_path, cell) / "eval-0" / "items.csv"
    path.write_text(path.read_text()[:-3])
    assert "empty or truncated" in damage(bench, tmp_path, cell)


def test_evaluating_again_without_weights_trains_again(tmp_path, monkeypatch):
    bench = put_all(small_bench(), tmp_path)
    (cell_folder(tmp_path, bench.cells()[0]) / "eval-0" / "items.csv").unlink()

    def train(*words):
        raise ConfigError("training")

    monkeypatch.setattr(cells, "_train", train)
    with pytest.raises(ConfigError, match="training"):
        run_grid(bench, tmp_path)


@pytest.mark.parametrize("kind", [ConfigError, KeyError])
def test_an_experiment_that_fails_at_once_leaves_the_folder_as_it_was(tmp_path, monkeypatch, kind):
    def fail(*words, **options):
        raise kind("no")

    out = tmp_path / "out"
    monkeypatch.setattr(cells, "run_training", fail)
    with pytest.raises(kind):
        run_grid(small_curve(), out)
    assert not out.exists()
    begin(small_curve(), out)
    before = (out / "experiment.json").read_bytes()
    with pytest.raises(kind):
        run_grid(small_curve(num_seeds=2), out)
    assert (out / "experiment.json").read_bytes() == before


def test_every_cell_is_checked_before_the_first_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "run_cell", lambda *words: pytest.fail("trained"))
    bench = small_bench(models=("gdkvm", "unet"), settings=SMALL | {"pretrained_encoder": "camus"})
    with pytest.raises(ModelError, match="pretrained_encoder"):
        run_grid(bench, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_two_processes_in_one_folder_are_refused(tmp_path):
    with locked_dir(tmp_path), pytest.raises(OutputError, match="another process"):
        run_grid(small_curve(), tmp_path)


def test_another_experiment_in_the_folder_is_refused_and_a_larger_one_is_not(tmp_path, monkeypatch):
    def run(experiment, out, keep_weights, cell):
        put(experiment, out, cell, {"a": 0.9})
        return cell

    monkeypatch.setattr(grid, "run_cell", run)
    run_grid(small_curve(data=("phantom:8",)), tmp_path)
    whole = run_grid(small_curve(fractions=(0.5,), num_seeds=2), tmp_path)
    assert (whole.fractions, whole.num_seeds) == ((0.25, 0.5), 2)
    assert read_experiment(LabelCurve, tmp_path) == whole
    with pytest.raises(ConfigError, match="was started with"):
        run_grid(small_curve(eval_sets=("phantom:test",)), tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(OutputError, match=r"holds thesis.txt"):
        run_grid(small_curve(), tmp_path / "other")


def test_a_folder_of_another_kind_of_experiment_is_refused_in_plain_words(tmp_path):
    put_all(small_curve(), tmp_path)
    before = (tmp_path / "experiment.json").read_bytes()
    for words, noun in (
        (["bench", "phantom:6"], "a benchmark of networks"),
        (["bench", "--draw"], "a benchmark of networks"),
        (["ssg", "phantom:6"], "an ablation of MSSNet's memory"),
        (["keyframes", "--checkpoint", "phantom", "--num-clips", "1"], "a key-frame experiment"),
    ):
        done = invoke(*words, "-o", tmp_path)
        assert done.exit_code == 2
        assert f"must hold {noun}, its experiment.json is of another kind" in done.stderr
        assert "methods" not in done.stderr and done.stderr.count("\n") == 1
    assert (tmp_path / "experiment.json").read_bytes() == before


def test_paths_are_normalized_and_names_unique():
    curve = small_curve(
        data=("./d1/",), eval_sets=("x/../d1", "d1:test"), methods=("mssnet", "mssnet")
    )
    assert (curve.data, curve.eval_sets) == (("d1",), ("d1", "d1:test"))
    assert [cell.name for cell in curve.cells()] == ["mssnet-25pct-seed0"]


def test_evaluation_sets_that_do_not_exist_are_refused_before_the_work(tmp_path):
    with pytest.raises(ConfigError, match="phantom:SPLIT or phantom:SPLIT:corrupted"):
        run_grid(small_bench(eval_sets=("phantom:test:spoiled",)), tmp_path / "a")
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        run_grid(small_bench(eval_sets=("nowhere",)), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert len(eval_records("phantom:held_out_style", 1)) == 8  # four tiers, two views
    write_camus(tmp_path / "camus")
    for prefix in ("", "animated:"):
        numbers = [len(eval_records(f"{prefix}{tmp_path / 'camus'}{end}")) for end in ("", ":all")]
        assert numbers == [2, 6]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["curve", "--draw"], "must contain a label-efficiency experiment"),
        (["bench", "--draw"], "must contain a benchmark of networks"),
        (["curve"], "training data must be given"),
        (["bench"], "training data must be given"),
        (["curve", "phantom:8", "--labeled-fraction", "few"], "must be a fraction"),
        (["curve", "phantom:8", "--set", "num_steps"], "--set must be field=value"),
        (["curve", "phantom:8", "--method", "mssnett"], "did you mean mssnet"),
        (["curve", "phantom:8", "--jobs", "0"], "jobs must be at least 1"),
        (["curve", "no-such-folder"], "does not exist"),
        (["curve", ""], "the argument must not be empty"),
        (
            ["ssg", "phantom:4", "--init", "nowhere"],
            "--init must be one of camus, camus-nano, phantom",
        ),
        (["ssg", "phantom:4", "--init", "camus"], "--init must be a checkpoint with the encoder"),
        (
            ["keyframes", "--checkpoint", "nowhere"],
            "--checkpoint must be one of camus, camus-nano, phantom",
        ),
        (["curve", "phantom:8", "--eval", "phantom:tset"], "split"),
        (["bench", "phantom:6", "--patience", "0"], "patience must be greater than or equal to 1"),
        (["bench", "phantom:6", "--jobs", "0"], "jobs must be at least 1"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path, words, message):
    done = invoke(*words, "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert message in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ("mssnett",)}, "did you mean mssnet"),
        ({"settings": {"num_step": 3}}, "did you mean num_steps"),
        ({"settings": {"seed": 3}}, "settings must not contain seed"),
        ({"fractions": (-0.1,)}, "labeled_fraction"),
        ({"fractions": (float("nan"),)}, "must be a finite number"),
        ({"eval_sets": ("",)}, "got ''"),
        ({"num_seeds": 0}, "num_seeds must be greater than or equal to 1, got 0"),
        ({"settings": {"architecture": {"size": "huge"}}}, "architecture.size must be .*'huge'"),
        ({"settings": {"architecture": {"sice": "tiny"}}}, "did you mean size"),
        ({"settings": {"num_steps": "many"}}, "num_steps"),
    ],
)
def test_invalid_fields_are_refused_before_anything_runs(changes, message):
    with pytest.raises(ConfigError, match=message):
        small_curve(**changes)
