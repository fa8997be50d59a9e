"""What each operation of a reader changes."""

from functools import singledispatch

import numpy as np

from echoseg.clip import View
from echoseg.errors import ConfigError
from echoseg.inference.analysis import APICAL_VIEWS
from echoseg.measure.measurement import Measurement
from echoseg.measure.stated_beats import StatedBeat
from echoseg.web.api import (
    Brush,
    Carry,
    Message,
    SetBeat,
    SetContour,
    SetFrameRate,
    SetSpacing,
    SetView,
    Structure,
)
from echoseg.web.reading.contours import MIN_PIXELS, Drawn, draw_contour, frame_contour
from echoseg.web.reading.opened import OpenedClip
from echoseg.web.reading.regions import brushed, region_of, set_region
from echoseg.web.reading.state import Change, Parameters, State
from echoseg.web.refusal import Refusal

MIN_TICK_PX = 10.0
"""Shortest length in the picture that a scale may be read off."""


def check_frame(state: State, frame: int) -> None:
    """Refuse a frame that the clip does not have.

    Raises:
        Refusal: With 422.
    """
    if not 0 <= frame < len(state.frames):
        raise Refusal(422, f"The frame must be 0 to {len(state.frames) - 1}, got {frame}.")


@singledispatch
def apply(operation: Message, opened: OpenedClip, state: State, measurement: Measurement) -> Change:
    """What an operation changes of a reading.

    Args:
        operation: The operation.
        opened: The network's result.
        state: The reading before.
        measurement: Its numbers.

    Raises:
        Refusal: With 422, if it cannot be done.
    """
    raise Refusal(422, "This page does not know such a change; load it again.")


@apply.register
def _(operation: SetContour, opened: OpenedClip, state: State, measurement: Measurement) -> Change:
    check_frame(state, operation.frame)
    frame, points = state.frames[operation.frame], operation.points
    if points and len(points) < 4:
        raise Refusal(422, f"A curve must have at least 4 points, got {len(points)}.")
    own = state.parameters.drawn.get(operation.frame, {})
    current = frame_contour(frame, operation.structure, own.get(operation.structure))
    mask = draw_contour(frame, operation.structure, points, current)
    drawn: Drawn = {operation.structure: points} if points else {}
    return _change_masks(state, {operation.frame: mask}, drawn)


@apply.register
def _(operation: Brush, opened: OpenedClip, state: State, measurement: Measurement) -> Change:
    check_frame(state, operation.frame)
    mask = state.frames[operation.frame].mask
    region = brushed(
        region_of(mask, operation.structure),
        np.array(operation.line, float),
        operation.radius_px,
        is_erasing=operation.is_erasing,
    )
    return _change_masks(
        state, {operation.frame: set_region(mask, operation.structure, region)}, {}
    )


@apply.register
def _(operation: Carry, opened: OpenedClip, state: State, measurement: Measurement) -> Change:
    for frame in (operation.frame, operation.first, operation.last):
        check_frame(state, frame)
    if operation.first > operation.last:
        raise Refusal(422, "The first frame must not lie after the last one.")
    from echoseg.web.reading.carry import carry_masks  # loads torch

    return _change_masks(state, carry_masks(operation, opened, state), {})


@apply.register
def _(operation: SetBeat, opened: OpenedClip, state: State, measurement: Measurement) -> Change:
    beats, parameters = measurement.beats, state.parameters
    for frame in (operation.ed_frame, operation.es_frame):
        if frame is not None:
            check_frame(state, frame)
    if operation.beat < len(beats):
        beat = beats[operation.beat]
        span = (min(beat.ed_frame, beat.es_frame), max(beat.ed_frame, beat.es_frame))
    elif operation.ed_frame is not None and operation.es_frame is not None:
        ends = operation.ed_frame, operation.es_frame
        span = (min(ends), max(ends))
    else:
        raise Refusal(422, "State both ED and ES of a beat that was not found.")
    stated = StatedBeat(
        span=span,
        ed_frame=operation.ed_frame,
        es_frame=operation.es_frame,
        is_excluded=operation.is_excluded,
    )
    return Change(
        masks={}, parameters=parameters.model_copy(update={"beats": _merged(parameters, stated)})
    )


@apply.register
def _(operation: SetView, opened: OpenedClip, state: State, measurement: Measurement) -> Change:
    if operation.view not in (*APICAL_VIEWS, View.UNKNOWN):
        names = ", ".join(APICAL_VIEWS)
        raise Refusal(422, f"The view must be {names} or unknown: volumes need the long axis.")
    return Change(masks={}, parameters=_with(state, view=operation.view))


@apply.register
def _(operation: SetSpacing, opened: OpenedClip, state: State, measurement: Measurement) -> Change:
    step = np.subtract(operation.end, operation.start)
    length_px = float(np.linalg.norm(step))
    if length_px < MIN_TICK_PX:
        raise Refusal(
            422, f"The two places must lie at least {MIN_TICK_PX:.0f} pixels apart; use ticks "
            "that are further from each other."
        )  # fmt: skip
    own = opened.cine.spacing_mm or (1.0, 1.0)
    # pixels keep the shape that the file states, square where it states none
    length = float(np.hypot(step[1] * own[0], step[0] * own[1]))
    scale = operation.length_mm / length
    return _checked(opened, _with(state, spacing_mm=(own[0] * scale, own[1] * scale)))


@apply.register
def _(
    operation: SetFrameRate, opened: OpenedClip, state: State, measurement: Measurement
) -> Change:
    return _checked(opened, _with(state, frame_rate_hz=operation.frame_rate_hz))


def _checked(opened: OpenedClip, parameters: Parameters) -> Change:
    """The change to parameters, refused where the clip cannot have them."""
    try:
        opened.clip(parameters)
    except ConfigError as error:
        raise Refusal(422, _for_page(str(error))) from error
    return Change(masks={}, parameters=parameters)


def _for_page(text: str) -> str:
    """The sentence of an option as the page says it."""
    for option, words in (
        ("--spacing-mm (spacing_mm)", "The pixel spacing"),
        ("--fps (fps)", "The frame rate"),
    ):
        text = text.replace(option, words)
    return text.partition(";")[0] + "."


def _with(state: State, **changes: object) -> Parameters:
    return state.parameters.model_copy(update=changes)


def _merged(parameters: Parameters, stated: StatedBeat) -> tuple[StatedBeat, ...]:
    """What is stated of beats with a newer statement, joined with the older one of its beat."""
    others, first, last = [], *stated.span
    for one in parameters.beats:
        frames = {*one.span, one.ed_frame, one.es_frame} - {None}
        is_same = one.span[0] <= last and first <= one.span[1]
        if not is_same and not any(first <= frame <= last for frame in frames):
            others.append(one)
            continue
        known = one.model_dump(exclude={"span"}) | stated.model_dump(
            exclude={"span"}, exclude_none=True
        )
        stated = StatedBeat(span=one.span, **known)
    return tuple(sorted([*others, stated], key=lambda one: one.span))


def _change_masks(state: State, masks: dict[int, np.ndarray], drawn: Drawn) -> Change:
    """A change of masks: curves stay as drawn where their region does not change."""
    parameters = state.parameters
    curves, changed = dict(parameters.drawn), set(parameters.changed)
    masks = {
        index: mask
        for index, mask in masks.items()
        if drawn or not np.array_equal(mask, state.frames[index].mask)
    }
    for index, mask in masks.items():
        own = curves.pop(index, {})
        before = state.frames[index].mask
        valid: Drawn = {one: own[one] for one in own if _is_same(before, mask, one)}
        valid |= {one: drawn[one] for one in drawn if _has(mask, one)}
        if valid:
            curves[index] = valid
        changed.add(index)
    update = {"drawn": curves, "changed": tuple(sorted(changed))}
    return Change(masks=masks, parameters=parameters.model_copy(update=update))


def _is_same(before: np.ndarray, after: np.ndarray, structure: Structure) -> bool:
    return bool(np.array_equal(region_of(before, structure), region_of(after, structure)))


def _has(mask: np.ndarray, structure: Structure) -> bool:
    return int(np.count_nonzero(region_of(mask, structure))) >= MIN_PIXELS
