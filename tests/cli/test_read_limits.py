"""--max-decoded and --allow-outside on the commands that read clips."""

import numpy as np
import pytest
from typer.testing import CliRunner

from clip_makers import moving_frames
from echoseg.cli import app
from echoseg.io.video import write_mjpeg


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def outside(tmp_path):
    """A folder whose MetaImage and table name files beside it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (tmp_path / "a.raw").write_bytes(moving_frames(4, 64, 64).tobytes())
    write_mjpeg(tmp_path / "a.avi", moving_frames(), 25)
    text = "NDims = 3\nDimSize = 64 64 4\nElementType = MET_UCHAR\nElementDataFile = ../a.raw\n"
    (folder / "a.mhd").write_text(text)
    (folder / "clips.csv").write_text("clip\n../a.avi\n")
    return folder


def test_inspect_reads_no_file_outside_unless_allowed(outside):
    refused = run("inspect", outside / "a.mhd")
    assert refused.exit_code == 1 and "--allow-outside" in refused.output
    assert run("inspect", outside / "a.mhd", "--allow-outside").exit_code == 0


def test_a_table_names_no_file_outside_unless_allowed(outside):
    assert run("data", "check", outside).exit_code == 2
    assert "1 clips" in run("data", "check", outside, "--allow-outside").output.replace(",", "")
    for words in (["data", "prepare", outside, "-o", outside / "cache"],
                  ["evaluate", "camus", outside, "-o", outside / "out"]):  # fmt: skip
        refused = run(*words)
        assert refused.exit_code == 2, refused.output


def test_the_limit_is_an_option(tmp_path):
    write_mjpeg(tmp_path / "a.avi", moving_frames(40), 25)
    refused = run("inspect", tmp_path / "a.avi", "--max-decoded", "0.001")
    assert refused.exit_code == 1 and "limit of 0.001 GiB" in refused.output
    assert run("inspect", tmp_path / "a.avi", "--max-decoded", "0.01").exit_code == 0
    words = ["analyze", tmp_path / "a.avi", "-o", tmp_path / "out", "--max-decoded", "-1"]
    refused = run(*words)
    assert refused.exit_code == 2 and "--max-decoded" in refused.output
    np.save(tmp_path / "m.npy", np.ones((40, 32, 32), np.uint8))
    words = ["measure", tmp_path / "m.npy", "--clip", tmp_path / "a.avi", "-o", tmp_path / "out"]
    refused = run(*words, "--max-decoded", "0.001")
    assert refused.exit_code == 2 and "0.001 GiB" in refused.output
