"""phantom-v1 stays what it was, and its splits share no heart."""

import pytest

from echoseg.errors import ConfigError
from echoseg.phantom import Style, Tier
from echoseg.phantom.benchmark import (
    FIRST_SEED,
    NUM_HEARTS,
    frozen_labels,
    labels_sha256,
    phantom_v1,
    split_of,
)

SPLITS = ("validation", "test", "held_out_style")


@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_those_of_the_release(split):
    """One heart of each tier here; `scripts/freeze_phantom.py check` does all."""
    configs, known = phantom_v1(split), frozen_labels()[split]
    assert len(configs) == len(known) == NUM_HEARTS * len(Tier)
    for index in (0, 5, 10, 15):
        assert labels_sha256(configs[index]) == known[index]


def test_splits_are_disjoint_by_construction():
    seeds = {split: {config.seed for config in phantom_v1(split)} for split in SPLITS}
    for split, own in seeds.items():
        assert {split_of(seed) for seed in own} == {split}
        assert len(own) == NUM_HEARTS
    starts = sorted(FIRST_SEED.values())
    assert starts == list(FIRST_SEED.values())
    assert split_of(0) == split_of(starts[1] - 1) == "train"


def test_every_heart_is_filmed_in_every_tier():
    for split in SPLITS:
        configs = phantom_v1(split)
        assert [config.tier for config in configs[:4]] == list(Tier)
        style = Style.HELD_OUT if split == "held_out_style" else Style.TRAIN
        assert {config.style for config in configs} == {style}


def test_training_clips_are_not_listed():
    with pytest.raises(ConfigError, match="split must be one of"):
        phantom_v1("train")
