"""What all training methods share."""

import math

import pytest
import torch
from torch import nn

from echoseg.train.config import train_config
from echoseg.train.methods.base import HIDDEN_PIXEL_WEIGHT, LossWeights
from echoseg.train.methods.supervised import Supervised


class Gated(nn.Module):
    """Carry gates that are the same everywhere, at two strides."""

    def __init__(self, logit):
        super().__init__()
        self.logit = nn.Parameter(torch.tensor(float(logit)))

    def forward(self, frames):
        return frames.expand(-1, -1, 4, -1, -1)

    def carry_logits(self, frames):
        num, time = frames.shape[:2]
        return self(frames), [self.logit.expand(num, time, side, side) for side in (4, 2)]


def carry_of(logit, hidden, weight=0.5, num=2, time=3):
    method = Supervised()
    method.weights = LossWeights(carry=weight)
    network = Gated(logit)
    _, terms = method.predict(network, torch.zeros(num, time, 1, 8, 8), hidden)
    return terms["carry"], network


def test_the_carry_term_is_weighted_cross_entropy_without_the_first_frame():
    hidden = torch.zeros(2, 3, 8, 8)
    hidden[:, 1, :4] = 1  # half of one of the two frames that count
    hidden[:, 0] = 1
    term, network = carry_of(1.0, hidden)
    own = 1 / (1 + math.exp(-1.0))
    by_hand = -0.25 * HIDDEN_PIXEL_WEIGHT * math.log(own) - 0.75 * math.log(1 - own)
    assert float(term.detach()) == pytest.approx(0.5 * by_hand, rel=1e-5)
    term.backward()
    slope = -0.25 * HIDDEN_PIXEL_WEIGHT * (1 - own) + 0.75 * own
    assert float(network.logit.grad) == pytest.approx(0.5 * slope, rel=1e-5)


def test_hidden_maps_of_the_first_clips_are_enough():
    hidden = torch.rand(1, 3, 8, 8)
    one, _ = carry_of(0.3, hidden, num=1)
    assert torch.equal(carry_of(0.3, hidden, num=3)[0], one)


def test_clean_frames_close_the_gates():
    term, network = carry_of(0.0, torch.zeros(2, 3, 8, 8))
    term.backward()
    assert network.logit.grad > 0


def test_there_is_no_term_without_gates_without_weight_or_without_a_past():
    frames, hidden = torch.zeros(2, 3, 1, 8, 8), torch.ones(2, 3, 8, 8)
    method = Supervised()
    assert method.predict(nn.Identity(), frames, hidden)[1] == {}
    assert method.predict(Gated(0), frames)[1] == {}
    assert method.predict(Gated(0), frames[:, :1], hidden[:, :1])[1] == {}
    method.weights = LossWeights(carry=0)
    assert method.predict(Gated(0), frames, hidden)[1] == {}


def test_weights_come_from_the_config():
    config = train_config(carry_weight=0.2, ratio_weight=0.3)
    assert LossWeights.of(config) == LossWeights(carry=0.2, ratio=0.3)
