"""Calibration of a network on annotated clips: coverage, the file, and what is refused."""

import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.clip import Annotation, Clip, Label, View
from echoseg.data import camus_writer, load_dataset
from echoseg.data.records import Record
from echoseg.evaluation import calibrate as calibrate_module
from echoseg.evaluation.calibrate import read_clips
from echoseg.evaluation.degrade import Degradation
from echoseg.inference.analyzer import Analyzer
from echoseg.inference.backends.torch import TorchSession
from echoseg.models.frame_segmenter import NoState
from echoseg.quality.calibration_fit import calibrate as fit
from echoseg.quality.conformal import BIPLANE, ef_interval, load_calibration
from echoseg.weights.card import find_checkpoint, read_card

NUM_PATIENTS, SIDE = 24, 64


class ByGrey(torch.nn.Module):
    """Label = grey / 60, wrong where the noise is strong."""

    streams = True

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def init_state(self, batch_size):
        return NoState()

    def step(self, frame, state):
        label = (frame[:, 0] * 255 / 60).round().long().clamp(0, 3)
        return 9 * torch.nn.functional.one_hot(label, 4).permute(0, 3, 1, 2).float(), state

    def forward(self, frames):
        return torch.stack([self.step(frame, None)[0] for frame in frames.unbind(1)], 1)


def heart(radius):
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot((x - 32) / radius, (y - 30) / (1.5 * radius))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[distance < 1.4] = Label.LV_MYOCARDIUM
    mask[distance < 1] = Label.LV_CAVITY
    return mask


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("camus")
    names = [f"patient{i:04}" for i in range(1, NUM_PATIENTS + 1)]
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        ed = rng.uniform(12, 16)
        masks = np.stack([heart(ed), heart(ed * rng.uniform(0.7, 0.9))])
        noise = rng.normal(0, rng.uniform(5, 25), masks.shape)
        clip = Clip(
            frames=(60 * masks + noise).clip(0, 255).round().astype(np.uint8),
            times_s=np.array([0, 0.3]),
            spacing_mm=(0.8, 0.8),
        )
        annotation = Annotation(masks=masks, ed_frame=0, es_frame=1, quality="Good")
        camus_writer.write_patient(root, name, {View.A4C: (clip, annotation)})
    camus_writer.write_splits(root, {"validation": names})
    for path in root.rglob("*half_sequence*"):
        path.unlink()  # ED and ES as stills
    return root


@pytest.fixture
def by_grey(monkeypatch):
    network = ByGrey()
    monkeypatch.setattr(calibrate_module, "loaded", lambda model, device="cpu": (network, SIDE))


def calibrate(*words):
    return CliRunner().invoke(app, ["calibrate", *map(str, words)])


def test_the_interval_covers_its_level_on_the_calibration_stills(root, by_grey):
    clips = read_clips("camus", load_dataset(root).split("validation").records)
    assert len(clips) == NUM_PATIENTS
    samples = [clip.sample for clip in clips]
    assert any(abs(one.error_points) > 1 for one in samples)
    assert {one.uncertainty.flicker_percent for one in samples} == {None}
    calibration = fit(samples, model_sha256="ab", source="test", level=0.8)
    spans = [
        ef_interval(one.ef_percent, one.uncertainty, calibration, view=one.view) for one in samples
    ]
    covered = [
        span.low_percent <= one.true_ef_percent <= span.high_percent
        for span, one in zip(spans, samples, strict=True)
    ]
    assert np.mean(covered) >= 0.7


def beating(name, view, scale=1.0):
    """A record of two beats of the heart, 30 frames per second."""
    rng = np.random.default_rng(len(name))
    phase = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(54) / 24)  # 0 at frames 0, 24, 48
    masks = np.stack([heart(scale * (16 - 5 * one)) for one in phase])
    clip = Clip(
        frames=(60 * masks + rng.normal(0, 6, masks.shape)).clip(0, 255).round().astype(np.uint8),
        times_s=np.arange(54) / 30,
        spacing_mm=(1.5, 1.5),
        view=view,
    )
    annotation = Annotation(masks=masks, ed_frame=24, es_frame=36, quality="Good")
    return Record(name=name, patient=name[:2], view=view, files=(), read=lambda: (clip, annotation))


def test_sequences_give_clean_and_degraded_clips_parts_of_beats_and_biplane(monkeypatch):
    analyzer = Analyzer("phantom", device="cpu")
    analyzer.session = TorchSession(ByGrey(), SIDE)
    monkeypatch.setattr(calibrate_module, "_analyzer", lambda model, device: analyzer)
    monkeypatch.setattr("echoseg.inference.analyzer.sector_gain", lambda clip, sector: 1.0)
    # the view is the data set's, whatever the view check sees
    monkeypatch.setattr("echoseg.inference.analysis.Analysis.wrong_view", "It shows no heart")
    records = [beating("p1_A4C", View.A4C), beating("p1_A2C", View.A2C, 0.9)]
    clips = read_clips("phantom", records)
    kinds = [clip.kind for clip in clips]
    views = [clip.sample.view for clip in clips]
    assert (kinds.count("clean"), kinds.count("export")) == (3, 2)
    assert set(kinds) - {"clean", "export", "part of a beat"} <= set(Degradation)
    degraded = {clip.kind for clip in clips if clip.sample.is_degraded}
    assert degraded <= set(Degradation)
    clean = {clip.sample.view: clip for clip in clips if clip.kind == "clean"}
    assert list(clean) == ["A4C", "A2C", BIPLANE] and views[-1] == BIPLANE
    for clip in clean.values():
        assert abs(clip.sample.error_points) < 4 and not clip.sample.is_part_of_beat
    assert clean["A4C"].num_beats >= 1
    flicker = [clean[view].sample.uncertainty.flicker_percent for view in ("A4C", "A2C", BIPLANE)]
    assert flicker[2] == pytest.approx((flicker[0] + flicker[1]) / 2)
    parts = [clip.sample for clip in clips if clip.kind == "part of a beat"]
    assert all(one.is_part_of_beat for one in parts)


def test_the_command_writes_the_file_that_analyze_uses(root, by_grey, tmp_path):
    weights = tmp_path / "mine.safetensors"
    shutil.copy(find_checkpoint("camus"), weights)
    done = calibrate(weights, root, "--level", "0.8", "--view", "A4C")
    assert done.exit_code == 0, done.output
    assert f"wrote {tmp_path / 'mine.trust.json'}" in done.output
    calibration = load_calibration(weights, read_card(weights).sha256)
    assert calibration is not None and calibration.level == 0.8
    assert calibration.source == "24 patients of CAMUS, NIfTI release, validation, A4C"
    assert Analyzer(str(weights)).calibration == calibration
    again = calibrate(weights, root, "--level", "0.8")
    assert again.exit_code == 2 and "exists; pass --force (force)" in again.output
    elsewhere = calibrate(weights, root, "--level", "0.8", "-o", tmp_path / "other.trust.json")
    assert f"echoseg analyze uses it as {tmp_path / 'mine.trust.json'}" in elsewhere.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--level", "0.95"), "a level of 0.95 needs clips of at least 39 patients in which"),
        (("--level", "0.95"), "can be measured, got 24; give more clips or a lower level"),
        (("--level", "1"), "level must be 0.5 or more and under 1"),
        (("--level", "0.4"), "level must be 0.5 or more and under 1, such as 0.9, got 0.4"),
        (("--view", "PSAX"), "--view must be a view of the data, which has A4C"),
        (("--split", "test"), "test"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_in_one_line(root, by_grey, tmp_path, words, message):
    done = calibrate("camus", root, *words, "-o", tmp_path / "out.trust.json")
    assert done.exit_code == 2
    assert message in done.output and done.output.count("\n") == 1
    assert not (tmp_path / "out.trust.json").exists()


def test_the_shipped_calibration_is_not_to_be_replaced_by_chance(root):
    done = calibrate("camus", root)
    assert done.exit_code == 2
    assert "give -o FILE.trust.json" in done.output and "--force" not in done.output


def test_data_without_splits_are_taken_whole(root, by_grey, tmp_path, monkeypatch):
    from dataclasses import replace

    whole = load_dataset(root)
    records = tuple(replace(record, split="") for record in whole.records)
    monkeypatch.setattr(
        "echoseg.data.load_dataset", lambda *_, **__: replace(whole, records=records)
    )
    path = tmp_path / "out.trust.json"
    done = calibrate("camus", root, "--level", "0.8", "-o", path)
    assert done.exit_code == 0, done.output
    assert f"has no splits: all {len(records)} clips are used" in done.output
    assert path.exists()


def test_clips_without_masks_are_refused(root, by_grey, tmp_path):
    from dataclasses import replace

    from echoseg.errors import DatasetError

    records = load_dataset(root).split("validation").records
    with pytest.raises(DatasetError, match="none of the 24 clips has one"):
        read_clips("camus", [replace(record, labelled=False) for record in records])
