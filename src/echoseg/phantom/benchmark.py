"""phantom-v1: a fixed set of clips for comparing methods.

Training, validation, test and held-out style have separate seed ranges, so the splits share
no heart. A released version never changes: another heart, range or tier is another version.
The SHA-256 of the labels is in `phantom_v1.json`; `scripts/freeze_phantom.py` checks them.
"""

import hashlib
import json
from importlib import resources

from echoseg.errors import ConfigError
from echoseg.phantom.config import PhantomConfig, Style, Tier
from echoseg.phantom.phantom import Phantom

PHANTOM_VERSION = "1.0.0"
NUM_HEARTS = 40
SIZE_PX = 160
NUM_FRAMES = 48
FRAME_RATE_HZ = 40.0
FIRST_SEED = {
    "train": 0,
    "validation": 1_000_000_000,
    "test": 1_400_000_000,
    "held_out_style": 1_800_000_000,
}
"""First seed of each split; each range ends where the next begins."""


def split_of(seed: int) -> str:
    """Name of the split whose seed range contains the seed."""
    return max(
        (name for name in FIRST_SEED if FIRST_SEED[name] <= seed), key=FIRST_SEED.__getitem__
    )


def phantom_v1(split: str) -> list[PhantomConfig]:
    """Configurations of `validation`, `test` or `held_out_style`: 40 A4C hearts in four tiers.

    Training clips are not listed: any seed below the first of validation is a training seed.

    Raises:
        ConfigError: The split is unknown.
    """
    fixed = [name for name in FIRST_SEED if name != "train"]
    if split not in fixed:
        raise ConfigError(f"split must be one of {', '.join(fixed)}, got {split!r}")
    style = Style.HELD_OUT if split == "held_out_style" else Style.TRAIN
    return [
        PhantomConfig(
            seed=FIRST_SEED[split] + heart,
            tier=tier,
            size_px=SIZE_PX,
            num_frames=NUM_FRAMES,
            frame_rate_hz=FRAME_RATE_HZ,
            style=style,
        )
        for heart in range(NUM_HEARTS)
        for tier in Tier
    ]


def labels_sha256(config: PhantomConfig) -> str:
    """SHA-256 of a clip's masks, bytes in (T, H, W) order."""
    return hashlib.sha256(Phantom(config).masks().tobytes()).hexdigest()


def frozen_labels() -> dict[str, list[str]]:
    """Released hashes of phantom-v1 by split, in the order of `phantom_v1`."""
    text = resources.files("echoseg.phantom").joinpath("phantom_v1.json").read_text("utf-8")
    return json.loads(text)["labels_sha256"]
