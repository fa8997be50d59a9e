"""An analysis by a network that takes only whole clips of one length."""

import numpy as np
import pytest
import torch

from clip_makers import moving_frames
from echoseg.clip import Clip
from echoseg.errors import ModelError
from echoseg.inference.analyzer import Analyzer
from echoseg.models.checkpoint import save_checkpoint
from echoseg.weights.card import ModelCard
from experiments.networks import NAMES
from experiments.networks.mssnet_released import MSSNetReleased, MSSNetReleasedConfig


@pytest.fixture(scope="module")
def analyzer(tmp_path_factory):
    torch.manual_seed(0)
    model = MSSNetReleased(MSSNetReleasedConfig(num_frames=5, image_size=64))
    card = ModelCard(architecture=NAMES["mssnet_released"], image_size=64, licence="x")
    path = tmp_path_factory.mktemp("weights") / "whole.safetensors"
    save_checkpoint(path, model, card)
    return Analyzer(str(path), device="cpu")


def test_a_clip_is_analysed_by_windows_and_every_frame_counts_once(analyzer):
    told = []
    clip = Clip(frames=moving_frames(num_frames=7))
    analysis = analyzer.analyze(clip, progress=lambda done, _: told.append(done))
    assert told == list(range(1, 8))
    assert analysis.masks.shape == clip.frames.shape
    first = analyzer.analyze(Clip(frames=clip.frames[:5]))
    assert np.array_equal(analysis.masks[:5], first.masks)


def test_a_clip_shorter_than_the_window_is_refused(analyzer):
    with pytest.raises(ModelError, match=r"at least 5 frames.* got 4"):
        analyzer.analyze(Clip(frames=moving_frames(num_frames=4)))
