"""Scores of a segmenter whose answers are known: it reads labels off flat grey pictures."""

import numpy as np
import pytest
import torch

from echoseg.clip import Annotation, Clip, View
from echoseg.data import camus_writer as camus_layout
from echoseg.evaluation.training_scores import (
    camus_scores,
    phantom_cases,
    predict,
    score_clip,
    scores_by_group,
    summary,
)

STEP = 60  # grey levels between labels


class ByGrey(torch.nn.Module):
    """Label = grey / 60; `shift` answers another label, to be wrong on purpose."""

    streams = True

    def __init__(self, shift=0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.shift = shift

    def init_state(self, batch_size):
        return None

    def step(self, frame, state):
        label = (frame[:, 0] * 255 / STEP).round().long().clamp(0, 3)
        logits = torch.nn.functional.one_hot((label + self.shift) % 4, 4)
        return logits.permute(0, 3, 1, 2).float(), state


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("camus")
    mask = np.zeros((140, 110), np.uint8)
    mask[20:90, 25:85] = 2
    mask[30:90, 35:75] = 1
    mask[90:130, 40:70] = 3
    masks = np.stack([mask, np.roll(mask, 2, 1)])
    clip = Clip(frames=masks * STEP, times_s=np.array([0, 0.1]), spacing_mm=(0.5, 0.8))
    known = Annotation(masks=masks, ed_frame=0, es_frame=1, ef_percent=50.0)
    camus_layout.write_patient(root, "patient0001", {View.A4C: (clip, known)})
    camus_layout.write_splits(root, {"validation": ["patient0001"]})
    return root


def test_one_who_knows_scores_one(root):
    """At the picture's own size nothing is interpolated: the answer is exact."""
    scores = camus_scores(ByGrey(), root, 140)
    for name in ("lv_endo", "lv_epi", "la"):
        assert scores[name] == 1
        assert scores[f"{name}_hd95_mm"] == scores[f"{name}_asd_mm"] == 0
    assert scores["lv_endo_failure_share"] == 0
    assert scores["num_frames"] == 2


def test_on_another_grid_one_who_knows_loses_a_border(root):
    scores = camus_scores(ByGrey(), root, 160)
    assert all(scores[name] > 0.96 for name in ("lv_endo", "lv_epi", "la"))


def test_one_who_is_wrong_scores_low_and_fails(root):
    scores = camus_scores(ByGrey(shift=1), root, 160)
    assert scores["lv_endo"] < 0.3
    assert scores["lv_endo_failure_share"] == 1


def test_masks_come_back_on_the_clips_own_grid():
    frames = np.zeros((3, 70, 90), np.uint8)
    frames[:, 20:50, 30:60] = STEP
    masks = predict(ByGrey(), frames, 96)
    assert masks.shape == frames.shape
    assert (masks[:, 25:45, 35:55] == 1).all()


def test_scores_are_by_tier_and_count_every_frame():
    scores = scores_by_group(ByGrey(), phantom_cases("validation", hearts=1), 96)
    assert sorted(scores) == ["easy", "extreme", "hard", "medium"]
    for found in scores.values():
        assert found["num_frames"] == 48
        assert 0 <= found["lv_endo"] < 0.8  # greys are no labels here
        assert found["ef_error_points"] >= 0


def test_the_truth_scores_all_and_trembles_no_more_than_itself():
    (case,) = phantom_cases("validation", hearts=1, tiers=["easy"])
    scores = summary([score_clip(case.masks, case)])
    assert scores["lv_endo"] == scores["lv_epi"] == 1
    assert scores["lv_endo_hd95_mm"] == scores["ef_error_points"] == 0
    assert scores["lv_endo_jitter_excess_percent"] == 0
    assert scores["lv_endo_failure_share"] == 0


def test_spoilt_frames_are_the_same_at_every_call_and_told_apart():
    first, again = (
        next(phantom_cases("validation", tiers=["hard"], spoilt_share=0.3)) for _ in range(2)
    )
    assert np.array_equal(first.frames, again.frames)
    clean = next(phantom_cases("validation", tiers=["hard"]))
    assert not clean.spoilt.any()
    assert 5 < first.spoilt.sum() < 25
    same = (first.frames == clean.frames).all((1, 2))
    assert np.array_equal(~same, first.spoilt)
    masks = first.masks.copy()
    masks[first.spoilt] = 0
    scores = summary([score_clip(masks, first)])
    assert scores["lv_endo_spoilt"] == 0 < scores["lv_endo"]
