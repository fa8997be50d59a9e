"""The model benchmark: budgets, speed, entries, and its command."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from curve_makers import SMALL, put_all, small_bench
from echoseg.errors import ConfigError
from echoseg.evaluation.tables import read_items
from echoseg.models import MODELS
from echoseg.train import train
from experiments import model_bench, speed
from experiments.__main__ import app
from experiments.cells import cell_folder, read_cost, run_cell
from experiments.figures import bench_png, rate_of
from experiments.grid import run_grid
from experiments.model_bench import (
    ALL_ENTRIES,
    ENTRIES,
    ModelBench,
    Speed,
    bench_markdown,
    read_speed,
    time_networks,
)
from experiments.networks import NAMES, NETWORKS
from experiments.summary import summarize


@pytest.mark.slow
def test_a_bench_runs_once_and_another_network_is_another_row(tmp_path, monkeypatch):
    measure = speed.rates
    monkeypatch.setattr(model_bench, "rates", lambda models: measure(models, turns=1))
    monkeypatch.setattr(model_bench, "peak_mb", lambda *words: 1.0)
    monkeypatch.setattr(speed, "SIZES_PX", (32,))
    lines = []

    def run(bench):
        return run_grid(
            bench,
            tmp_path,
            keep_weights=True,
            report=lines.append,
            finish=lambda cells: time_networks(tmp_path, cells),
        )

    first = small_bench(models=("unet",))
    run(first)
    assert lines[0].startswith("1/1  unet-seed0")
    path = cell_folder(tmp_path, first.cells()[0]) / "eval-0" / "items.csv"
    before = path.stat().st_mtime_ns
    bench = run(small_bench())
    assert [line.split("  ")[1] for line in lines[1:]] == ["mssnet_tiny-seed0"]
    assert path.stat().st_mtime_ns == before
    assert set(read_speed(tmp_path).networks) == {"unet", "mssnet_tiny"}
    summary = summarize(bench, tmp_path)
    assert [cost["row"] for cost in summary["costs"]] == ["unet", "mssnet_tiny"]
    assert {cost["num_steps"] for cost in summary["costs"]} == {2}
    own = [s for s in summary["scores"] if (s["row"], s["eval_set"]) == ("unet", "phantom:test")]
    groups = {"all", "ED", "ES", "easy", "medium", "hard", "extreme", "A2C", "A4C"}
    assert {score["group"] for score in own} == groups
    items = read_items(path.parent)
    dice = [float(i["dice"]) for i in items if i["structure"] == "lv_endo" and i["dice"]]
    scores = {(score["group"], score["structure"]): score["dice"] for score in own}
    assert scores["all", "lv_endo"] == pytest.approx(np.mean(dice))
    with pytest.raises(ConfigError, match="was started with max_steps"):
        run(small_bench(max_steps=4))
    done = CliRunner().invoke(app, ["bench", "--draw", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "phantom:test:corrupted: Dice" in done.stdout
    assert json.loads((tmp_path / "summary.json").read_text())["num_complete"] == 2
    assert (tmp_path / "table.csv").read_text().startswith("row,column,eval_set,group,structure")


@pytest.mark.slow
def test_a_training_ends_on_its_plateau_with_its_best_weights(tmp_path, monkeypatch):
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9])
    monkeypatch.setattr(train, "validation_scores", lambda *about: {"score": next(scores)})
    monkeypatch.setattr(train, "write_samples", lambda *about: None)
    bench = small_bench(models=("unet",), patience=2, validate_every=1, max_steps=9)
    (cell,) = bench.cells()
    run_cell(bench, tmp_path, True, cell)
    folder = cell_folder(tmp_path, cell)
    assert read_cost(folder).num_steps == 4
    assert not (folder / "best.safetensors").exists()
    assert next(scores) == 0.9  # the fifth round did not take place


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"machine": {}, "networks": {"unet": "fast"}}'])
def test_damaged_speed_is_measured_again_and_not_drawn(tmp_path, monkeypatch, text):
    bench = put_all(small_bench(), tmp_path)
    (tmp_path / "speed.json").write_text(text)
    drawn = CliRunner().invoke(app, ["bench", "--draw", "-o", str(tmp_path)])
    assert drawn.exit_code == 2
    assert "speed.json" in drawn.stderr and drawn.stderr.count("\n") == 1
    measured = Speed(machine={}, networks={"unet": {}, "mssnet_tiny": {}})
    monkeypatch.setattr(model_bench, "measure_speed", lambda names: measured)
    time_networks(tmp_path, bench.cells())
    assert read_speed(tmp_path) == measured


def test_a_network_that_cannot_use_the_settings_is_reported(tmp_path):
    bench = put_all(small_bench(models=("unet_3d",), settings=SMALL | {"num_frames": 2}), tmp_path)
    text = bench_markdown(summarize(bench, tmp_path), read_speed(tmp_path))
    assert "unet_3d can only be trained with num_frames 6, not 2." in text


def test_the_figure_draws_every_network(tmp_path):
    bench = put_all(small_bench(models=("unet", "mssnet")), tmp_path)
    rates = {"unet": {"streaming 112 frames/s": 90.0}, "mssnet": {"batched 256 frames/s": 9.0}}
    assert bench_png(summarize(bench, tmp_path), Speed(machine={}, networks=rates))[1:4] == b"PNG"


def test_every_network_takes_part_and_all_train_alike():
    assert {entry.model for entry in ENTRIES.values()} == set(MODELS) | set(NETWORKS)
    bench = ModelBench.make(
        data=("phantom:6",), eval_sets=("phantom:test",), models=tuple(ALL_ENTRIES)
    )
    configs = [bench.train_config(cell) for cell in bench.cells()]
    shared = {(config.learning_rate, config.seed, config.augment_strength) for config in configs}
    assert len(shared) == 1


def test_a_network_that_looks_ahead_is_timed_by_clips(monkeypatch):
    monkeypatch.setattr(speed, "SIZES_PX", (32,))
    rates = speed.rates({"unet_3d": speed.build(NAMES["unet_3d"], {})}, turns=1)
    assert list(rates["unet_3d"]) == ["batched 32 frames/s"]
    assert rate_of({"batched 256 frames/s": 3.0}) == (3.0, False)
    assert rate_of({"streaming 112 frames/s": 9.0, "batched 256 frames/s": 3.0}) == (9.0, True)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": ("unett",)}, "model must be one of"),
        ({"patience": 0}, "patience must be greater than or equal to 1, got 0"),
        ({"settings": {"learning_rate": float("inf")}}, "learning_rate must be a finite number"),
        ({"settings": {"model": "unet"}}, "settings must not contain model"),
        ({"models": ()}, "models"),
    ],
)
def test_invalid_fields_are_refused_before_anything_runs(changes, message):
    with pytest.raises(ConfigError, match=message):
        small_bench(**changes)
