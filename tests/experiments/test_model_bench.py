"""The bench: each network once, by one loop and one evaluation; a row more when one is added."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from echoseg.errors import ConfigError, DatasetError, ModelError
from echoseg.evaluation import speed
from echoseg.evaluation.items import Item
from echoseg.evaluation.run import phantom_records
from echoseg.evaluation.tables import read_items, table_text
from echoseg.models import MODELS
from experiments import model_bench as model_bench_module
from experiments.__main__ import app
from experiments.bench_figure import accuracy_speed_png, speed_of
from experiments.bench_folder import Speed, damage, items_path, read_speed
from experiments.bench_table import markdown, summary
from experiments.model_bench import (
    ENTRANTS,
    TAKING_PART,
    begin,
    judged_records,
    model_bench,
    run_bench,
    spoilt,
)

SMALL = {"image_size": 32, "num_labeled": 2, "num_unlabeled": 2, "accelerator": "cpu"}


def small(**changes):
    fields = {
        "data": ("phantom:6",),
        "judges": ("phantom:test", "phantom:test:spoilt"),
        "num_hearts": 1,
        "models": ("unet", "mssnet_tiny"),
        "most_steps": 2,
        "settings": SMALL,
    }
    return model_bench(**fields | changes)


@pytest.fixture
def quick(monkeypatch):
    """Time one turn only, and no memory."""
    from experiments import model_bench

    monkeypatch.setattr(model_bench, "rates", lambda models: speed.rates(models, turns=1))
    monkeypatch.setattr(model_bench, "peak_mb", lambda *words: 1.0)
    monkeypatch.setattr(model_bench, "SIZES_PX", (32,), raising=False)
    monkeypatch.setattr(speed, "SIZES_PX", (32,))


def put(out, name: str, num_judges: int = 2) -> None:
    """Write what a network that is done leaves, its weights apart."""
    empty = {field.name: "" for field in dataclasses.fields(Item)}
    numbers = dict.fromkeys(("frame", "predicted_px", "reference_px", "shared_px"), 0)
    known = {"clip": "a", "patient": "a", "structure": "lv_endo", "dice": 0.9, "hd95": 2.0}
    item = Item(**empty | numbers | {"iou": None, "hd": None, "asd": None} | known)
    for judge in range(num_judges):
        path = items_path(out, name, judge)
        path.parent.mkdir(parents=True)
        path.write_text(table_text([item, item], Item), "utf-8")
    (out / "runs" / name / "cost.json").write_text('{"num_steps": 2, "cpu_s": 1.5}')


def put_bench(out, **changes):
    bench = small(**changes)
    begin(bench, out)
    for name in bench.models:
        put(out, name)
    (out / "speed.json").write_text(
        json.dumps({"machine": {}, "networks": {name: {} for name in bench.models}})
    )
    return bench


ITEMS_0 = "runs/unet/items-0/items.csv"
DAMAGES = [
    ("runs/unet/cost.json", "{"),
    ("runs/unet/cost.json", ""),
    ("runs/unet/cost.json", "{}"),
    ("runs/unet/cost.json", None),
    (ITEMS_0, "clip,patient"),
    (ITEMS_0, ",".join(field.name for field in dataclasses.fields(Item)) + "\n"),
]


@pytest.mark.parametrize(("file", "text"), DAMAGES)
def test_a_damaged_network_is_done_again_and_is_not_drawn(tmp_path, monkeypatch, file, text):
    bench = put_bench(tmp_path)
    done_again, said = [], []
    (tmp_path / file).unlink() if text is None else (tmp_path / file).write_text(text)
    drawn = CliRunner().invoke(app, ["bench", "--draw", "-o", str(tmp_path)])
    assert drawn.exit_code == 2
    assert str(tmp_path / file) in drawn.stderr and drawn.stderr.count("\n") == 1
    monkeypatch.setattr(model_bench_module, "run_model", lambda b, o, name: done_again.append(name))
    run_bench(bench, tmp_path, say=said.append)
    assert done_again == ["unet"]
    assert file in said[0] and "done again" in said[0]


def test_a_table_cut_in_a_row_is_damaged(tmp_path):
    put(tmp_path, "unet")
    path = tmp_path / ITEMS_0
    path.write_text(path.read_text()[:-3])
    assert "empty or cut" in damage(tmp_path, "unet", 2)


def test_judging_again_without_weights_trains_again(tmp_path, monkeypatch):
    bench = put_bench(tmp_path)
    (tmp_path / ITEMS_0).unlink()

    def trained(*args):
        raise ConfigError("training")

    monkeypatch.setattr(model_bench_module, "seconds_a_step", trained)
    with pytest.raises(ConfigError, match="training"):
        run_bench(bench, tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"machine": {}, "networks": {"unet": 3}}'])
def test_damaged_times_are_taken_again_and_not_drawn(tmp_path, monkeypatch, text):
    bench = put_bench(tmp_path)
    (tmp_path / "speed.json").write_text(text)
    drawn = CliRunner().invoke(app, ["bench", "--draw", "-o", str(tmp_path)])
    assert drawn.exit_code == 2
    assert "speed.json" in drawn.stderr and drawn.stderr.count("\n") == 1
    timed = Speed(machine={}, networks={"unet": {}, "mssnet_tiny": {}})
    monkeypatch.setattr(model_bench_module, "timed", lambda names: timed)
    run_bench(bench, tmp_path)
    assert read_speed(tmp_path) == timed


def test_a_refused_bench_leaves_the_folder_as_it_was(tmp_path):
    with pytest.raises(DatasetError, match="is not there"):
        run_bench(small(data=("nowhere",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_run_is_checked_before_the_first_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(model_bench_module, "run_model", lambda *args: pytest.fail("trained"))
    bench = small(models=("gdkvm", "unet"), settings=SMALL | {"pretrained_encoder": "phantom"})
    with pytest.raises(ModelError, match="pretrained_encoder needs"):
        run_bench(bench, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_named_twice_is_done_once():
    bench = small(models=("unet", "gdkvm", "unet"), judges=("phantom:test", "phantom:test"))
    assert bench.models == ("unet", "gdkvm") and bench.judges == ("phantom:test",)


def test_a_network_that_cannot_run_as_the_settings_say_is_told(tmp_path):
    bench = put_bench(tmp_path, models=("unet_3d",), settings=SMALL | {"num_frames": 2})
    told = markdown(summary(bench, tmp_path))
    assert "unet_3d can only be trained with num_frames 6, not 2." in told


@pytest.mark.slow
def test_a_bench_is_run_once_and_a_network_more_is_a_row_more(tmp_path, quick):
    seen = []
    run_bench(small(models=("unet",)), tmp_path, report=lambda *told: seen.append(told))
    assert seen == [("unet", 1, 1)]
    before = items_path(tmp_path, "unet", 0).stat().st_mtime_ns
    run_bench(small(), tmp_path, report=lambda *told: seen.append(told))
    assert seen[1:] == [("mssnet_tiny", 2, 2)]
    assert items_path(tmp_path, "unet", 0).stat().st_mtime_ns == before
    assert set(read_speed(tmp_path).networks) == {"unet", "mssnet_tiny"}
    told = summary(small(), tmp_path)
    assert [row["model"] for row in told["rows"]] == ["unet", "mssnet_tiny"]
    for row in told["rows"]:
        assert row["num_steps"] == 2
        assert row["speed"]["streaming 32 frames/s"] > 0
        plain = row["judged"][0]
        assert set(plain["groups"]) == {"all", "ED", "ES", "easy", "medium", "hard", "extreme"}
        items = read_items(items_path(tmp_path, row["model"], 0).parent)
        dice = [float(i["dice"]) for i in items if i["structure"] == "lv_endo" and i["dice"]]
        assert plain["groups"]["all"]["lv_endo"]["dice"] == pytest.approx(np.mean(dice))
        assert len(items) == len(read_items(items_path(tmp_path, row["model"], 1).parent))
    text = markdown(told)
    assert text.count("| unet |") == 3 and "On phantom:test:spoilt" in text
    assert accuracy_speed_png(told).startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="holds a bench with minutes"):
        run_bench(small(minutes=4.0), tmp_path)
    done = CliRunner().invoke(app, ["bench", "--draw", "-o", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert {"table.md", "table.csv", "accuracy_speed.png"} <= {p.name for p in tmp_path.iterdir()}
    assert json.loads((tmp_path / "summary.json").read_text())["num_done"] == 2


def test_every_model_takes_part():
    assert {entrant.model for entrant in ENTRANTS.values()} == set(MODELS)
    bench = model_bench(data=("phantom:6",), judges=("phantom:test",), models=tuple(TAKING_PART))
    runs = [bench.run_of(name, 5) for name in TAKING_PART]
    assert len({(run.learning_rate, run.seed, run.augment_strength) for run in runs}) == 1


def test_spoilt_frames_are_the_same_at_every_load_and_never_the_first():
    record = phantom_records("test", ["easy"], hearts=1)[0]
    clean, one, two = (r.load()[0].frames for r in (record, spoilt(3, record), spoilt(3, record)))
    assert np.array_equal(one, two)
    changed = [index for index in range(len(clean)) if np.abs(clean[index] - one[index]).max() > 2]
    assert 0 not in changed and 1 <= len(changed) < len(clean) / 2
    assert len(judged_records("phantom:held_out_style", 1)) == 4


def test_a_network_that_looks_ahead_is_timed_by_clips(monkeypatch):
    monkeypatch.setattr(speed, "SIZES_PX", (32,))
    rates = speed.rates({"unet_3d": speed.build("unet_3d", {})}, turns=1)
    assert list(rates["unet_3d"]) == ["batched 32 frames/s"]
    row = {"speed": {"batched 256 frames/s": 3.0}}
    assert speed_of(row) == (3.0, False)
    assert speed_of({"speed": {"streaming 112 frames/s": 9.0, **row["speed"]}}) == (9.0, True)
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"models": ("unett",)}, "model must be one of"),
        ({"minutes": 0}, "minutes must be greater than 0, got 0"),
        ({"minutes": float("inf")}, "minutes must be a finite number, got inf"),
        ({"settings": {"learning_rate": float("inf")}}, "learning_rate must be a finite number"),
        ({"judges": ("",)}, "judge must be .*got ''"),
        ({"settings": {"model": "unet"}}, "settings must leave model to the bench"),
        ({"settings": {"num_stepz": 3}}, "there is|no field 'num_stepz'"),
        ({"models": ()}, "models"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(changes, told):
    with pytest.raises(ConfigError, match=told):
        small(**changes)


def test_a_judge_that_is_not_there_is_refused_before_the_work(tmp_path):
    with pytest.raises(ConfigError, match="phantom:SPLIT or phantom:SPLIT:spoilt"):
        run_bench(small(judges=("phantom:test:spoilled",)), tmp_path / "a")
    with pytest.raises(DatasetError, match="no such folder"):
        run_bench(small(judges=("nowhere",)), tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "bench needs data"),
        (["--draw"], "must hold a bench"),
        (["phantom:6", "--minutes", "inf"], "minutes must be a finite number"),
        (["phantom:6", "--jobs", "0"], "jobs"),
    ],
)
def test_a_wrong_command_is_one_line(tmp_path, words, told):
    done = CliRunner().invoke(app, ["bench", *words, "-o", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert told in done.stderr and done.stderr.count("\n") == 1


def test_a_file_that_holds_no_fields_is_told_in_one_sentence(tmp_path):
    (tmp_path / "bench.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"must hold a bench \(bench.json\): it holds list"):
        run_bench(small(), tmp_path)
    assert (tmp_path / "bench.json").read_text() == "[]"
