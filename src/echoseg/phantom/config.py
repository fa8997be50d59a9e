"""Configuration of a simulated clip, and its seeded random generators."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from echoseg.clip import View
from echoseg.errors import ConfigError

VIEWS = (View.A4C, View.A2C, View.ALAX)
"""Views that the phantom simulates."""
MAX_SEED = 2**31 - 1
_MAX_CLIPS = 1_000_000


class Tier(StrEnum):
    """Image quality: strength of all artefacts, for the same heart."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"
    EXTREME = "extreme"

    @property
    def strength(self) -> float:
        """Factor on the artefacts."""
        return {"easy": 0.4, "medium": 0.9, "hard": 1.4, "extreme": 2.0}[self.value]


class Rhythm(StrEnum):
    """Heart rhythm."""

    SINUS = "sinus"
    ATRIAL_FIBRILLATION = "atrial_fibrillation"
    PREMATURE = "premature"


class Phenotype(StrEnum):
    """Kind of heart."""

    CAMUS = "camus"
    NORMAL = "normal"
    DILATED = "dilated"
    HYPERTROPHIC = "hypertrophic"
    SMALL = "small"
    ISCHAEMIC = "ischaemic"
    DYSSYNCHRONOUS = "dyssynchronous"


class Style(StrEnum):
    """Ranges of probe, grey map and shape; those of `held_out` and `train` do not overlap."""

    TRAIN = "train"
    HELD_OUT = "held_out"


@dataclass(frozen=True, kw_only=True, slots=True)
class PhantomConfig:
    """Configuration of one clip; values of None are drawn from the seed.

    The heart and its rhythm depend on the seed alone: the same seed in another view or tier is the
    same heart, imaged again.

    Attributes:
        seed: From 0; see `benchmark` for the ranges of validation and test.
        view: A4C, A2C or ALAX.
        tier: Strength of the artefacts.
        size_px: Rows and columns of a frame.
        num_frames: Frames of the clip.
        frame_rate_hz: Frames per second; None draws one.
        ef_percent: True ejection fraction of a full beat; None keeps the heart's own.
        rhythm: None draws one.
        phenotype: None draws one.
        style: Ranges of the imaging.
        overlay: Draw ECG, scale and text, and leave codec artefacts.

    Raises:
        ConfigError: A value is out of range.
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
        """Validate all values; a name converts to its enum member, `"hard"` to `Tier.HARD`."""
        drawn = {name for name in _DRAWN if getattr(self, name) is None}
        for name, kinds in _KINDS.items():
            if name not in drawn:
                self._set(name, _one_of(name, getattr(self, name), kinds))
        for name, (minimum, maximum) in _WHOLE.items():
            self._set(name, int(_within(name, _whole(name, getattr(self, name)), minimum, maximum)))
        for name, (minimum, maximum) in _RANGES.items():
            if name not in drawn:
                self._set(name, float(_within(name, getattr(self, name), minimum, maximum)))
        if not isinstance(self.overlay, bool):
            raise ConfigError(f"overlay must be True or False, got {self.overlay!r}")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen for everyone else

    def next_hearts(self, num_clips: int) -> list["PhantomConfig"]:
        """Configurations of `num_clips` hearts, with this seed and the following ones.

        Raises:
            ConfigError: Too many clips, or a seed above the largest one.
        """
        _within("num_clips", _whole("num_clips", num_clips), 1, _MAX_CLIPS)
        if (last := self.seed + num_clips - 1) > MAX_SEED:
            raise ConfigError(
                f"seed must leave room for all clips, the last one's being at most {MAX_SEED}, "
                f"got {last}; give a lower seed or fewer clips"
            )
        return [replace(self, seed=self.seed + index) for index in range(num_clips)]

    def generator(self, component: str) -> np.random.Generator:
        """Random generator of one component, independent of the draws of the others."""
        name = int.from_bytes(component.encode()[:8].ljust(8, b"\0"), "big")
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, name])))


_KINDS: dict[str, tuple[StrEnum, ...]] = {
    "view": VIEWS,
    "tier": tuple(Tier),
    "rhythm": tuple(Rhythm),
    "phenotype": tuple(Phenotype),
    "style": tuple(Style),
}
_WHOLE = {"seed": (0, MAX_SEED), "size_px": (64, 768), "num_frames": (1, 2000)}
_RANGES = {"frame_rate_hz": (5, 200), "ef_percent": (8, 80)}
_DRAWN = ("rhythm", "phenotype", "frame_rate_hz", "ef_percent")
"""May be None: the seed draws them."""


def _one_of(name: str, value: object, kinds: tuple[StrEnum, ...]) -> StrEnum:
    for kind in kinds:
        if isinstance(value, str) and kind == value:
            return kind
    got = str(value) if isinstance(value, StrEnum) else repr(value)
    raise ConfigError(f"{name} must be one of {', '.join(kinds)}, got {got}")


def _whole(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ConfigError(f"{name} must be an integer, got {value!r}")
    return value


def _within(name: str, value: Any, minimum: float, maximum: float) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise ConfigError(f"{name} must be a number, got {value!r}")
    if not minimum <= value <= maximum:  # NaN fails too
        raise ConfigError(f"{name} must be from {minimum} to {maximum}, got {value}")
    return value
