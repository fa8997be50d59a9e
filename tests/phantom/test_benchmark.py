"""phantom-v2 stays what it was, and its splits share no heart."""

import pytest

from echoseg.errors import ConfigError
from echoseg.phantom import Style, Tier
from echoseg.phantom.benchmark import (
    FIRST_SEED,
    NUM_HEARTS,
    VIEWS,
    frozen_labels,
    labels_sha256,
    phantom_v2,
)
from echoseg.phantom.config import MAX_SEED

SPLITS = ("validation", "test", "held_out_style")


@pytest.mark.parametrize("split", SPLITS)
def test_labels_are_those_of_the_release(split):
    """One heart of each tier and view here; `scripts/freeze_phantom.py check` does all."""
    configs, known = phantom_v2(split), frozen_labels()[split]
    assert len(configs) == len(known) == NUM_HEARTS * len(Tier) * len(VIEWS)
    for index in (0, 11, 22, 29, 36):
        assert labels_sha256(configs[index]) == known[index]


def test_splits_are_disjoint_by_construction():
    seeds = {split: {config.seed for config in phantom_v2(split)} for split in SPLITS}
    starts = sorted(FIRST_SEED.values())
    assert starts == list(FIRST_SEED.values())
    for split, own in seeds.items():
        later = [start for start in starts if start > FIRST_SEED[split]]
        assert FIRST_SEED[split] == min(own)
        assert max(own) < min([*later, MAX_SEED])
        assert len(own) == NUM_HEARTS


def test_every_heart_is_filmed_in_every_tier():
    for split in SPLITS:
        configs = phantom_v2(split)
        shown = [(config.tier, config.view) for config in configs[: len(Tier) * len(VIEWS)]]
        assert shown == [(tier, view) for tier in Tier for view in VIEWS]
        style = Style.HELD_OUT if split == "held_out_style" else Style.TRAIN
        assert {config.style for config in configs} == {style}


def test_training_clips_are_not_listed():
    with pytest.raises(ConfigError, match="split must be one of"):
        phantom_v2("train")
