"""What may be asked of the phantom, and the seeds that everything else is drawn from."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from echoseg.anatomy import View
from echoseg.errors import ConfigError

VIEWS = (View.A4C, View.A2C, View.ALAX)
"""Views the phantom can film."""


class Tier(StrEnum):
    """How hard the pictures are: strength of every artefact, the heart being the same."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"
    EXTREME = "extreme"

    @property
    def strength(self) -> float:
        """Factor on the artefacts."""
        return {"easy": 0.4, "medium": 0.9, "hard": 1.4, "extreme": 2.0}[self.value]


class Rhythm(StrEnum):
    """How the heart beats."""

    SINUS = "sinus"
    ATRIAL_FIBRILLATION = "atrial_fibrillation"
    PREMATURE = "premature"


class Phenotype(StrEnum):
    """What kind of heart it is."""

    CAMUS = "camus"
    NORMAL = "normal"
    DILATED = "dilated"
    HYPERTROPHIC = "hypertrophic"
    SMALL = "small"
    ISCHAEMIC = "ischaemic"
    DYSSYNCHRONOUS = "dyssynchronous"


class Style(StrEnum):
    """Ranges of probe, grey map and shape: `held_out` keeps clear of those of `train`."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomConfig:
    """One clip of the phantom. Where a value is None it is drawn by the seed.

    The heart and its rhythm depend on the seed alone: the same seed in another view or tier is the
    same heart, filmed again.

    Attributes:
        seed: From 0; see `benchmark` for the ranges kept for validation and test.
        view: A4C, A2C or ALAX.
        tier: How hard the pictures are.
        size_px: Rows and columns of a frame.
        num_frames: Frames of the clip.
        frame_rate_hz: Frames a second; None draws one.
        ef_percent: True ejection fraction of a full beat; None keeps the heart's own.
        rhythm: None draws one.
        phenotype: None draws one.
        style: Ranges of the imaging.
        overlay: Draw ECG, scale and text, and leave codec artefacts.

    Raises:
        ConfigError: If a value is out of range.
    """

    seed: int = 0
    view: View = View.A4C
    tier: Tier = Tier.MEDIUM
    size_px: int = 160
    num_frames: int = 32
    frame_rate_hz: float | None = None
    ef_percent: float | None = None
    rhythm: Rhythm | None = None
    phenotype: Phenotype | None = None
    style: Style = Style.TRAIN
    overlay: bool = True

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.view not in VIEWS:
            raise ConfigError(f"view must be one of {', '.join(VIEWS)}, got {self.view}")
        _within("seed", self.seed, 0, 2**31 - 1)
        _within("size_px", self.size_px, 64, 768)
        _within("num_frames", self.num_frames, 1, 2000)
        _within("frame_rate_hz", self.frame_rate_hz, 5, 200)
        _within("ef_percent", self.ef_percent, 8, 80)

    def generator(self, room: str) -> np.random.Generator:
        """Return the random numbers of one room, the same whatever the other rooms draw."""
        name = int.from_bytes(room.encode()[:8].ljust(8, b"\0"), "big")
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, name])))


def _within(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:  # NaN fails too
        raise ConfigError(f"{name} must be from {least} to {most}, got {value}")
