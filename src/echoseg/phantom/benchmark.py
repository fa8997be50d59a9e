"""phantom-v2: a fixed set of clips for comparing methods.

Training, validation, test and held-out style have separate seed ranges, so the splits share
no heart. A released version never changes: another heart, image, range or tier is another version.
The SHA-256 of the labels is in `phantom_v2.json`; `scripts/freeze_phantom.py` checks them.
phantom-v1 (A4C only, fitted to region means) is retired: its images and walls came from another
simulator; its results stay in docs/results.
"""

import hashlib
import json
from importlib import resources

from echoseg.clip import View
from echoseg.errors import ConfigError
from echoseg.phantom.config import PhantomConfig, Style, Tier
from echoseg.phantom.phantom import Phantom

PHANTOM_VERSION = "2.0.0"
PHANTOM_NAME = "phantom-v2"
NUM_HEARTS = 40
VIEWS = (View.A4C, View.A2C)
SIZE_PX = 160
NUM_FRAMES = 48
FRAME_RATE_HZ = 40.0
FIRST_SEED = {
    "train": 0,
    "validation": 1_100_000_000,
    "test": 1_500_000_000,
    "held_out_style": 1_900_000_000,
}
"""First seed of each split; each range ends where the next begins."""


def phantom_v2(split: str) -> list[PhantomConfig]:
    """Configurations of `validation`, `test` or `held_out_style`: 40 hearts x 4 tiers x 2 views.

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
            view=view,
            size_px=SIZE_PX,
            num_frames=NUM_FRAMES,
            frame_rate_hz=FRAME_RATE_HZ,
            style=style,
        )
        for heart in range(NUM_HEARTS)
        for tier in Tier
        for view in VIEWS
    ]


def labels_sha256(config: PhantomConfig) -> str:
    """First 16 digits of the SHA-256 of a clip's masks, bytes in (T, H, W) order."""
    return hashlib.sha256(Phantom(config).masks().tobytes()).hexdigest()[:16]


def frozen_labels() -> dict[str, list[str]]:
    """Released hashes of phantom-v2 by split, in the order of `phantom_v2`."""
    text = resources.files("echoseg.phantom").joinpath("phantom_v2.json").read_text("utf-8")
    return json.loads(text)["labels_sha256"]
