import pytest
from typer.testing import CliRunner

from curve_makers import put, small_curve
from experiments.__main__ import app


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["curve", *words])
    return done.exit_code, done.stdout, done.stderr


def test_what_is_done_is_drawn(tmp_path):
    from experiments.label_curve import begin

    curve = small_curve()
    begin(curve, tmp_path)
    for cell in curve.cells():
        put(tmp_path, cell, {"a": 0.9, "b": 0.8})
    code, shown, _ = run("--draw", "-o", str(tmp_path))
    assert code == 0
    assert "2 of 2 cells are done" in shown
    assert {"table.md", "curve.png", "summary.json"} <= {p.name for p in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--draw"], "must hold an experiment"),
        ([], "curve needs data"),
        (["phantom:8", "--labels", "few"], "labeled_fraction must be"),
        (["phantom:8", "--set", "num_steps"], "--set must be field=value"),
        (["phantom:8", "--recipe", "mssnett"], "did you mean mssnet"),
        (["phantom:8", "--jobs", "0"], "jobs must be at least 1"),
        (["no-such-folder"], "no such folder"),
        (["phantom:8", "--judge", "phantom", "--split", "tset"], "split"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, words, told):
    code, _, error = run(*words, "-o", str(tmp_path / "out"))
    assert code == 2
    assert told in error
    assert error.count("\n") == 1
