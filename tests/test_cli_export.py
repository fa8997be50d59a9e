import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.runtime.file_steppers import OnnxStepper


def run(*words: object):
    return CliRunner().invoke(app, ["export", *map(str, words)])


@pytest.mark.slow
def test_a_shipped_network_is_written_and_checked(tmp_path):
    done = run("phantom", "-o", tmp_path / "phantom.onnx", "--size", 96)
    assert done.exit_code == 0, done.output
    assert "logits agree to" in done.output
    assert OnnxStepper(tmp_path / "phantom.onnx").size_px == 96
    assert [path.name for path in tmp_path.iterdir()] == ["phantom.onnx"]
    again = run("phantom", "-o", tmp_path / "phantom.onnx", "--size", 96)
    assert again.exit_code == 2
    assert "--force" in again.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "-o", "OUT/a.onnx"), "model must be one of"),
        (("phantom", "--to", "tflite"), "to must be one of"),
        (("phantom", "-o", "OUT/a.xml"), "must end in .onnx"),
        (("phantom", "-o", "OUT/missing/a.onnx"), "folder that is there"),
        (("phantom", "-o", "OUT/a.onnx", "--size", 50), "multiple"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_leaves_nothing(tmp_path, words, message):
    done = run(*(str(word).replace("OUT", str(tmp_path)) for word in words))
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
