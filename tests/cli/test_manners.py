"""How the command line behaves at its edges: signals, pipes, poor terminals, odd names."""

import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from clip_makers import moving_frames, write_video
from echoseg.cli import app
from echoseg.cli.console import progress_bar


def echoseg(*args, code="", **environment):
    script = f"import sys\n{code}\nfrom echoseg.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        start_new_session=True,
    )


SLOW_WRITING = """
import time
from pathlib import Path
from echoseg.report import writer

def slow(analysis, folder, **options):
    (folder / "masks.nii.gz").write_text("half")
    print("writing", flush=True)
    time.sleep(60)

writer._write_all = slow
"""


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (signal.SIGINT, 130, "echoseg: interrupted; finished results are kept\n"),
        (signal.SIGTERM, 143, "echoseg: terminated; finished results are kept\n"),
    ],
)
def test_a_signal_leaves_nothing_half_written_and_says_so(tmp_path, number, code, words):
    run = echoseg("demo", "-o", tmp_path / "a" / "b", code=SLOW_WRITING)
    assert run.stdout
    for line in run.stdout:
        if line == b"writing\n":
            break
    run.send_signal(number)
    _, said = run.communicate(timeout=30)
    assert run.returncode == code
    assert said.decode() == words
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_without_the_letters_gets_question_marks(tmp_path):
    from scripts.make_demo_clip import OUTPUT

    path = tmp_path / "h\u00e9rz-\u2764.dcm"
    path.write_bytes(OUTPUT.read_bytes())
    run = echoseg("analyze", path, "-o", tmp_path / "out", PYTHONIOENCODING="ascii")
    printed, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    assert b"h?rz-?.dcm" in printed
    assert said == b""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["analyze", "x", "--view", "A9C"], "A9C"),
        (["analyze"], "see echoseg analyze --help"),
        (["analyse", "x"], "analyse"),
        (["analyze", "x", "--frames", "3"], "--frames"),
        (["analyze", "x", "--spacing-mm", "1e-300", "1"], "0.001 to 10 mm"),
        (["analyze", "x", "--spacing-mm", "0.3"], "takes two numbers, ROW COL"),
        (["live", "-", "--size", "200"], "takes two numbers, ROWS COLUMNS"),
        (["analyze", "x", "-o", ""], "-o (--output) must not be empty"),
        (["analyze", ""], "the argument must not be empty, got ''"),
        (["data", "check", ""], "the argument must not be empty, got ''"),
        (["phantom", "calibrate", "x", "--view", "A4X"], "--view must be one of 'a4c', 'a2c'"),
        (["analyze", "x", "--fps", "fast"], "--fps must be a valid number"),
        (["attention", "x", "--darken", "0"], "--darken must be greater than or equal to 1, got"),
        (["analyze", "x", "--view", "a4c", "--fps", "0.1"], "--fps (fps)"),
        (["analyze", "x", "--fps", "0.2"], "--fps (fps) must be 1 to 10000"),
    ],
)
def test_a_wrong_command_is_told_in_one_plain_line(args, words):
    run = echoseg(*args)
    printed, said = run.communicate(timeout=60)
    assert run.returncode == 2
    assert printed == b""
    (line,) = said.decode().splitlines()
    assert line.startswith("echoseg: ")
    assert words in line
    assert "Value error" not in line and "Input should" not in line


def test_no_arguments_show_the_help():
    run = echoseg()
    printed, said = run.communicate(timeout=60)
    assert run.returncode == 2
    assert b"analyze" in printed + said


def test_options_are_checked_once_before_any_clip(tmp_path):
    args = ["analyze", "a.avi", "b.avi", "-o", str(tmp_path / "out"), "--spacing-mm", "0", "1"]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 2
    assert result.output.count("--spacing-mm") == 1
    assert "a.avi" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_clip_that_fails_leaves_no_empty_folder(tmp_path):
    result = CliRunner().invoke(
        app, ["analyze", str(tmp_path / "none.avi"), "-o", str(tmp_path / "a" / "b")]
    )
    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_name_with_a_line_break_is_told_on_one_line(tmp_path):
    path = tmp_path / "two\nlines [bold]{0}.avi"
    write_video(path, moving_frames())
    path.write_bytes(path.read_bytes()[:2000])
    result = CliRunner().invoke(app, ["analyze", str(path), "-o", str(tmp_path / "out")])
    refusals = [line for line in result.output.splitlines() if line.startswith("echoseg:")]
    assert len(refusals) == 1
    assert "two lines [bold]{0}.avi" in refusals[0]


def test_a_bar_says_nothing_into_a_pipe(capfd, monkeypatch):
    start = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: start)
    with progress_bar("odd {name} [b]", "frames") as update:
        monkeypatch.setattr(time, "monotonic", lambda: start + 5)
        update(1, 2)
    assert capfd.readouterr() == ("", "")


def test_a_bar_on_a_terminal_takes_any_name(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    start = time.monotonic()
    with progress_bar("odd {name} [b]\nx", "frames") as update:
        monkeypatch.setattr(time, "monotonic", lambda: start + 5)
        update(1, 2)
    assert "odd {name} [b] x" in capfd.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["analyze", "{}"],
        ["analyze", "--study", "{}"],
        ["analyze", "{}/a.dcm"],
        ["inspect", "{}"],
        ["measure", "{}"],
        ["data", "check", "{}"],
        ["deidentify", "{}", "-o", "out"],
        ["deidentify", "a.avi", "-o", "{}"],
        ["measure", "a.avi", "-o", "{}"],
    ],
)
def test_a_name_of_300_letters_is_one_line(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ECHOSEG_KEY", str(tmp_path / "key"))
    write_video(tmp_path / "a.avi", moving_frames())
    done = CliRunner().invoke(app, [word.format("n" * 300) for word in words])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1 and len(done.stderr) > 20
    assert "Traceback" not in done.stderr
    assert not any(len(one.name) > 20 for one in tmp_path.iterdir())
