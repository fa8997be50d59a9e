"""Orders of correction, their gains, and a whole small experiment on simulated clips."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from echoseg.clip import Annotation, Clip, View
from echoseg.data import camus_writer, load_dataset
from echoseg.errors import ConfigError
from echoseg.quality.reliability import ClipUncertainty, label_priority
from experiments import label_order_command
from experiments.__main__ import app
from experiments.label_order import (
    PoolClip,
    Score,
    compare,
    corrected_dice,
    ordered,
    patient_dice,
    pool_records,
    retrain,
)

POOL = [
    PoolClip(name=name, priority=priority, dice=dice)
    for name, priority, dice in (("a", 0.1, 0.9), ("b", 0.5, 0.8), ("c", 0.3, 0.4))
]


def names(clips):
    return "".join(clip.name for clip in clips)


def test_orders_are_by_entropy_and_by_true_dice():
    assert names(ordered(POOL, "entropy", 0)) == "bca"
    assert names(ordered(POOL, "worst", 0)) == "cba"


def test_a_random_order_depends_on_its_seed_alone():
    pool = [replace(POOL[0], name=str(index)) for index in range(50)]
    first, again, other = (names(ordered(pool, "random", seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert sorted(first) == sorted(names(pool))


def test_a_corrected_clip_counts_as_right():
    assert corrected_dice(POOL, []) == pytest.approx(0.7)
    assert corrected_dice(POOL, [POOL[2]]) == pytest.approx(0.9)


def test_the_gain_is_paired_by_seed_and_patient():
    random = np.random.default_rng(0).uniform(0.7, 0.9, (3, 20))
    scores = [
        Score(order=order, num_corrected=5, seed=seed, patient=f"p{patient}", dice=dice + gain)
        for order, gain in (("random", 0.0), ("entropy", 0.02))
        for seed, row in enumerate(random)
        for patient, dice in enumerate(row)
    ]
    result = compare(scores, "entropy", 5)
    assert result["gain_points"] == pytest.approx(2.0)
    assert result["ci95_points"] == pytest.approx((2.0, 2.0))
    assert result["random_dice"] == pytest.approx(random.mean())


def test_an_unsure_network_comes_first():
    sure, unsure = (
        ClipUncertainty(entropy=entropy, pose_points=1, gamma_percent=1, segments_unseen=0)
        for entropy in (0.1, 0.2)
    )
    assert label_priority(unsure) > label_priority(sure)


def test_more_corrections_than_clips_are_refused(tmp_path):
    arguments = [str(tmp_path), "--num-clips", "4", "--num-corrected", "4", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, ["label-order", *arguments])
    assert result.exit_code != 0
    assert "must be from 1 to 3, got [4]" in str(result.output) + str(result.exception)


SIDE = 64


@pytest.fixture(scope="module")
def camus(tmp_path_factory):
    """Four training and two validation patients, ED and ES of an ellipse."""
    root = tmp_path_factory.mktemp("camus")
    patients = [f"patient{index:04}" for index in range(1, 7)]
    y, x = np.mgrid[:SIDE, :SIDE]
    for index, patient in enumerate(patients):
        distances = [np.hypot((x - 32) / r, (y - 30) / (1.5 * r)) for r in (13 + index / 2, 10)]
        masks = np.stack([(d < 1.4) * 2 - (d < 1) for d in distances]).astype(np.uint8)
        clip = Clip(frames=60 * masks + 20, times_s=np.array([0, 0.3]), spacing_mm=(0.8, 0.8))
        annotation = Annotation(masks=masks, ed_frame=0, es_frame=1, quality="Good")
        camus_writer.write_patient(root, patient, {View.A4C: (clip, annotation)})
    camus_writer.write_splits(root, {"training": patients[:4], "validation": patients[4:]})
    for path in root.rglob("*half_sequence*"):
        path.unlink()
    return load_dataset(root)


def test_the_pool_is_of_training_clips(camus):
    assert {record.patient for record in pool_records(camus, 4)} == {
        f"patient{index:04}" for index in range(1, 5)
    }
    with pytest.raises(ConfigError, match="at most 4"):
        pool_records(camus, 5)


def test_a_network_trained_on_is_scored_on_validation_patients(camus):
    records = pool_records(camus, 2)
    settings = {"num_steps": 2, "num_labeled": 2, "image_size": 64, "accelerator": "cpu"}
    trained = retrain("phantom", camus, records, 0, settings)
    assert list(trained) == ["patient0005", "patient0006"]
    assert trained != patient_dice("phantom", camus)


@pytest.fixture
def command(camus, tmp_path, monkeypatch):
    """Runs the command with small numbers of all; also the list of its trainings."""
    calls = []

    def train(model, data, records, seed, settings):
        calls.append(len(records))
        return {"patient0005": 0.8, "patient0006": 0.7 + 0.01 * len(records) + 0.1 * seed}

    records = pool_records(camus, 3)
    pool = [replace(clip, name=r.name) for clip, r in zip(POOL, records, strict=True)]
    monkeypatch.setattr(label_order_command, "score_pool", lambda model, records: pool)
    monkeypatch.setattr(label_order_command, "patient_dice", lambda *_: {"patient0005": 0.5})
    monkeypatch.setattr(label_order_command, "retrain", train)
    arguments = ["label-order", str(camus.root), "-o", str(tmp_path / "out"), "--num-clips", "3"]
    arguments += ["--num-corrected", "1", "--num-corrected", "2"]

    def run(*words, data=camus.root, seeds=2):
        words = [arguments[0], str(data), *arguments[2:], "--seeds", str(seeds), *words]
        return CliRunner().invoke(app, words)

    return run, calls


def test_an_experiment_resumes(command, tmp_path):
    run, calls = command
    for _ in range(2):
        result = run()
        assert result.exit_code == 0, result.output
    assert sorted(calls) == 6 * [1] + 6 * [2]  # once, though the command ran twice
    path = tmp_path / "out" / "summary.json"
    summary = json.loads(path.read_text())
    assert summary["start_dice"] == 0.5
    assert [row["dice"] for row in summary["retrained"]] == pytest.approx(2 * [0.78, 0.785])
    assert run(seeds=1).exit_code == 0
    first = json.loads(path.read_text())["retrained"]
    assert [row["dice"] for row in first] == pytest.approx(2 * [0.755, 0.76])


def test_other_data_models_and_settings_are_refused_in_the_folder(command, camus, tmp_path):
    run, calls = command
    assert run().exit_code == 0
    out, num_calls = tmp_path / "out", len(calls)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    other = shutil.copytree(camus.root, tmp_path / "other")
    for words, data, text in (
        ((), other, f"was started with data={camus.root}, got {other}"),
        (("--model", "camus"), camus.root, "was started with model=phantom, got camus"),
        (("--num-clips", "4"), camus.root, "was started with num_clips=3, got 4"),
        (("--set", "num_steps=9"), camus.root, "was started with num_steps=150, got 9"),
    ):
        result = run(*words, data=data)
        assert result.exit_code == 2 and text in result.stderr, result.output
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert len(calls) == num_calls
