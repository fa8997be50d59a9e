"""The ablation of MSSNet's memory: one start, one table."""

import json

import pytest
import torch
from typer.testing import CliRunner

from echoseg.errors import ConfigError
from echoseg.models.build import build_model
from echoseg.train.run_folder import RunFolder
from experiments import ssg
from experiments.__main__ import app
from experiments.grid_command import _animated, _own
from experiments.robustness import ClipScore
from experiments.ssg import SETTINGS, SSGAblation, pretrain, start_from

SMALL = {
    "image_size": 32, "num_labeled": 1, "num_unlabeled": 1, "num_frames": 3, "num_steps": 2,
    "accelerator": "cpu", "precision": "32-true",
}  # fmt: skip


def ablation(**changes):
    fields = {
        "data": ("phantom:4",),
        "robust_sets": ("phantom:validation",),
        "variants": ("none", "features"),
    }
    return SSGAblation.make(**fields | changes)


def test_variants_differ_in_their_memory_alone():
    configs = [ablation(num_seeds=2).train_config(cell) for cell in ablation(num_seeds=2).cells()]
    assert [(c.architecture["memory"], c.seed) for c in configs] == [
        ("none", 0), ("features", 0), ("none", 1), ("features", 1)
    ]  # fmt: skip
    rest = {c.model_copy(update={"architecture": {}, "seed": 0}).model_dump_json() for c in configs}
    assert len(rest) == 1
    assert configs[0].num_frames == SETTINGS["num_frames"] >= 12 and configs[0].artefact_prob > 0


def test_variants_begin_with_the_weights_that_fit():
    networks = {}
    for cell in ablation(init="camus", size="small").cells():
        networks[cell.row] = ablation(init="camus", size="small").components(cell).model
    plain, memory = (networks[name].state_dict() for name in ("none", "features"))
    shared = [name for name in plain if name.startswith(("stem.", "encoder"))]
    assert len(shared) > 10 and all(torch.equal(plain[n], memory[n]) for n in shared)
    assert ablation().components(ablation().cells()[0]).model is None
    with pytest.raises(ConfigError, match="--init must be a checkpoint with the encoder"):
        start_from(build_model("mssnet", {"size": "tiny"}), "camus")


@pytest.mark.slow
def test_the_command_pretrains_trains_and_compares(tmp_path):
    out = tmp_path / "ssg"
    words = ["ssg", "phantom:4", "-o", str(out), "--pretrain-steps", "2", "--seeds", "1"]
    words += ["--variant", "none", "--variant", "features", "--hearts", "1", "--num-clips", "1"]
    words += [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "difference to features" in done.stdout and "hidden band" in done.stdout
    summary = json.loads((out / "summary.json").read_text())
    assert {(s["row"], s["condition"]) for s in summary["robustness"]} == {
        (row, name) for row in ("none", "features") for name in ("clean", "corrupted", "hidden")
    }
    assert summary["commit"] is not None and summary["costs"][0]["machine"]
    names = {path.name for path in out.iterdir()}
    assert {"robustness.csv", "table.md", "summary.json", "cells"} <= names
    assert (tmp_path / "ssg-init" / "model.safetensors").exists()
    columns = (out / "cells" / "none-seed0" / "robust-0" / "clips.csv").read_text()
    assert columns.startswith(",".join(ClipScore.__slots__))
    assert CliRunner().invoke(app, ["ssg", "--draw", "-o", str(out)]).exit_code == 0


def test_a_common_start_of_other_settings_is_refused_and_an_interrupted_one_continued(
    tmp_path, monkeypatch
):
    taken = []

    def run(config, folder):
        taken.append(config)
        (folder / "model.safetensors").touch()

    monkeypatch.setattr(ssg, "run_training", run)
    small = ablation(settings=SMALL)
    config = small.train_config(small.cells()[0])
    config = config.model_copy(update={"num_steps": 2, "validate_every": 2})
    RunFolder(tmp_path).begin(config, 0)
    (tmp_path / "resume-000001.safetensors").touch()
    with pytest.raises(ConfigError, match="same settings, its num_steps, validate_every differ"):
        pretrain(small, tmp_path, 5)
    pretrain(small, tmp_path, 2)
    pretrain(small, tmp_path, 2)
    assert taken == [None]  # continued once, then used


def test_a_wrong_set_or_start_is_refused_before_the_first_training(tmp_path):
    words = ["ssg", "phantom:4", "-o", str(tmp_path / "ssg"), "--set", "image_size=32"]
    for extra, text in (
        (["--pretrain-steps", "2", "--robust", "phantom:night"], "got 'night'"),
        (["--pretrain-steps", "-1"], "--pretrain-steps must be 0 or more"),
        (["--pretrain-steps", "2", "--init", "camus"], "and 0 where --init is given, got 2"),
    ):
        done = CliRunner().invoke(app, [*words, *extra])
        assert done.exit_code == 2 and text in done.stderr, done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["animated:D", "animated:D:train", "animated:D:val"])
def test_animated_training_data_are_evaluated_on_validation_patients(name):
    assert _own([name]) == _animated(name) == "animated:D:validation"
    assert _animated("D") == "animated:D:validation"
