"""Robustness on clips with known answers: a network that reads grey levels, one that lags."""

import json
from dataclasses import asdict, fields, replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from torch import nn
from typer.testing import CliRunner

from curve_makers import small_curve
from echoseg.clip import Annotation, Clip, View
from echoseg.data import Record
from echoseg.errors import ConfigError, DatasetError
from echoseg.files import write_json
from echoseg.models.segmenter import Segmenter
from experiments import robustness
from experiments.__main__ import app
from experiments.robustness import (
    CONDITIONS,
    ClipScore,
    Entry,
    border_band,
    carry_means,
    clip_metrics,
    evaluate_robustness,
    stills_ef_percent,
)
from experiments.robustness_tables import (
    COLUMNS,
    read_clips,
    robust_markdown,
    robust_scores,
    write_robust,
)

SIZE, GREY = 64, (20, 90, 160, 230)


class NoConfig(BaseModel):
    pass


class Last(NamedTuple):
    frame: torch.Tensor


class Reader(Segmenter):
    """Reads labels off the grey levels; with `lag`, those of the frame before."""

    stride, config_class, image_size = 1, NoConfig, SIZE

    def __init__(self, lag: bool = False) -> None:
        super().__init__(NoConfig())
        self.num_labels, self.lag, self.unused = 4, lag, nn.Parameter(torch.zeros(1))

    def init_state(self, batch_size):
        return Last(torch.full((batch_size, 1, SIZE, SIZE), -1.0))

    def _step(self, frame, state):
        used = torch.where(state.frame < 0, frame, state.frame) if self.lag else frame
        greys = torch.tensor(GREY)[None, :, None, None] / 255
        return -50 * (used - greys).abs(), Last(frame)

    def _forward(self, frames):
        raise NotImplementedError


def beat(num_frames=8):
    """A round cavity inside a wall, which shrinks to the middle frame; 1 mm per pixel."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(rows - 32, columns - 32)
    radii = 14 - 5 * np.sin(np.pi * np.arange(num_frames) / (num_frames - 1))
    masks = np.stack([np.where(distance < r, 1, np.where(distance < r + 8, 2, 0)) for r in radii])
    frames = np.array(GREY, np.uint8)[masks]
    annotation = Annotation(masks=masks.astype(np.uint8), ed_frame=0, es_frame=int(radii.argmin()))
    return Clip(frames=frames, spacing_mm=(1.0, 1.0)), annotation


def hide_right(frames, masks, generator):
    """A black right half on frames 2 to 5: a stand-in for the local artefacts."""
    hidden = torch.zeros_like(frames)
    hidden[2:6, :, SIZE // 2 :] = 1
    return frames * (1 - hidden), hidden


def test_the_hidden_condition_covers_the_wall_and_lasts():
    clip, annotation = beat(24)
    version, hidden = robustness.corrupted_clip("hidden", "one", clip, annotation)
    covered = (hidden > 0.5) & (annotation.masks == 2)
    assert covered.sum() > 0.02 * (annotation.masks == 2).sum()
    assert 4 <= covered.any((1, 2)).sum() <= 20
    assert (version.frames != clip.frames).any() and hidden.min() >= 0 and hidden.max() <= 1
    unchanged = version.frames == clip.frames
    assert unchanged[hidden == 0].all()


@pytest.fixture
def hidden(monkeypatch):
    monkeypatch.setitem(CONDITIONS, "hidden", hide_right)


def record(name="one", read=beat, **changes):
    fields = {"name": name, "patient": name, "view": View.A4C, "files": ()}
    return Record(**fields | {"read": read} | changes)


def metrics(network, condition="clean"):
    clip, annotation = beat()
    version = robustness.corrupted_clip(condition, "one", clip, annotation)
    return clip_metrics(network, SIZE, version, annotation)


def test_a_perfect_network_has_no_error_on_clean_clips():
    scores = metrics(Reader())
    assert scores["dice"] == 1 and scores["jitter_percent"] == 0
    assert scores["ef"] == scores["true_ef"] > 30
    assert scores["band_dice"] is None and scores["affected_dice"] is None
    clip, annotation = beat()
    assert stills_ef_percent(Reader(), SIZE, clip, annotation) == scores["true_ef"]


def test_the_hidden_band_counts_only_hidden_pixels_near_the_borders(hidden):
    _, annotation = beat()
    scores = metrics(Reader(), "hidden")
    # black is background: nothing of cavity and wall is segmented where it is hidden
    assert scores["band_dice"] == scores["band_wall_dice"] == 0
    assert 0.6 < scores["affected_dice"] < 0.75 < scores["dice"] < 1
    remembering = metrics(Reader(lag=True), "hidden")
    assert remembering["band_dice"] == pytest.approx(_lag_dice(annotation.masks), abs=1e-9)
    assert remembering["affected_dice"] != scores["affected_dice"]


def test_a_band_with_few_true_pixels_is_not_scored_whatever_is_predicted():
    few = robustness.MIN_BAND_PX - 1
    truth = np.zeros((1, 40, 40), np.uint8)
    truth.reshape(-1)[:few] = 1
    for predicted in (np.zeros_like(truth), np.ones_like(truth)):
        pairs = [(predicted[0], truth[0])]
        assert robustness._pooled_dice(pairs, 1) is None
        more = truth.copy()
        more.reshape(-1)[few] = 1
        assert robustness._pooled_dice([(predicted[0], more[0])], 1) is not None


def _lag_dice(masks):
    """Dice on the band when frame t shows the picture of t - 1, black on the right from 3 on."""
    shared = total = 0
    for time in range(2, 6):
        band = border_band(masks[time], (1.0, 1.0))
        band[:, : SIZE // 2] = False
        predicted = (masks[time - 1] == 1) & band & (time == 2)
        true = (masks[time] == 1) & band
        shared, total = shared + (predicted & true).sum(), total + predicted.sum() + true.sum()
    return 2 * shared / total


def test_a_network_that_lags_has_a_shift_of_ef_and_jitter():
    scores = metrics(Reader(lag=True))
    clip, annotation = beat()
    stills = stills_ef_percent(Reader(lag=True), SIZE, clip, annotation)
    assert stills == scores["true_ef"] > scores["ef"]
    assert scores["jitter_percent"] > 1


def test_the_band_is_five_millimetres_or_four_percent_of_the_side():
    mask = np.zeros((100, 60), np.uint8)
    mask[:, 20:40], mask[:, 40:50] = 1, 2
    across = border_band(mask, (1.0, 2.0))[50]  # borders at columns 20, 39 and 49, 2 mm wide
    assert np.flatnonzero(across).tolist() == [*range(18, 23), *range(37, 42), *range(47, 52)]
    unknown = border_band(mask, None)[50]  # 4 px
    assert np.flatnonzero(unknown).tolist() == [*range(16, 25), *range(35, 44), *range(45, 54)]


class Carrying(Reader):
    """Its gates are open exactly where the picture is black."""

    def carry_logits(self, frames):
        small = nn.functional.avg_pool2d(frames[0], 8)[None, :, 0]
        return None, [torch.where(small == 0, 9.0, -9.0), torch.zeros(1, len(frames[0]), 16, 16)]


def test_carry_gates_are_averaged_over_clean_and_hidden_pixels():
    frames, hidden = np.full((3, SIZE, SIZE), 90, np.uint8), np.zeros((3, SIZE, SIZE), np.float32)
    frames[:, :16], hidden[:, :16] = 0, 1
    means = carry_means(Carrying(), SIZE, frames, hidden)
    assert means["carry_hidden_8"] == pytest.approx(1, abs=1e-3)
    assert means["carry_clean_8"] == pytest.approx(0, abs=1e-3)
    assert means["carry_clean_4"] == means["carry_hidden_4"] == 0.5
    assert "carry_hidden_8" not in carry_means(Carrying(), SIZE, frames, 0 * hidden)
    assert carry_means(Reader(), SIZE, frames, hidden) == {}


def test_a_set_is_scored_alike_for_all_networks_and_any_number_of_jobs(hidden, monkeypatch):
    monkeypatch.setattr(robustness, "clip_records", lambda *about: (record(), record("two")))
    networks = {"good": Reader(), "slow": Reader(lag=True)}
    monkeypatch.setattr(robustness, "_network", lambda name: (networks[name], SIZE))
    entries = [Entry(row=name, seed=0, checkpoint=name) for name in networks]
    scores = evaluate_robustness(entries, "any")
    assert len(scores) == 2 * 2 * len(CONDITIONS)
    assert [s.dice for s in scores if (s.row, s.condition) == ("good", "clean")] == [1, 1]
    assert all(
        s.ef_error == 0 == s.ef_shift for s in scores if s.row == "good" and s.condition == "clean"
    )
    again = evaluate_robustness(entries, "any", conditions=["corrupted"])
    assert again == [s for s in scores if s.condition == "corrupted"]
    with pytest.raises(ConfigError, match="condition must be one of clean"):
        evaluate_robustness(entries, "any", conditions=["dark"])


def test_stills_and_clips_without_masks_are_refused(monkeypatch):
    from experiments import eval_sets

    monkeypatch.setattr(eval_sets, "eval_records", lambda *about: (record(stills=True),))
    with pytest.raises(DatasetError, match="not only stills"):
        eval_sets.clip_records("FOLDER")
    unlabeled = record(read=lambda: (beat()[0], None))
    with pytest.raises(DatasetError, match="must have masks"):
        robustness.score_record((), ("clean",), "FOLDER", unlabeled)


def score(row, seed, patient, **values):
    empty = dict.fromkeys(field.name for field in fields(ClipScore))
    about = {"eval_set": "set", "condition": "hidden", "clip": patient, "view": "A4C"}
    return ClipScore(**empty | about | {"row": row, "seed": seed, "patient": patient} | values)


def two_networks():
    return [
        score(row, seed, f"p{p}", band_dice=0.8 + gain + 0.01 * p + 0.002 * seed * p, ef_error=-p)
        for row, gain in (("features", 0), ("guidance", 0.03))
        for seed in range(3)
        for p in range(6)
    ]


def test_differences_are_paired_by_seed_and_patient():
    results = {(s.row, s.column): s for s in robust_scores(two_networks(), "features")}
    band = results["guidance", "band_dice"]
    assert band.difference == pytest.approx(3) and band.smallest_effect == pytest.approx(
        0, abs=1e-9
    )
    assert band.mean == pytest.approx(83 + 2.5 + 0.5) and band.sd_of_seeds == pytest.approx(0.5)
    assert (band.num_seeds, band.num_patients) == (3, 6)
    assert results["features", "band_dice"].difference is None
    assert results["features", "ef_bias"].mean == -2.5 == -results["features", "ef_mae"].mean
    assert ("guidance", "dice") not in results
    markdown = robust_markdown([asdict(s) for s in results.values()], "features")
    assert "| guidance | +3.00 [+3.00 to +3.00], detectable 0.00 | +0.0" in markdown


def test_lost_efs_are_counted_in_means_and_differences():
    """`other` is 3 points better over what both have; it lost four EFs of eight."""
    lost = {"p0 A2C", "p1 A4C", "p2 A4C", "p2 A2C"}
    scores = []
    for patient, view in product(("p0", "p1", "p2", "p3"), ("A4C", "A2C")):
        clip = f"{patient} {view}"
        for row, ef_error in (("ours", -5.0), ("other", None if clip in lost else -2.0)):
            one = score(row, 0, patient, dice=0.9, ef_error=ef_error)
            scores.append(replace(one, clip=clip))
    rows = robust_scores(scores, "ours")
    found = {(one.row, one.column): one for one in rows}
    assert (found["ours", "ef_mae"].num_patients, found["ours", "ef_mae"].num_lost) == (4, 0)
    other = found["other", "ef_mae"]
    assert (other.num_patients, other.difference_patients, other.num_lost) == (3, 3, 4)
    assert found["other", "dice"].num_lost == 0
    markdown = robust_markdown([asdict(one) for one in rows], "ours")
    assert "| ours | 90.00 | -5.0 | 5.0 |" in markdown
    assert "| other | 90.00 | -2.0, n 3, 4 lost | 2.0, n 3, 4 lost |" in markdown
    assert "-3.0 [-3.0 to -3.0], detectable 0.0, n 3 |" in markdown


def test_tables_are_written_and_clips_read_again(tmp_path):
    scores = [replace(s, band_dice=round(s.band_dice, 6)) for s in two_networks()]
    write_robust(scores, "features", {"command": "x"}, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "clips.csv", "table.csv", "table.md", "summary.json"
    }  # fmt: skip
    assert read_clips(tmp_path / "clips.csv") == scores
    (tmp_path / "clips.csv").write_text("row,seed\na,b\n")
    with pytest.raises(DatasetError, match=r"clips\.csv cannot be read"):
        read_clips(tmp_path / "clips.csv")
    assert set(COLUMNS) >= {"band_dice", "ef_mae", "carry_clean_8"}


def test_the_command_refuses_before_it_evaluates(tmp_path):
    invoke = partial(CliRunner().invoke, app)
    words = ["robustness", "phantom:test", "-o", str(tmp_path / "out"), "--model"]
    for extra, text in (
        (["no.safetensors"], "no.safetensors"),
        (["a=camus", "--reference", "b"], "reference must be one of a, got 'b'"),
        (["camus", "--condition", "dark"], "condition must be one of"),
        (["camus", "--num-clips", "0"], "num_clips must be at least 1"),
        (["=camus"], "model must be LABEL=FILE or FILE, got '=camus'"),
        (["a=camus", "--model", "a=camus"], "another training of a each time, got camus twice"),
    ):
        result = invoke([*words, *extra])
        assert result.exit_code == 2 and text in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_every_set_is_opened_before_the_first_is_evaluated(tmp_path):
    words = ["robustness", "phantom:test", "phantom:night", "--model", "camus", "-o"]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "out"), "--hearts", "1"])
    assert result.exit_code == 2 and "got 'night'" in result.stderr
    assert "clips" not in result.stdout


class Evaluator:
    """Stands in for `evaluate_robustness`; is interrupted at its `stop`-th call."""

    def __init__(self, stop=None):
        self.stop, self.calls = stop, []

    def __call__(self, entries, name, **options):
        (entry,) = entries
        self.calls.append((entry.row, name))
        if len(self.calls) == self.stop:
            raise KeyboardInterrupt
        gain = 0.05 * (entry.row == "b")
        patients = {f"p{p}": 0.8 + gain + 0.01 * p for p in range(6)}
        return [
            replace(score(entry.row, entry.seed, p, dice=dice), eval_set=name)
            for p, dice in patients.items()
        ]


SETS = ("phantom:test", "phantom:validation")


def evaluate_two(out, monkeypatch, *words, stop=None):
    evaluator = Evaluator(stop)
    monkeypatch.setattr(robustness, "evaluate_robustness", evaluator)
    models = ["--model", "a=camus", "--model", "b=phantom"]
    result = CliRunner().invoke(
        app, ["robustness", *SETS, "--hearts", "1", *models, "-o", str(out), *words]
    )
    return result, evaluator.calls


def test_an_interrupted_evaluation_continues_with_the_cell_that_is_missing(tmp_path, monkeypatch):
    result, calls = evaluate_two(tmp_path / "out", monkeypatch, stop=3)
    assert result.exit_code == 130 and "the same command continues" in result.stderr
    assert len(calls) == 3 and not (tmp_path / "out" / "table.md").exists()
    result, calls = evaluate_two(tmp_path / "out", monkeypatch)
    assert result.exit_code == 0, result.output
    assert calls == [("a", SETS[1]), ("b", SETS[1])]
    whole, _ = evaluate_two(tmp_path / "once", monkeypatch)
    for name in ("clips.csv", "table.csv", "table.md"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "once" / name).read_text()
    before = json.loads((tmp_path / "out" / "summary.json").read_text())["complete_before"]
    assert before == [f"a seed 0, {SETS[0]}", f"b seed 0, {SETS[0]}"]
    assert "| b | 87.50" in whole.stdout


def test_a_damaged_cell_is_evaluated_again_and_a_label_is_no_part_of_it(tmp_path, monkeypatch):
    evaluate_two(tmp_path, monkeypatch)
    *_, cell = sorted(tmp_path.glob("cells/*/robust-1/clips.csv"))
    cell.write_text(cell.read_text()[:-3])
    result, calls = evaluate_two(tmp_path, monkeypatch)
    assert result.exit_code == 0 and len(calls) == 1
    result, calls = evaluate_two(tmp_path, monkeypatch, "--model", "c=phantom", "phantom:test")
    assert result.exit_code == 0 and not calls
    assert "| c | " in result.stdout


def test_other_clips_or_conditions_in_the_folder_are_refused(tmp_path, monkeypatch):
    evaluate_two(tmp_path, monkeypatch)
    before = (tmp_path / "table.md").read_text()
    for words, text in (
        (["--condition", "clean"], "was started with conditions="),
        (["--num-clips", "3"], "was started with num_clips=None, got 3"),
    ):
        result, calls = evaluate_two(tmp_path, monkeypatch, *words)
        assert result.exit_code == 2 and text in result.stderr and not calls
    assert (tmp_path / "table.md").read_text() == before


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path, monkeypatch):
    (tmp_path / "curve").mkdir()
    write_json(tmp_path / "curve" / "experiment.json", small_curve())
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1").touch()
    (tmp_path / "file").touch()
    for name, text in (
        ("curve", "must hold a robustness evaluation, its experiment.json is of another kind"),
        ("thesis", "holds chapter1 and no experiment.json; choose another output folder"),
        ("file", "cannot be written"),
    ):
        result, calls = evaluate_two(tmp_path / name, monkeypatch)
        assert result.exit_code == 2 and text in result.stderr, result.output
        assert result.stderr.count("\n") == 1 and not calls
    assert [p.name for p in (tmp_path / "curve").iterdir()] == ["experiment.json"]


def test_an_evaluation_that_fails_in_its_first_cell_leaves_no_folder(tmp_path, monkeypatch):
    def fail(*words, **options):
        raise DatasetError("a clip is gone")

    monkeypatch.setattr(robustness, "evaluate_robustness", fail)
    words = ["robustness", "phantom:test", "--hearts", "1", "--model", "camus", "-o"]
    result = CliRunner().invoke(app, [*words, str(tmp_path / "out")])
    assert result.exit_code == 2 and "a clip is gone" in result.stderr
    assert not (tmp_path / "out").exists()
