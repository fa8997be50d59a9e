"""The backend of `echoseg analyze`: chosen and printed on the first run, written in the report."""

import json

import pytest
import typer
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.cli.options import chosen_backend, demo_clips
from echoseg.errors import ConfigError
from echoseg.inference.backends import select
from echoseg.parallel import torch_threads

RATES = {"torch": 50.0, "onnx": 90.0, "openvino": 80.0}


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A machine whose backends were never measured; returns the calls."""
    calls = []

    def measure(model, card, num_threads):
        calls.append((model, num_threads))
        return select.Choice(backend="onnx", frames_per_s=RATES)

    monkeypatch.setenv("ECHOSEG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(select, "_measure", measure)
    monkeypatch.setattr(select, "has_runtime", lambda: True)
    return calls


def test_the_first_run_says_what_was_chosen_and_why_and_the_next_says_nothing(measured, capsys):
    assert chosen_backend("auto", "camus", "cpu", quiet=False, num_threads=1) == "onnx"
    first = capsys.readouterr()
    assert first.out == ""
    assert first.err == (
        "finding the fastest backend, once on this machine ... "
        "onnx (frames/s here: onnx 90, openvino 80, torch 50; all give the same masks)\n"
    )
    assert chosen_backend("auto", "camus", "cpu", quiet=False, num_threads=1) == "onnx"
    assert capsys.readouterr() == ("", "")
    assert len(measured) == 1


def test_quiet_says_nothing_and_a_name_is_taken_as_it_is(measured, capsys):
    assert chosen_backend("auto", "camus", "cpu", quiet=True, num_threads=1) == "onnx"
    assert capsys.readouterr() == ("", "")
    assert chosen_backend("torch-compile", "camus", "cpu", quiet=False) == "torch-compile"
    with pytest.raises(ConfigError, match="backend must be auto or one of"):
        chosen_backend("abacus", "camus", "cpu", quiet=False)
    assert len(measured) == 1


def test_analyze_takes_the_fastest_by_default_and_the_environment_another(
    measured, tmp_path, monkeypatch
):
    opened = []
    monkeypatch.setattr(
        "echoseg.cli.analyze.run", lambda jobs, **options: opened.append(options["backend"])
    )
    clip = str(demo_clips()["simulated"])
    for variable, expected in ((None, "onnx"), ("torch", "torch")):
        environment = {"ECHOSEG_BACKEND": variable}
        result = CliRunner().invoke(app, ["analyze", clip, "-o", str(tmp_path)], env=environment)
        assert result.exit_code == 0, result.output
        assert opened.pop() == expected


def test_a_report_names_its_backend(tmp_path):
    clip = str(demo_clips()["simulated"])
    result = CliRunner().invoke(
        app, ["analyze", clip, "-o", str(tmp_path), "--no-pages", "--view", "A4C"]
    )
    assert result.exit_code == 0, result.output
    (report,) = tmp_path.rglob("report.json")
    assert json.loads(report.read_text())["model"]["backend"] == "torch f32"


@pytest.mark.parametrize(("options", "threads"), [((), 1), (("--threads", "3"), 3)])
def test_live_runs_the_network_in_one_thread_unless_told(monkeypatch, options, threads):
    import torch

    from echoseg.cli import live

    seen = []

    def follow(*_):
        seen.append(torch.get_num_threads())
        raise typer.Exit(0)

    monkeypatch.setattr(live, "_follow", follow)
    with torch_threads(2):
        assert CliRunner().invoke(app, ["live", "none.mp4", *options]).exit_code == 0
        assert torch.get_num_threads() == 2  # what runs next in this process is left alone
    assert seen == [threads]
