"""The code of the guides comes to the right answers, on small files made here."""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from clip_makers import RATE_HZ, moving_frames
from echoseg.errors import FormatError, TooLargeError
from echoseg.inference.backends.export import export
from echoseg.inference.backends.exported import OnnxSession
from echoseg.io.frames import OpenOptions
from echoseg.models.checkpoint import load_model
from echoseg.preprocess.frame_transform import FrameTransform

GUIDES = Path(__file__).parents[2] / "docs/guides"


def code(guide):
    text = (GUIDES / f"{guide}.md").read_text("utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def loop():
    """The module of the guide, and the writer of its test."""
    names = {"RATE_HZ": RATE_HZ}
    for block in code("add-a-format"):
        if "def " in block:
            exec(compile(block, "add-a-format.md", "exec"), names)
    return names


def test_the_format_of_the_guide_gives_a_clip_back(loop, tmp_path):
    frames = moving_frames(9)
    path = tmp_path / "clip.loop"
    spacing_mm = loop["write_loop"](path, frames)
    assert loop["sniff"](path.read_bytes()[:132], path)
    clip = loop["read"](path, OpenOptions())
    assert np.array_equal(clip.frames, frames)
    assert clip.spacing_mm == spacing_mm
    assert clip.frame_rate_hz == pytest.approx(RATE_HZ)


@pytest.mark.parametrize(
    ("content", "refusal"),
    [
        (b"LOOP 25 0.5 0.4 9 48 64\n" + bytes(9 * 48 * 64 - 1), FormatError),
        (b"LOOP 25 0.5 0.4 nine 48 64\n", FormatError),
        (b"LOOP 25 0.5 0.4 100000 9999 9999\n", TooLargeError),
    ],
)
def test_the_format_of_the_guide_refuses_what_is_wrong(loop, tmp_path, content, refusal):
    path = tmp_path / "clip"
    path.write_bytes(content)
    with pytest.raises(refusal):
        loop["read"](path, OpenOptions())


def test_the_subgroups_of_the_guide_are_those_of_the_table(tmp_path, monkeypatch, capsys):
    (tmp_path / "ours").mkdir()
    rows = [("p1", 50, 40), ("p2", 60, 58), ("p3", 30, 33), ("p4", 45, 44), ("p5", "", 44)]
    (tmp_path / "ours/clips.csv").write_text(
        "patient,ef_predicted,ef_reference\n"
        + "".join(f"{patient},{one},{other}\n" for patient, one, other in rows)
    )
    machines = "patient,machine\np1,A\np2,A\np3,B\np4,B\np5,B\n"
    (tmp_path / "patients.csv").write_text(machines)
    monkeypatch.chdir(tmp_path)
    exec(compile(code("paper")[0], "paper.md", "exec"), {})
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("A Agreement(n=2, bias=6.0") and first.endswith("(2.0, 10.0)")
    assert second.startswith("B Agreement(n=2, bias=-1.0") and second.endswith("(-3.0, 1.0)")


def test_the_numbers_of_patients_in_the_guide_are_those_of_its_formula():
    text = (GUIDES / "paper.md").read_text("utf-8")
    factor = (1.959964 + 0.841621) ** 2
    assert f"{factor:.2f} (SD / d)^2" in text
    needed = re.search(
        r"SD of 7 points .* 2 points needs (\d+) patients, one of 1 point (\d+)", text
    )
    assert needed
    assert [int(n) for n in needed.groups()] == [math.ceil(factor * (7 / d) ** 2) for d in (2, 1)]
    assert math.sqrt(3) == pytest.approx(1.7, abs=0.05)  # SE of a limit, in SD / sqrt(n)


@pytest.mark.slow
def test_the_loop_for_onnx_runtime_gives_the_masks_of_the_backend(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    path, frames = tmp_path / "camus.onnx", moving_frames(5)
    network, card = load_model("camus")
    export(network, card, "onnx", path)
    monkeypatch.chdir(tmp_path)
    (block,) = code("backends")
    names = {"frames": frames}
    exec(compile(block, "backends.md", "exec"), names)
    session = OnnxSession(path)
    transform = FrameTransform(frames.shape[1:], session.size_px)
    inputs = [transform.apply(frame) for frame in frames]
    expected = [transform.invert(logits) for logits in session.run(inputs)]
    assert np.unique(expected).size > 1
    assert (
        np.mean(np.array(names["masks"]) == np.array(expected)) > 0.97
    )  # labels, not logits, are enlarged


def test_the_loop_for_live_frames_gives_a_result_for_each(capsys):
    (block,) = code("live")
    names = {"frames": moving_frames(4)}
    exec(compile(block, "live.md", "exec"), names)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in printed] == ["0", "1", "2", "3"]
    assert names["mask"].shape == names["frames"].shape[1:]
    assert math.isfinite(float(printed[-1][-1]))
