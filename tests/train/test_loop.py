import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric

from echoseg.errors import ConfigError, OutputError
from echoseg.train.config import train_config
from echoseg.train.data.batches import Batches
from echoseg.train.data.training_set import joined
from echoseg.train.loop import Progress, Run, _own_part, fit
from echoseg.train.run_folder import RunFolder
from echoseg.train.train import make_fabric
from train.makers import disk_set

SMALL = {
    "architecture": {"size": "tiny"},
    "image_size": 32,
    "num_labeled": 2,
    "num_unlabeled": 2,
    "num_steps": 6,
    "save_every": 3,
    "validate_every": 3,
    "accelerator": "cpu",
}


def run_of(**changes) -> Run:
    config = train_config(**{"method": "mssnet", **SMALL, **changes})
    return Run(config, disk_set(12, num_labeled=4), make_fabric(config))


def folder_of(path: Path) -> RunFolder:
    folder = RunFolder(path)
    folder.begin(train_config(**SMALL), needed_bytes=1)
    return folder


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        # what was never told is nan on both sides
        return torch.equal(one.nan_to_num(-1), other.nan_to_num(-1))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.parametrize(
    ("precision", "is_native", "mixed"),
    [("auto", True, True), ("auto", False, False), ("bf16-mixed", False, True)],
)
def test_a_run_computes_in_bfloat16_where_the_processor_does(
    monkeypatch, precision, is_native, mixed
):
    monkeypatch.setattr("echoseg.train.train.has_bf16", lambda: is_native)
    fabric = make_fabric(train_config(**SMALL, precision=precision))
    with fabric.autocast():
        assert torch.is_autocast_enabled("cpu") is mixed


@pytest.mark.parametrize("method", ["mssnet", "uncertainty_mean_teacher", "unimatch", "bcp"])
def test_a_run_cut_and_resumed_ends_the_same_to_the_last_digit(tmp_path, method):
    whole = run_of(method=method)
    fit(whole, folder_of(tmp_path / "whole"))
    cut = run_of(method=method)
    for _ in range(4):
        cut.take_step()
    folder = folder_of(tmp_path / "cut")
    folder.save(cut.state_dict(), cut.step, 2)
    resumed = run_of(method=method)
    resumed.load_state_dict(folder.load())
    fit(resumed, folder)
    assert same(whole.state_dict(), resumed.state_dict())


def test_a_run_with_artefacts_clips_and_stills_resumes_to_the_last_digit(tmp_path):
    fields = {
        "num_frames": 6,
        "artefact_prob": 0.5,
        "corruption_prob": 0.2,
        "mirror_prob": 0.5,
        "ratio_weight": 0.3,
        "bptt_frames": 3,
    }
    data = disk_set(12, num_frames=8, num_labeled=4)
    stills = replace(disk_set(8), are_stills=torch.ones(8, dtype=torch.bool))
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")

    def run():
        config = train_config(method="mssnet", **SMALL, **fields)
        return Run(config, joined([data, stills]), fabric)

    whole, cut, resumed = run(), run(), run()
    assert whole.module.student.bptt_frames == 3
    assert 0 < whole.batches.stills_share < 1
    for _ in range(3):
        cut.take_step()
    resumed.load_state_dict(cut.state_dict())
    for _ in range(5):
        values = whole.take_step()
    for _ in range(2):
        resumed.take_step()
    assert same(whole.state_dict(), resumed.state_dict())
    assert values["data/still_fraction"] in (0, 1)


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    def after_two(seed: int):
        run = run_of(seed=seed)
        return [run.take_step()["loss"] for _ in range(2)]

    assert after_two(1) == after_two(1)
    assert after_two(1) != after_two(2)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "mssnet"])
def test_it_learns_a_disk(tmp_path, method):
    from echoseg.train.validation import validation_scores

    run = run_of(method=method, num_steps=120, validate_every=120, ema_decay=0.9)
    before = validation_scores(run.teacher.model, disk_set(12))["lv_endo"]
    fit(run, folder_of(tmp_path))
    after = validation_scores(run.teacher.model, disk_set(12))
    assert before < 0.5
    assert after["lv_endo"] > 0.8
    assert after["lv_epi"] > 0.85


def test_the_best_is_kept_and_a_run_without_gain_stops_early(tmp_path):
    scores = iter([0.5, 0.8, 0.7, 0.6, 0.9])
    saved: list[str] = []
    reports: list[Progress] = []
    run = run_of(num_steps=10, validate_every=2, patience=2)
    fit(
        run,
        folder_of(tmp_path),
        validate=lambda model: {"score": next(scores)},
        report=reports.append,
        save_model=lambda name, model: saved.append(name),
    )
    assert run.step == 8
    assert (run.best_score, run.best_step) == (0.8, 4)
    assert saved == ["best.safetensors", "best.safetensors", "model.safetensors"]
    assert [r.values["validation_score"] for r in reports] == [0.5, 0.8, 0.7, 0.6]


def test_a_run_that_stopped_early_is_not_trained_on_when_it_is_resumed(tmp_path):
    changes = {"num_steps": 20, "validate_every": 2, "save_every": 2, "patience": 2}
    run, folder = run_of(**changes), folder_of(tmp_path)
    scores = iter([0.8, 0.7, 0.6])
    fit(run, folder, validate=lambda model: {"score": next(scores)})
    assert run.step == 6
    for _ in range(2):
        resumed = run_of(**changes)
        resumed.load_state_dict(folder.load())
        saved = []
        fit(
            resumed,
            folder,
            validate=lambda model: {"score": 0.9},
            save_model=lambda name, model, into=saved: into.append((name, model.state_dict())),
        )
        assert resumed.step == 6
        ((name, weights),) = saved
        assert name == "model.safetensors" and same(weights, run.teacher.model.state_dict())


@pytest.mark.parametrize("broken", ["student", "teacher"])
def test_a_loss_that_is_no_number_names_a_way_out_that_can_be_taken(broken):
    run = run_of()
    network = run.module.student if broken == "student" else run.teacher
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(
        ConfigError, match=r"start again in another folder \(-o\) with a learning_r"
    ):
        run.take_step()


def test_a_loss_of_ones_own_is_named_where_it_may_be_at_fault():
    own = run_of(method="supervised", loss="torch.nn.functional:cross_entropy")
    with torch.no_grad():
        for parameter in own.module.student.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(ConfigError, match=r"at step 0; mend a loss of your own, or start again"):
        own.take_step()


def test_only_the_last_checkpoints_stay_and_a_broken_one_is_passed_over(tmp_path):
    folder = folder_of(tmp_path)
    run = run_of()
    for _ in range(3):
        run.take_step()
        folder.save(run.state_dict(), run.step, 2)
    names = sorted(path.name for path in tmp_path.glob("resume-*"))
    assert names == ["resume-000002.safetensors", "resume-000003.safetensors"]
    (tmp_path / names[1]).write_bytes(b"cut off")
    assert folder.load()["step"] == 2


def test_a_full_disk_leaves_what_was_saved(tmp_path, monkeypatch):
    folder, run = folder_of(tmp_path), run_of()
    folder.save(run.state_dict(), 1, 2)

    def full(path, state):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("echoseg.train.run_folder.write_state", full)
    with pytest.raises(OutputError, match=r"No space left.*--resume"):
        folder.save(run.state_dict(), 2, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["resume-000001.safetensors", "run.json"]
    assert folder.load()["step"] == 0


def test_too_little_space_is_told_before_the_first_step(tmp_path):
    with pytest.raises(OutputError, match="MB free for checkpoints"):
        RunFolder(tmp_path).begin(train_config(**SMALL), needed_bytes=10**18)


def test_a_folder_with_a_run_is_not_begun_again(tmp_path):
    RunFolder(tmp_path).begin(train_config(**SMALL), needed_bytes=1)
    assert RunFolder(tmp_path).config() == train_config(**SMALL)
    with pytest.raises(ConfigError, match="already holds a run"):
        RunFolder(tmp_path).begin(train_config(**SMALL), needed_bytes=1)


@pytest.mark.parametrize("content", [None, "not json", '{"num_stepz": 3}', "[1]"])
def test_a_folder_without_a_run_cannot_be_resumed(tmp_path, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ConfigError):
        RunFolder(tmp_path).config()


def test_a_checkpoint_of_another_shape_is_refused():
    state = run_of().state_dict()
    with pytest.raises(ConfigError, match="does not fit the run's network"):
        run_of(architecture={"size": "small"}).load_state_dict(state)


def test_a_loss_that_is_no_number_stops_the_run():
    run = run_of()
    with torch.no_grad():
        run.module.student.head.bias.fill_(torch.nan)
    with pytest.raises(ConfigError, match="learning_rate"):
        run.take_step()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_stepz", 3, "did you mean num_steps"),
        ("labeled_fraction", -1, "labeled_fraction"),
        ("image_size", 100, "multiple of 16"),
        ("method", "mssnte", "method must be one of"),
        ("num_frames", "many", "num_frames"),
        ("method_options", {"racc": True}, "method_options"),
    ],
)
def test_a_wrong_field_is_told_by_name(field, value, message):
    with pytest.raises(ConfigError, match=message):
        train_config(**{"method": "mssnet", field: value}).make_method()


TWO = """
import os, sys, torch
sys.path.insert(0, {tests!r})
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from train.makers import disk_set
from echoseg.train.config import train_config
from echoseg.train.loop import Run
strategy = DDPStrategy(broadcast_buffers=False)
fabric = Fabric(accelerator="cpu", devices=2, strategy=strategy, precision="32-true")
fabric.launch()
config = train_config(
    method="mssnet", method_options={{"doc": True}}, architecture={{"size": "tiny"}},
    image_size=32, num_labeled=2, num_unlabeled=4, precision="32-true", accelerator="cpu",
)
run = Run(config, disk_set(12, num_labeled=4), fabric)
run.module.student.eval()  # the statistics of batch norm are each process's own
for _ in range(3):
    run.take_step()
torch.save(dict(run.module.student.named_parameters()), {out!r} + str(fabric.global_rank))
fabric.barrier()
"""


@pytest.mark.slow
def test_two_processes_learn_the_same_weights(tmp_path):
    script, out = tmp_path / "two.py", tmp_path / "weights"
    script.write_text(TWO.format(tests=str(Path(__file__).parents[1]), out=str(out)))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, "--master-port", "29511", str(script)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = (torch.load(f"{out}{rank}", weights_only=False) for rank in (0, 1))
    assert same(one, other)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_takes_its_part_of_a_batch_and_of_its_sources(rank):
    config = train_config(**SMALL)
    batch = Batches(disk_set(12, num_labeled=4), config, 4, 2, with_sources=True)[0]
    part = _own_part(batch, SimpleNamespace(global_rank=rank, world_size=2))
    assert part.num_labeled == part.sources.num_labeled == 2
    assert torch.equal(part.clips, batch.clips[[rank, 2 + rank, 4 + rank]])
    assert torch.equal(part.sources.strong, batch.sources.strong[rank::2])
    assert torch.equal(part.sources.clips, part.clips[:2])


def test_the_log_holds_a_line_a_report(tmp_path):
    fit(run_of(), folder_of(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert {"loss", "supervised", "mixed", "metrics/target_dice", "data/clip_frames"} <= lines[
        0
    ].keys()
