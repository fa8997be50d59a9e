"""The same network in every runtime: same logits, same state, and refusals of what is not ours."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from echoseg.errors import ConfigError, ModelError, OutputError
from echoseg.inference.backends.base import each_frame, state_of
from echoseg.inference.backends.export import SUFFIXES, export
from echoseg.inference.backends.exported import (
    OnnxSession,
    OpenVinoSession,
    TorchExportSession,
    load_openvino,
)
from echoseg.inference.backends.torch import TorchSession
from echoseg.inference.backends.verify import Agreement, check, compare
from echoseg.models import MODELS
from echoseg.models.checkpoint import load_model, save_checkpoint
from echoseg.models.mssnet import MSSNet, MSSNetConfig
from echoseg.weights.card import ModelCard
from experiments.networks.mssnet_released import MSSNetReleased

READERS = {"onnx": OnnxSession, "openvino": OpenVinoSession, "torch-export": TorchExportSession}
SIZE = 64


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    card = ModelCard(
        architecture="mssnet",
        image_size=SIZE,
        trained_on="nothing",
        licence="Apache-2.0",
    )
    save_checkpoint(path, MSSNet(MSSNetConfig(size="tiny", memory="guidance")), card)
    return load_model(str(path))


@pytest.fixture(scope="module")
def onnx_file(checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    export(*checkpoint, "onnx", path)
    return path


def frames(num: int = 4) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, 1, SIZE, SIZE), np.float32) for _ in range(num)]


@pytest.mark.parametrize("kind", sorted(SUFFIXES))
def test_an_exported_network_says_the_same_frame_after_frame(tmp_path, checkpoint, kind, capfd):
    path = tmp_path / f"net{SUFFIXES[kind]}"
    export(*checkpoint, kind, path)
    assert capfd.readouterr() == ("", "")
    session = READERS[kind](path)
    found = compare(TorchSession(checkpoint[0], SIZE), session, frames())
    assert found.logit_difference < 1e-3
    assert found.equal_share > 0.999
    assert session.size_px == SIZE
    hidden = [place.name for place in (tmp_path / ".echoseg").iterdir()]
    assert hidden == ["written.json"]  # the hash of the file, and no partial file


def test_openvino_sends_nothing_home(tmp_path):
    """Importing it sends an event to Google Analytics, and leaves an identifier in HOME."""
    code = (
        "import sys; from echoseg.inference.backends.exported import openvino_core\n"
        "openvino_core(); import openvino.tools.ovc\n"
        "sys.exit(any(sys.modules[n] for n in sys.modules if n.startswith('openvino_telemetry')))"
    )
    environment = os.environ | {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment)
    assert done.returncode == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", sorted(SUFFIXES))
def test_a_full_disk_is_one_sentence_and_what_was_there_stays(
    tmp_path, checkpoint, kind, monkeypatch
):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    def full_to_openvino(model, path, **options):
        path.write_bytes(b"<xml")
        raise RuntimeError("basic_ios::clear: iostream error")

    path = tmp_path / f"net{SUFFIXES[kind]}"
    path.write_bytes(b"before")
    with monkeypatch.context() as patched:
        patched.setattr(load_openvino(), "save_model", full_to_openvino)
        if kind != "openvino":
            patched.setattr(type(path), "write_bytes", full)
        with pytest.raises(OutputError, match=rf"{path.name} cannot be written \(.*; make room"):
            export(*checkpoint, kind, path)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [
        (path.name, b"before")
    ]


def test_a_signal_is_heard_while_a_network_is_written(tmp_path, checkpoint, monkeypatch, capsys):
    import torch.onnx

    def ended(*args, **options):
        print("terminated", file=sys.stderr)
        raise SystemExit(143)

    monkeypatch.setattr(torch.onnx, "export", ended)
    with pytest.raises(SystemExit):
        export(*checkpoint, "onnx", tmp_path / "net.onnx")
    assert capsys.readouterr().err == "terminated\n"


@pytest.mark.parametrize("name", sorted(n for n, kind in MODELS.items() if kind.streams))
def test_stepping_from_the_spread_first_state_is_the_whole_clip(name):
    torch.manual_seed(1)
    network = MODELS[name]().eval()
    clip = frames()
    with torch.inference_mode():
        whole = network(torch.from_numpy(np.stack(clip, 1)))[0].numpy()
    stepped = np.concatenate(list(each_frame(TorchSession(network, SIZE), clip)))
    assert np.abs(whole - stepped).max() < 1e-4


def test_openvino_reads_the_onnx_file_too(onnx_file):
    found = compare(OnnxSession(onnx_file), OpenVinoSession(onnx_file), frames())
    assert found.logit_difference < 1e-3


def test_openvino_leaves_the_choice_of_a_core_to_the_system(onnx_file):
    # pinned, all workers of a cohort share one core, at half the speed of two
    assert OpenVinoSession(onnx_file)._compiled.get_property("ENABLE_CPU_PINNING") is False


def test_two_clips_do_not_hear_of_each_other(onnx_file):
    session = OpenVinoSession(onnx_file)
    first = np.concatenate(list(each_frame(session, frames())))
    again = np.concatenate(list(each_frame(session, frames())))
    assert np.array_equal(first, again)


def test_a_state_is_a_value_and_a_frame_may_be_a_part_of_a_picture(onnx_file):
    session, clip = OpenVinoSession(onnx_file), frames()
    apart = np.concatenate(list(each_frame(session, clip)))
    states, found = [session.first_state()] * 2, []
    for frame in clip:  # two streams in turns, one of them of the pictures upside down
        turned = frame[:, :, ::-1].copy()
        logits, states[0] = session.step(turned[:, :, ::-1], states[0])
        _, states[1] = session.step(turned, states[1])
        found.append(logits)
    assert np.array_equal(np.concatenate(found), apart)


def test_a_state_keeps_its_shapes(checkpoint):
    network, _ = checkpoint
    shape = state_of(network, SIZE)
    session = TorchSession(network, SIZE)
    _, after = session.step(frames(1)[0], shape.first)
    assert [part.shape for part in after] == [part.shape for part in shape.first]
    assert [part.dtype for part in after] == [part.dtype for part in shape.first]


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        (("tflite", "net.tflite", None), ConfigError, "to must be one of"),
        (("onnx", "net.xml", None), ConfigError, r"end in \.onnx"),
        (("onnx", "net.onnx", 0), ConfigError, "positive number of pixels"),
        (("onnx", "missing/net.onnx", None), OutputError, "existing folder"),
    ],
)
def test_what_cannot_be_exported_is_refused(tmp_path, checkpoint, asked, error, message):
    kind, name, size_px = asked
    with pytest.raises(error, match=message):
        export(*checkpoint, kind, tmp_path / name, size_px=size_px)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_looks_ahead_cannot_be_exported(tmp_path, checkpoint):
    network = MSSNetReleased()
    with pytest.raises(ModelError, match="looks ahead"):
        export(network, checkpoint[1], "onnx", tmp_path / "net.onnx", size_px=256)


def test_a_network_that_the_exporter_does_not_know_is_refused(tmp_path, checkpoint, monkeypatch):
    def convert(*arguments, **options):
        raise NotImplementedError("a long text of torch")

    monkeypatch.setattr(torch.onnx, "export", convert)
    refusal = r"cannot be exported by torch .* \(NotImplementedError\); use --backend torch"
    for kind, name in (("onnx", "net.onnx"), ("openvino", "net.xml")):
        with pytest.raises(ModelError, match=refusal):
            export(*checkpoint, kind, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", sorted(SUFFIXES))
def test_a_file_that_is_not_ours_is_refused(tmp_path, kind):
    path = tmp_path / f"net{SUFFIXES[kind]}"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="net"):
        READERS[kind](path)


@pytest.mark.parametrize(
    ("logits", "share", "ef", "reduced", "message"),
    [
        (0.01, 1.0, 0.0, False, "logits must agree"),
        (0.01, 0.99, 0.0, True, "masks must be"),
        (0.01, 1.0, 0.5, True, "EF must agree"),
        (float("nan"), 1.0, 0.0, False, "logits must agree"),
    ],
)
def test_a_backend_with_other_masks_is_refused(logits, share, ef, reduced, message):
    found = Agreement(logit_difference=logits, equal_share=share, ef_difference_points=ef)
    with pytest.raises(ModelError, match=message):
        check(found, reduced_precision=reduced)


def test_reduced_precision_may_differ_in_logits():
    found = Agreement(logit_difference=0.1, equal_share=0.9995, ef_difference_points=0.1)
    check(found, reduced_precision=True)


def test_a_signal_after_openvino_sessions_are_freed_does_not_end_the_process(onnx_file):
    code = """
import signal, sys
from pathlib import Path
from echoseg.inference.backends.exported import OpenVinoSession
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
first, second = (OpenVinoSession(Path(sys.argv[1])) for _ in range(2))
del first
del second
signal.raise_signal(signal.SIGTERM)
"""
    command = [sys.executable, "-X", "faulthandler", "-c", code, str(onnx_file)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "handled\n"), run.stderr
