"""Configuration of a simulated clip, and its seeded random generators."""

from enum import StrEnum
from typing import Annotated, Any, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from echoseg.clip import View
from echoseg.errors import ConfigError, validation_message

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


def _plain(value: Any) -> Any:
    """A NumPy number as Python's own."""
    return value.item() if isinstance(value, np.number) else value


def _simulated(view: View) -> View:
    if view not in VIEWS:
        raise ValueError(f"view must be one of {', '.join(VIEWS)}, got {view}")
    return view


_Int = Annotated[int, BeforeValidator(_plain), Field(strict=True)]
_Float = Annotated[float, BeforeValidator(_plain), Field(strict=True, allow_inf_nan=False)]


class PhantomConfig(BaseModel):
    """Configuration of one clip; values of None are drawn from the seed.

    The heart and its rhythm depend on the seed alone: the same seed in another view or tier is the
    same heart, imaged again. A name converts to its enum member, `"hard"` to `Tier.HARD`.

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

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[_Int, Field(ge=0, le=MAX_SEED)] = 0
    view: Annotated[View, AfterValidator(_simulated)] = View.A4C
    tier: Tier = Tier.MEDIUM
    size_px: Annotated[_Int, Field(ge=64, le=768)] = 160
    num_frames: Annotated[_Int, Field(ge=1, le=2000)] = 32
    frame_rate_hz: Annotated[_Float, Field(ge=5, le=200)] | None = None
    ef_percent: Annotated[_Float, Field(ge=8, le=80)] | None = None
    rhythm: Rhythm | None = None
    phenotype: Phenotype | None = None
    style: Style = Style.TRAIN
    overlay: Annotated[bool, Field(strict=True)] = True

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            message = validation_message(error, fields=type(self).model_fields)
            raise ConfigError(message) from None

    def changed(self, **values: Any) -> Self:
        """The same configuration with other values, validated."""
        return type(self)(**dict(self) | values)

    def next_hearts(self, num_clips: int) -> list["PhantomConfig"]:
        """Configurations of `num_clips` hearts, with this seed and the following ones.

        Raises:
            ConfigError: Too many clips, or a seed above the largest one.
        """
        if not 1 <= num_clips <= _MAX_CLIPS:
            raise ConfigError(f"num_clips must be from 1 to {_MAX_CLIPS}, got {num_clips}")
        if (last := self.seed + num_clips - 1) > MAX_SEED:
            raise ConfigError(
                f"seed must leave room for all clips, the last one's being at most {MAX_SEED}, "
                f"got {last}; give a lower seed or fewer clips"
            )
        return [self.changed(seed=self.seed + index) for index in range(num_clips)]

    def generator(self, component: str) -> np.random.Generator:
        """Random generator of one component, independent of the draws of the others."""
        name = int.from_bytes(component.encode()[:8].ljust(8, b"\0"), "big")
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence([self.seed, name])))
