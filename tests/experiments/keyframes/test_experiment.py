"""The key-frame experiment as a command: it runs, resumes, and refuses in one line."""

import json

import pytest
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.keyframes.experiment import NAMES

TINY = {"--num-updates": 1, "--num-clips": 1, "--budget": 0.5}


def run(out, **changes):
    options = TINY | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    words = [str(word) for pair in options.items() for word in pair]
    return CliRunner().invoke(app, ["keyframes", "-o", str(out), *words])


@pytest.mark.slow
def test_a_budget_is_evaluated_once_and_another_is_added(tmp_path):
    out = tmp_path / "out"
    done = run(out)
    assert done.exit_code == 0, done.output
    results = json.loads((out / "results.json").read_text())
    for name in NAMES:
        score = results[f"0.5 {name}"]
        assert 0 <= score["dice"] <= 1 and 0 < score["cost"]
    assert results["all in full"]["cost"] == 1
    assert results["bound"]["0.5"]["best"] >= results["bound"]["0.5"]["even"]
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    again = run(out, budget=0.75)
    assert again.exit_code == 0, again.output
    both = json.loads((out / "results.json").read_text())
    assert both["0.5 policy"] == results["0.5 policy"] and "0.75 policy" in both
    refused = run(out, num_clips=2)
    assert refused.exit_code == 2 and "was started with num_clips=1" in refused.output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": "phantom:test"}, "fit_set and eval_set must differ, both are 'phantom:test'"),
        ({"budget": 0}, "budgets must be over 0"),
        ({"eval": "phantom:tset"}, "split"),
        ({"checkpoint": "nowhere"}, "nowhere"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, changes, message):
    done = run(tmp_path / "out", **changes)
    assert done.exit_code == 2
    assert message in done.output and done.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
