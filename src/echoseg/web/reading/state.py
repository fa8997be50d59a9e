"""A reading at one of its revisions: the frames, and all that a reader stated besides masks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from echoseg.measure.frame import MeasuredFrame, measure_each, measure_frame
from echoseg.measure.measurement import FrozenModel
from echoseg.measure.stated_beats import StatedBeat
from echoseg.web.reading.contours import Drawn, follows


class Parameters(FrozenModel):
    """What a reader stated besides masks; None: as the network's result has it.

    Attributes:
        view: The view.
        spacing_mm: Pixel spacing (row, column).
        frame_rate_hz: Frame rate.
        beats: What is stated of beats.
        drawn: Control points of the curves that were drawn, by frame.
        changed: Frames whose masks a reader changed, increasing.
    """

    view: str | None = None
    spacing_mm: tuple[float, float] | None = None
    frame_rate_hz: float | None = None
    beats: tuple[StatedBeat, ...] = ()
    drawn: dict[int, Drawn] = Field(default_factory=dict)
    changed: tuple[int, ...] = ()

    @property
    def are_numbers_changed(self) -> bool:
        """Whether anything that the numbers rest on is the reader's."""
        return self.model_dump(exclude={"drawn"}) != Parameters().model_dump(exclude={"drawn"})


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A reading at one revision.

    Attributes:
        revision: Number of the edit; 0: the network's result.
        frames: All frames, measured.
        parameters: What else is stated.
    """

    revision: int
    frames: tuple[MeasuredFrame, ...]
    parameters: Parameters

    def changed_to(self, other: "State") -> list[int]:
        """Frames whose mask or curves differ in another state."""
        drawn, others = self.parameters.drawn, other.parameters.drawn
        was, will = set(self.parameters.changed), set(other.parameters.changed)
        return [
            index
            for index, (one, two) in enumerate(zip(self.frames, other.frames, strict=True))
            if one.mask is not two.mask
            or drawn.get(index) != others.get(index)
            or (index in was) != (index in will)
        ]

    def with_masks(
        self, masks: Mapping[int, np.ndarray], spacing_mm: tuple[float, float] | None
    ) -> tuple[MeasuredFrame, ...]:
        """The frames with some masks replaced; only those are measured, or all by a new spacing."""
        frames = list(self.frames)
        for index, mask in masks.items():
            if not np.array_equal(mask, frames[index].mask):
                before, frames[index] = frames[index], measure_frame(mask, spacing_mm)
                follows(frames[index], before)
        return measure_each(frames, spacing_mm)


@dataclass(frozen=True, kw_only=True, eq=False)
class Change:
    """What an operation changes.

    Attributes:
        masks: Label maps of the frames that change.
        parameters: What holds after it besides masks.
    """

    masks: dict[int, np.ndarray]
    parameters: Parameters
