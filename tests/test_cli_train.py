import json

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from echoseg.cli import app

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
    "num_labelled=2",
    "--set",
    "num_unlabelled=2",
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
    code, shown, _ = run("mssnet", "-o", str(out), "--labels", "25%", *TINY)
    assert code == 0
    assert "12 clips, 3 with masks" in shown
    assert "target_dice" in shown
    assert Image.open(out / "samples.png").size == (600, 420)
    assert list((out / "tensorboard").glob("events*"))
    from echoseg.models.checkpoint import load_checkpoint

    _, checkpoint = load_checkpoint(str(out / "best.safetensors"))
    assert checkpoint.card.image_size == 64
    assert checkpoint.card.licence == "Apache-2.0"
    assert json.loads((out / "run.json").read_text())["labels"] == 0.25


def test_a_run_goes_on_where_it_was_cut(tmp_path):
    out = tmp_path / "run"
    run("supervised", "-o", str(out), *TINY)
    (out / "resume-000004.pt").unlink()
    code, shown, _ = run("--resume", str(out))
    assert code == 0
    assert "2 steps" in shown
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [
        2,
        4,
        4,
    ]


NO_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["mssnte"], "did you mean mssnet"),
        ([], "needs a recipe"),
        (["mssnet", "--set", "num_stepz=3"], "did you mean num_steps"),
        (["mssnet", "--set", "num_steps"], "field=value"),
        (["mssnet", "--set", "objective_options.racc=true", "--data", "phantom:4"], "racc"),
        (["mssnet", "--labels", "many"], "5% or 0.05"),
        (["mssnet", "--labels", "0%"], "labels"),
        (["mssnet", "--labels", "1%", "--data", "phantom:12"], "leaves none"),
        (["mssnet", "--labels", "50%", "--data", "phantom:4"], "num_unlabelled must be at most"),
        (["mssnet", "--data", "nowhere"], "none of these"),
        (["mssnet", "--start", "nowhere.safetensors", "--data", "phantom:24"], "nowhere"),
        (["mssnet", "--resume", "somewhere"], "no recipe"),
        (["--resume", "/nonexistent/folder"], "must hold a run"),
        pytest.param(
            ["mssnet", "--set", "accelerator=cuda", "--data", "phantom:24"],
            "accelerator must be",
            marks=NO_CUDA,
        ),
        (
            ["mssnet", "--set", "architecture.num_labels=2", "--data", "phantom:24"],
            "must tell 4 labels apart",
        ),
        (
            ["supervised", "--set", "model=mssnet_released", "--data", "phantom:24"],
            "image_size must be 256",
        ),
        (
            [
                *("supervised", "--set", "model=mssnet_released", "--set", "image_size=256"),
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
