import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.train.stopping import interrupt_requested
from echoseg.weights.card import read_card
from experiments.networks import NAMES

TINY = [
    "--set",
    "architecture.size=tiny",
    "--set",
    "image_size=64",
    "--set",
    "num_steps=4",
    "--set",
    "save_every=2",
    "--set",
    "validate_every=2",
    "--set",
    "num_labeled=2",
    "--set",
    "num_unlabeled=2",
    "--data",
    "phantom:12",
    "--validation",
    "phantom:2:7000",
]


def run(*words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["train", *words])
    return done.exit_code, done.stdout, done.stderr


def test_a_run_gives_weights_that_analyze_takes(tmp_path):
    out = tmp_path / "run"
    code, shown, _ = run("mssnet", "-o", str(out), "--labeled-fraction", "25%", *TINY)
    assert code == 0
    assert "3 with masks; of 12: frame interval" in shown
    assert "target_dice" in shown
    with Image.open(out / "samples.png") as samples:
        assert samples.size == (600, 420)
    assert list((out / "tensorboard").glob("events*"))
    from echoseg.models.checkpoint import load_model

    _, card = load_model(str(out / "best.safetensors"))
    assert card.image_size == 64
    assert card.licence == "Apache-2.0"
    assert json.loads((out / "run.json").read_text())["labeled_fraction"] == 0.25


def test_a_run_says_which_data_it_does_not_use_as_they_are(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (4, 3, 64, 64), np.uint8)
    masks = np.zeros_like(frames)
    masks[:, :, 20:40, 20:40] = 1
    np.savez(tmp_path / "short.npz", frames=frames, masks=masks)
    short = str(tmp_path / "short.npz")
    words = ["--set", "num_frames=6", "--data", short, "--unlabeled-data", "phantom:3:50"]
    code, shown, _ = run("supervised", "-o", str(tmp_path / "run"), *words, *TINY)
    assert code == 0
    assert "unlabeled_data are not used: the method supervised learns from labeled clips" in shown
    assert "4 of 19 clips that were looked at are shorter than num_frames=6" in shown
    words = ["--set", "num_frames=6", "--data", short, "--set", "image_size=64"]
    code, _, stderr = run("supervised", "-o", str(tmp_path / "other"), *words)
    assert code == 2 and stderr.count("\n") == 1
    assert "num_frames must be at most 3, the length of the longest training clip" in stderr
    assert not (tmp_path / "other").exists()


def test_weights_begun_from_others_name_each_kind_of_data_once(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("supervised", "-o", str(first), *TINY)[0] == 0
    start = ["--init-from", str(first / "model.safetensors"), "--set", 'extra_data=["phantom:3"]']
    assert run("supervised", "-o", str(second), *start, *TINY[2:])[0] == 0
    assert read_card(second / "model.safetensors").trained_on == "phantom clips"


def test_what_cannot_be_known_is_not_shown():
    from echoseg.train.loop import Progress

    values = {"loss": 1.5, "metrics/pseudo_dice": math.nan, "metrics/reliability": 1.0}
    progress = Progress(step=1, num_steps=2, values=values, left_s=61.0)
    assert str(progress) == "1/2  loss 1.5000  reliability 1.0000  1:01 left"


def test_a_run_of_another_version_says_which_settings_take_their_defaults(tmp_path):
    out = tmp_path / "run"
    run("supervised", "-o", str(out), *TINY)
    path = out / "run.json"
    (out / "resume-000004.safetensors").unlink()
    assert "another version" not in run("--resume", str(out))[1]
    (out / "resume-000004.safetensors").unlink()
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({k: x for k, x in fields.items() if k != "bptt_frames"}))
    code, shown, _ = run("--resume", str(out))
    assert code == 0
    assert "begun by another version: bptt_frames take their defaults" in shown


def test_a_run_goes_on_where_it_was_cut(tmp_path):
    out = tmp_path / "run"
    run("supervised", "-o", str(out), *TINY)
    (out / "resume-000004.safetensors").unlink()
    code, shown, _ = run("--resume", str(out))
    assert code == 0
    assert "2 steps" in shown
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 4]
    code, shown, _ = run("--resume", str(out))
    assert (code, shown) == (0, f"the run in {out} is finished already; nothing was done\n")


@pytest.mark.parametrize(
    ("name", "exit_code", "said"),
    [("SIGINT", 130, ""), ("SIGTERM", 143, "echoseg: terminated; finished results are kept\n")],
)
def test_a_stop_waits_for_the_step_and_loses_none(tmp_path, name, exit_code, said):
    """The run that goes on ends like one that nobody stopped; a scheduler stops by SIGTERM."""
    out = tmp_path / "run"
    whole = tmp_path / "whole"
    words = ["supervised", *TINY, "--set", "save_every=4", "--set", "accelerator=cpu"]
    code = (
        "import sys, signal, os; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from echoseg.train import loop\n"
        "step = loop.Run.take_step\n"
        "def stopped(self):\n"
        "    told = step(self)\n"
        f"    if self.step == 1: os.kill(os.getpid(), signal.{name})\n"
        "    return told\n"
        "loop.Run.take_step = stopped\n"
        "from echoseg.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "-o", str(out), *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == exit_code, done.stderr
    assert done.stderr == f"{said}echoseg: continue with echoseg train --resume {out}\n"
    assert [path.name for path in out.glob("resume-*")] == ["resume-000001.safetensors"]
    assert run("--resume", str(out))[0] == 0
    assert run(words[0], "-o", str(whole), *words[1:])[0] == 0
    one, other = (load_file(folder / "model.safetensors") for folder in (out, whole))
    assert all(torch.equal(one[name], other[name]) for name in other)


def test_a_stop_before_the_first_step_offers_no_resume(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    other = tmp_path / "other"
    assert run("supervised", "-o", str(other), *TINY)[0] == 0
    monkeypatch.setattr("echoseg.train.train.open_data", stopped)
    for out in (tmp_path / "run", other):  # nor in the folder of another run
        code, _, said = run("supervised", "-o", str(out), *TINY)
        assert code != 0 and "--resume" not in said
    assert not (tmp_path / "run").exists()


def sigterm(*_):
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def asked():
    """Signals that come to the process's own handler of SIGTERM."""
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


def test_sigterm_after_the_last_step_is_no_stop(tmp_path, monkeypatch, asked):
    monkeypatch.setattr(
        "echoseg.train.train.validation_scores", lambda *_: sigterm() or {"score": 1}
    )
    code, shown, said = run("supervised", "-o", str(tmp_path), *TINY, "--set", "validate_every=4")
    assert (code, said, asked) == (0, "", []) and "wrote" in shown


def test_an_error_after_sigterm_is_told(tmp_path, monkeypatch, asked):
    def full(path, state):
        sigterm()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("echoseg.train.run_folder.write_state", full)
    code, _, said = run("supervised", "-o", str(tmp_path / "run"), *TINY)
    assert code == 2 and "No space left on device" in said and asked == []


def test_sigterm_is_sent_on_once_where_it_ends_a_run(asked):
    with pytest.raises(KeyboardInterrupt), interrupt_requested() as is_requested:
        sigterm()
        assert is_requested() and asked == []
        raise KeyboardInterrupt
    assert asked == [signal.SIGTERM]


def test_a_folder_that_holds_other_things_is_not_written(tmp_path):
    (tmp_path / "thesis.txt").touch()
    code, _, told = run("supervised", "-o", str(tmp_path), *TINY)
    assert code == 2
    assert "holds thesis.txt and no run.json" in told
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mssnte"], "did you mean mssnet"),
        ([], "needs a method"),
        (["mssnet", "--set", "num_stepz=3"], "did you mean num_steps"),
        (["mssnet", "--set", "num_steps"], "field=value"),
        (["mssnet", "--set", "method_options.racc=true", "--data", "phantom:4"], "racc"),
        (["mssnet", "--set", "=5"], "field=value, got '=5'"),
        (["mssnet", "--set", "image_size=64", "--set", "image_size.x=3"], "image_size is 64"),
        (["mssnet", "--set", "method_options.weight=abc"], "weight must be a valid num"),
        (["mssnet", "--set", "method_options.weight=-3"], "greater than or equal to 0"),
        (["mssnet", "--set", "method_options.weight=NaN"], "weight must be a finite number"),
        (["mssnet", "--set", "method_options.mix_prob=7"], "less than or equal to 1, got 7"),
        (
            ["supervised", "--data", "phantom:4", "--validation", "/nonexistent"],
            "validation must be phantom:N, an .npz",
        ),
        (["mssnet", "--labeled-fraction", "many"], "5% or 0.05"),
        (["mssnet", "--labeled-fraction", "-1%"], "labeled_fraction"),
        (["mssnet", "--labeled-fraction", "0", "--data", "phantom:4"], "as extra_data="),
        (["mssnet", "--labeled-fraction", "1%", "--data", "phantom:12"], "leaves none; give 8.33%"),
        (["mssnet", "--labeled-fraction", "1%", "--data", "phantom:1"], "leaves none; give 100%"),
        (["mssnet", "--data", "nowhere"], "is not there"),
        (["mssnet", "--data", ""], "--data must not be empty, got ''"),
        (["mssnet", "--data="], "--data must not be empty, got ''"),
        (["mssnet", "--data", "phantom:4", "--validation", ""], "--validation must not be empty"),
        (["mssnet", "--set", "init_from="], "init_from must not be empty, got ''; leave it out"),
        (["mssnet", "--set", 'extra_data=["phantom:4", " "]'], "extra_data must not be empty"),
        (
            ["mssnet", "--init-from", "nowhere.safetensors", "--data", "phantom:24"],
            "init_from must be",
        ),
        (
            ["mssnet", "--data", "phantom:1", "--set", 'extra_data=["no"]'],
            "extra_data must",
        ),
        (["mssnet", "--data", "phantom:0"], "N from 1 on, got 'phantom:0'"),
        (["mssnet", "--resume", "somewhere"], "no method"),
        (
            ["--resume", "/nonexistent/folder"],
            "No such file or directory; give the folder of a run",
        ),
        pytest.param(
            ["mssnet", "--set", "accelerator=cuda", "--data", "phantom:24"],
            "accelerator must be",
            marks=NO_CUDA,
        ),
        (
            ["mssnet", "--set", "architecture.num_labels=2", "--data", "phantom:24"],
            "must have 4 labels",
        ),
        (
            [
                "supervised",
                "--set",
                f"model={NAMES['mssnet_released']}",
                "--data",
                "phantom:24",
            ],
            "image_size must be 256",
        ),
        (
            [
                *(
                    "supervised",
                    "--set",
                    f"model={NAMES['mssnet_released']}",
                    "--set",
                    "image_size=256",
                ),
                *("--data", "phantom:12"),
            ],
            "num_frames must be 10",
        ),
        (["mssnet", "--set", "architecture.sizee=tiny", "--data", "phantom:24"], "sizee"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_leaves_no_run(tmp_path, args, message):
    out = tmp_path / "run"
    given = args if "--resume" in args else [*args, "-o", str(out)]
    code, _, told = run(*given)
    assert code == 2
    assert message in told
    assert told.count("\n") == 1
    assert not (out / "run.json").exists()


def test_a_run_that_fails_at_its_first_step_leaves_no_folder(tmp_path):
    code, _, err = run("supervised", *TINY, "--loss", "builtins:len", "-o", str(tmp_path / "run"))
    assert code == 2
    assert "loss must take logits" in err
    assert not (tmp_path / "run").exists()
