"""The ablation of MSSNet's memory: one start, one table."""

import json

import pytest
import torch
from typer.testing import CliRunner

from echoseg.errors import ConfigError
from echoseg.models.build import build_model
from experiments.__main__ import app
from experiments.robustness import ClipScore
from experiments.ssg import SETTINGS, SSGAblation, start_from

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
    with pytest.raises(ConfigError, match="init must be a checkpoint with the encoder"):
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
