"""The key-frame experiment as a command: it runs, resumes, and refuses in one line."""

import json

import pytest
from typer.testing import CliRunner

from experiments.__main__ import app

TINY = {
    "--num-training-clips": 2, "--num-steps": 1, "--num-updates": 1, "--num-clips": 1,
    "--num-frames": 8, "--image-size": 64, "--budget": 0.5,
}  # fmt: skip


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
    for name in ("fixed interval", "difference", "regressed gain", "policy"):
        score = results[f"0.5 {name}"]
        assert 0 <= score["dice"] <= 1 and 0 < score["cost"] <= 1 + results["cheap_cost"]
    assert results["all in full"]["cost"] == 1
    assert results["bound"]["0.5"]["best"] >= results["bound"]["0.5"]["even"]
    assert (out / "figure.png").read_bytes().startswith(b"\x89PNG")
    again = run(out, budget=0.75)
    assert again.exit_code == 0, again.output
    both = json.loads((out / "results.json").read_text())
    assert both["0.5 policy"] == results["0.5 policy"] and "0.75 policy" in both
    refused = run(out, num_frames=9)
    assert refused.exit_code == 2 and "was started with num_frames=8" in refused.output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 0}, "budgets must be over 0"),
        ({"image_size": 100}, "image_size"),
        ({"checkpoint": "phantom"}, "must be an MSSNetV1"),
        ({"checkpoint": "nowhere"}, "nowhere"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, changes, message):
    done = run(tmp_path / "out", **changes)
    assert done.exit_code == 2
    assert message in done.output and done.output.count("\n") == 1
    assert not (tmp_path / "out").exists()
