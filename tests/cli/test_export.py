import pytest
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.inference.backends.exported import OnnxSession


def run(*words: object):
    return CliRunner().invoke(app, ["export", *map(str, words)])


@pytest.mark.slow
def test_a_shipped_network_is_written_and_checked(tmp_path):
    done = run("phantom", "-o", tmp_path / "phantom.onnx", "--size", 96)
    assert done.exit_code == 0, done.output
    assert "logits agree to" in done.output
    assert OnnxSession(tmp_path / "phantom.onnx").size_px == 96
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["phantom.onnx"]
    again = run("phantom", "-o", tmp_path / "phantom.onnx", "--size", 96)
    assert again.exit_code == 2
    assert "--force" in again.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "-o", "OUT/a.onnx"), "model must be one of"),
        (("phantom", "--to", "tflite"), "to must be one of"),
        (("phantom", "-o", "OUT/a.xml"), "must end in .onnx"),
        (("nowhere", "-o", "OUT/a.xml"), "must end in .onnx for onnx, got 'a.xml'"),
        (("phantom", "-o", "OUT/missing/a.onnx"), "missing is not a folder"),
        (("phantom", "-o", "OUT/a.onnx", "--size", 0), "positive number of pixels, got 0"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_leaves_nothing(tmp_path, words, message):
    done = run(*(str(word).replace("OUT", str(tmp_path)) for word in words))
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "held", "message"),
    [
        (("-o", "OUT/a.onnx"), "a.onnx", "--force"),
        (("-o", "OUT/a.xml", "--to", "openvino"), "a.bin", "a.bin exists; pass --force (force)"),
        (
            ("-o", "OUT/folder.onnx", "--force"),
            "folder.onnx/in it",
            "folder.onnx exists and is not a file",
        ),
    ],
)
def test_what_is_there_is_refused_before_the_model_is_loaded(tmp_path, words, held, message):
    (tmp_path / held).parent.mkdir(exist_ok=True)
    (tmp_path / held).write_text("kept")
    done = run("phantom", *(word.replace("OUT", str(tmp_path)) for word in words))
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1
    assert (tmp_path / held).read_text() == "kept"


def test_a_folder_that_may_not_be_entered_is_one_sentence(tmp_path, monkeypatch):
    def closed(path, force):  # root may enter everything
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("echoseg.files.owned.check_own_file", closed)
    done = run("phantom", "-o", tmp_path / "a.onnx")
    assert done.exit_code == 2
    assert "a.onnx cannot be read (Permission denied); move it" in done.output
