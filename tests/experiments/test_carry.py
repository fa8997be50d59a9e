"""Ways to carry a correction, on clips whose motion is known, and their table."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from echoseg.clip import Annotation, Clip, Label
from echoseg.data import Record
from echoseg.web.reading.carry import FADE_S, carry_correction
from experiments import carry, eval_sets
from experiments.__main__ import app
from experiments.carry import CarryScore, correct, mean_dice, score_clip, summarize

SIZE, NUM_FRAMES = 96, 8


def heart(shift=0.0, grow=0.0):
    """A cavity in its wall, moved to the right and larger by some pixels."""
    y, x = np.mgrid[:SIZE, :SIZE]
    r = np.hypot(x - 45 - shift, (y - 48) / 1.4)
    return ((r < 22 + grow) * 2 - (r < 14 + grow)).astype(np.uint8)


def moving_clip(step_px=2.0):
    """Frames with a texture that moves by a step per frame, with the heart."""
    grain = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (SIZE, SIZE)), 1.5)
    grain = 128 + 60 * grain / grain.std()
    frames = [ndimage.shift(grain, (0, step_px * t), mode="wrap") for t in range(NUM_FRAMES)]
    return np.stack(frames).clip(0, 255).astype(np.uint8)


def test_flow_moves_a_correction_with_the_picture():
    frames, step = moving_clip(), 2.0
    truth = [heart(step * t) for t in range(NUM_FRAMES)]
    own = [mask.copy() for mask in truth]
    for t, mask in enumerate(own):  # the network misses a notch, which moves with the wall
        part = mask[:, : 37 + round(step * t)]
        part[part == Label.LV_CAVITY] = Label.LV_MYOCARDIUM
    wanted = range(1, 6)
    carried = carry_correction(frames, np.zeros(NUM_FRAMES), own, 0, truth[0], wanted)
    for t in wanted:
        before, after = mean_dice(own[t], truth[t]), mean_dice(carried[t], truth[t])
        assert after > before and after > 0.985, t
        assert mean_dice(truth[0], truth[t]) < after or t == 1


def test_a_correction_fades_with_time():
    frames, own = moving_clip(0.0), [heart()] * NUM_FRAMES
    times_s = np.arange(NUM_FRAMES) * FADE_S
    carried = carry_correction(frames, times_s, own, 3, heart(grow=4), [0, 1, 2, 4])
    area = {frame: np.count_nonzero(mask == Label.LV_CAVITY) for frame, mask in carried.items()}
    radius = {frame: (one / (1.4 * np.pi)) ** 0.5 - 14 for frame, one in area.items()}
    for frame, distance in ((2, 1), (4, 1), (1, 2), (0, 3)):
        assert radius[frame] == pytest.approx(4 * np.exp(-(distance**2) / 2), abs=0.3)


def test_one_half_of_a_mask_is_corrected():
    own, truth = heart(), heart(grow=5)
    half = correct(own, truth, "half")
    assert np.array_equal(half[:, 50:], truth[:, 50:]) and np.array_equal(half[:, :40], own[:, :40])
    assert np.array_equal(correct(own, truth, "whole"), truth)


@pytest.fixture(scope="module")
def record():
    frames = moving_clip()
    masks = np.stack([heart(2 * t) for t in range(NUM_FRAMES)])
    frames = (frames // 4 + 60 * masks).astype(np.uint8)
    clip = Clip(frames=frames, times_s=np.arange(NUM_FRAMES) / 30, spacing_mm=(0.8, 0.8))
    annotation = Annotation(masks=masks, ed_frame=0, es_frame=4)
    return Record(
        name="one", patient="p1", view=clip.view, split="validation", quality="", files=(),
        read=lambda: (clip, annotation),
    )  # fmt: skip


def test_every_method_is_scored_on_the_same_frames(record, monkeypatch):
    monkeypatch.setattr(carry, "FIT_STEPS", 2)
    monkeypatch.setattr(carry, "MAX_DISTANCE", 3)
    scores = score_clip("camus", record)
    places = {}
    for one in scores:
        places.setdefault((one.correction, one.method), []).append((one.anchor, one.distance))
    assert len(places) == 12 and len(set(map(tuple, places.values()))) == 1
    assert {("ed", 0), ("ed", 3), ("mid", 3), ("es", 3)} <= set(places["whole", "none"])
    start = {one.method: one.dice for one in scores if one.distance == 0 and one.anchor == "ed"}
    assert start["none"] == scores[0].own_dice < start["contour"]
    own = [one.dice for one in scores if one.method == "none" and one.correction == "whole"]
    assert own == [o.dice for o in scores if o.method == "none" and o.correction == "half"]


def test_gains_are_paired_by_clip_and_their_interval_is_over_patients():
    def score(clip, method, dice, anchor="ed"):
        return CarryScore(
            clip=clip, patient=clip[:1], anchor=anchor, correction="whole", method=method,
            distance=1, own_dice=0.9, dice=dice,
        )  # fmt: skip

    clips = {
        f"{patient}{view}": 0.9 + 0.01 * i for i, patient in enumerate("abcd") for view in "42"
    }
    scores = [score(clip, "none", dice) for clip, dice in clips.items()]
    scores += [score(clip, "flow", dice + 0.02, "ed") for clip, dice in clips.items()]
    own, flow = summarize(scores)
    assert (own["method"], own["gain_points"]) == ("none", 0)
    assert flow["gain_points"] == pytest.approx(2) and flow["num_patients"] == 4
    assert (flow["low_points"], flow["high_points"]) == pytest.approx((2, 2))
    assert flow["smallest_effect_points"] == pytest.approx(0, abs=1e-9)
    both = summarize([*scores, replace(scores[-1], anchor="es", dice=0.5)])
    assert both[1]["gain_points"] < flow["gain_points"]  # of a clip its anchors are averaged


def test_the_command_writes_a_table(record, tmp_path, monkeypatch):
    monkeypatch.setattr(eval_sets, "clip_records", lambda name, num_clips: (record,))
    output = tmp_path / "out"
    options = ["carry", "phantom:validation", "-o", str(output), "--method", "contour"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader((output / "carry.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == {"none", "contour"}
    assert {row["data"] for row in rows} == {"phantom"}
    refused = CliRunner().invoke(app, [*options, "--method", "magic"])
    assert refused.exit_code == 2
