"""Which of several statements of one quantity is taken, and which contradict it.

Readers list what each source states, the preferred one first; the user's option stands before all.
A number is not evidence where nothing can have it (a frame rate of no echocardiograph) or
where tools write it by default. What is taken is the first that is evidence; another that is and
differs is a contradiction, reported with both values.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from echoseg.clip import Clip, ClipWarning, Quantity, SourceDecision, SourceStatement
from echoseg.io.frames import ASSUMED_FRAME_RATE_HZ, OpenOptions, is_frame_rate

ACQUIRED_RATE_HZ = (5.0, 500.0)
"""Frame rates that a single source may state; others, up to `FRAME_RATE_HZ`, need a second one."""
MAX_DIFFERENCE = {"frame_rate_hz": 0.05, "spacing_mm": 0.03, "num_frames": 0, "heart_rate_bpm": 0.2}
"""Relative difference up to which two statements agree: cine rates are rounded to whole numbers,
3 % of a length is 10 % of a volume, and a machine's heart rate is a mean over seconds."""
MAX_VOLUME_CHANGE = 0.1
"""Relative change of volumes from which a contradicted spacing is not used."""
MAX_STEPS = 5.0
"""Time between two frames, in typical ones, from which it is a pause."""
SCALE_CODES = ("stale_scale", "invalid_scale", "spacing_without_unit", "default_spacing")
"""Codes of warnings about a file's pixel spacing, which the user's replaces."""
USER = "given by the user"
_ASIDE = ("Recommended Display Frame Rate",)
"""Origins of wishes, not of measurements: outvoted by two that agree."""
_CONTAINER = ("time stamps", "rate of the video stream", "rate in the codec's header")
"""Origins of one clock: a container's stamps are made of its rate."""
_OWN = {"frame_rate_hz": "frame times", "spacing_mm": "pixel spacing"}
"""Origins of what a reader gives without a statement of its source."""
_NAMES = {
    "frame_rate_hz": ("frame rate", "fps", "--fps (fps)"),
    "spacing_mm": ("pixel spacing", "mm", "--spacing-mm (spacing_mm)"),
    "num_frames": ("number of frames", "frames", ""),
    "heart_rate_bpm": ("heart rate", "beats per minute", ""),
}


def decide(quantity: Quantity, statements: Sequence[SourceStatement]) -> SourceDecision:
    """Decide by the order of the statements.

    Args:
        quantity: What they state.
        statements: The statements, the preferred source first.
    """
    if quantity == "frame_rate_hz":
        statements = [_checked_rate(one, statements) for one in statements]
    usable = [
        index
        for index, one in enumerate(statements)
        if one.value is not None and not one.unused_because
    ]
    choice = usable[0] if usable else None
    contradicting: tuple[int, ...] = ()
    if choice is not None and statements[choice].origin != USER:
        value = statements[choice].value
        other = {i for i in usable if not agree(quantity, value, statements[i].value)}
        if len(usable) - len(other) > 1:
            other = {i for i in other if not statements[i].origin.startswith(_ASIDE)}
        contradicting = tuple(sorted(other))
    return SourceDecision(
        quantity=quantity,
        statements=tuple(statements),
        choice=choice,
        contradicting=contradicting,
    )


def agree(quantity: Quantity, one: Any, other: Any) -> bool:
    """Whether two values of a quantity agree within `MAX_DIFFERENCE`."""
    pairs = zip(one, other, strict=True) if isinstance(one, tuple) else ((one, other),)
    return all(abs(a - b) <= MAX_DIFFERENCE[quantity] * max(abs(a), abs(b)) for a, b in pairs)


def _checked_rate(one: SourceStatement, every: Sequence[SourceStatement]) -> SourceStatement:
    """A frame rate, marked as unused where no heart is acquired at it."""
    rate_hz = one.value
    if one.origin == USER or one.unused_because or not isinstance(rate_hz, float | int):
        return one
    clock = _CONTAINER if one.origin in _CONTAINER else (one.origin,)
    supported = is_frame_rate(rate_hz) and any(
        other.origin not in clock and other.value and agree("frame_rate_hz", rate_hz, other.value)
        for other in every
    )
    if supported or ACQUIRED_RATE_HZ[0] <= rate_hz <= ACQUIRED_RATE_HZ[1]:
        return one
    why = f"an implausible frame rate of {rate_hz:g} fps: hearts are acquired at {{:g}} to {{:g}}"
    return replace(one, unused_because=why.format(*ACQUIRED_RATE_HZ))


def decide_for_user(decision: SourceDecision, value: Any) -> SourceDecision:
    """The decision with the user's value before all others; unchanged where it is None."""
    if value is None or any(one.origin == USER for one in decision.statements):
        return decision
    stated = SourceStatement(origin=USER, value=value)
    return decide(decision.quantity, (stated, *decision.statements))


def describe(quantity: Quantity, one: SourceStatement) -> str:
    """A statement in a few words: its origin, its value and the words of the source."""
    value, unit = one.value, _NAMES[quantity][1]
    number = "no number"
    if isinstance(value, tuple):
        number = f"{value[0]:.4g} x {value[1]:.4g} {unit}"
    elif value is not None:
        number = f"{value:.4g} {unit}"
    return f"{one.origin} {number}" + (f" ({one.text})" if one.text and one.text != number else "")


def contradiction(decision: SourceDecision) -> ClipWarning | None:
    """A warning with the values that contradict each other; None where they agree."""
    if not decision.contradicting or decision.choice is None:
        return None
    name, _, option = _NAMES[decision.quantity]
    used = describe(decision.quantity, decision.statements[decision.choice])
    others = ", ".join(describe(decision.quantity, one) for one in decision.contradictions)
    values = f"{used} is used, {others} is not"
    if changes_volumes(decision):
        values = f"{used} and {others}; volumes would differ by over 10 %, so neither is used"
    way_out = f" Give {option} if you know it." if option else ""
    message = f"The file states more than one {name}: {values}.{way_out}"
    return ClipWarning(code=_code(decision.quantity), message=message)


def _code(quantity: Quantity) -> str:
    return f"contradicted_{_NAMES[quantity][0].replace(' ', '_')}"


def changes_volumes(decision: SourceDecision) -> bool:
    """Whether a contradicted pixel spacing would change volumes by disks by over 10 %.

    Such a volume goes with the row spacing times the squared column spacing, its long axis upright.
    """
    if decision.quantity != "spacing_mm":
        return False
    values: list[Any] = [decision.value, *(one.value for one in decision.contradictions)]
    volumes = [row_mm * column_mm**2 for row_mm, column_mm in values]
    return max(volumes) / min(volumes) > 1 + MAX_VOLUME_CHANGE


def settle(clip: Clip, options: OpenOptions) -> Clip:
    """Put what the user says before what the file says, and warn of what is missing or contradicts.

    Args:
        clip: As a reader returns it, with its `sources`.
        options: What the user says.
    """
    notes, is_timed = list(clip.warnings), clip.times_s is not None and clip.num_frames > 1
    step_s = float(np.median(np.diff(clip.times_s))) if is_timed else 0.0  # type: ignore[arg-type]
    rate = _decision(clip, "frame_rate_hz", step_s and 1 / step_s, options.fps)
    scale = _decision(clip, "spacing_mm", clip.spacing_mm, options.spacing_mm)
    others = [one for one in clip.sources if one.quantity not in ("frame_rate_hz", "spacing_mm")]
    decisions = (rate, scale, *others)
    if options.fps is not None:
        has_user = clip.decision("frame_rate_hz") == rate  # the reader has placed the frames
        clip = clip if has_user else _at_rate(clip, options.fps)
    elif rate.choice is None or clip.times_s is None:
        notes.append(_assumed_rate(rate, clip))
        clip = _at_rate(replace(clip, r_wave_times_s=(), ecg=None), ASSUMED_FRAME_RATE_HZ)
    elif (note := _pause(clip)) is not None:
        notes.append(note)
    if options.spacing_mm is not None:
        notes = [note for note in notes if note.code not in SCALE_CODES]
    notes += [note for one in decisions if (note := contradiction(one)) is not None]
    return replace(clip, spacing_mm=_scale_of(scale), warnings=tuple(notes), sources=decisions)


def restate(clip: Clip, options: OpenOptions) -> Clip:
    """Let the user state view, frame rate or pixel spacing of a clip that may be settled already.

    What was settled by the values before is settled anew, and their warnings go.
    """
    clip = clip if options.view is None else replace(clip, view=options.view)
    values = {"frame_rate_hz": options.fps, "spacing_mm": options.spacing_mm}
    stated = {name for name, value in values.items() if value is not None}
    if not stated:
        return clip
    codes = {one.code for one in clip.warnings}
    old = {"assumed_frame_rate", "pause_in_times", *(_code(one) for one in get_args(Quantity))}
    known: dict[str, Any] = {
        "warnings": tuple(one for one in clip.warnings if one.code not in old),
        "sources": tuple(_by_file(one) if one.quantity in stated else one for one in clip.sources),
    }
    if "assumed_frame_rate" in codes or (clip.sources and options.fps is not None):
        known["times_s"] = None
    if clip.sources and options.spacing_mm is not None:
        known["spacing_mm"] = None
    return settle(replace(clip, **known), options)


def _by_file(decision: SourceDecision) -> SourceDecision:
    return decide(decision.quantity, [one for one in decision.statements if one.origin != USER])


def add_scale(clip: Clip, spacing_mm: Any, origin: str) -> Clip:
    """Let another file state the scale of a settled clip, after the clip's own statements.

    Args:
        clip: The clip.
        spacing_mm: Pixel spacing (row, column) that the other file states; None for nothing.
        origin: What states it, such as `spacing of the masks`.
    """
    if spacing_mm is None:
        return clip
    own = _decision(clip, "spacing_mm", clip.spacing_mm, None)
    stated = SourceStatement(origin=origin, value=spacing_mm)
    scale = decide("spacing_mm", (*own.statements, stated))
    old = contradiction(own)
    notes = [note for note in clip.warnings if old is None or note.code != old.code]
    if scale.value == spacing_mm:
        notes = [note for note in notes if note.code not in SCALE_CODES]
    new = contradiction(scale)
    others = [one for one in clip.sources if one.quantity != "spacing_mm"]
    return replace(
        clip,
        spacing_mm=_scale_of(scale),
        warnings=(*notes, new) if new else tuple(notes),
        sources=(scale, *others),
    )


def _scale_of(scale: SourceDecision) -> Any:
    return None if scale.contradicting and changes_volumes(scale) else scale.value


def _decision(clip: Clip, quantity: Quantity, value: Any, by_user: Any) -> SourceDecision:
    """The reader's decision, or else one on the clip's own value, after the user's value."""
    decision = clip.decision(quantity)
    if value and not decision.statements:
        decision = decide(quantity, [SourceStatement(origin=_OWN[quantity], value=value)])
    return decide_for_user(decision, by_user)


def _at_rate(clip: Clip, rate_hz: float) -> Clip:
    """The clip with even times at a rate; damaged frames leave their gap."""
    positions = np.arange(clip.num_frames + len(clip.damaged_frames))
    if len(positions) > clip.num_frames:
        positions = np.delete(positions, clip.damaged_frames)
    return replace(clip, times_s=(positions - positions[0]) / rate_hz)


def _assumed_rate(rate: SourceDecision, clip: Clip) -> ClipWarning:
    """Warn that nothing states the frame rate, and why the statements there are do not count."""
    reasons = [
        f"{one.origin}{f' {one.text}' if one.text else ''} is {one.unused_because}"
        for one in rate.statements
    ]
    because = f" ({'; '.join(reasons)})" if reasons else ""
    waves = ", and its R waves are not used" if clip.r_wave_times_s else ""
    message = (
        f"The clip has no usable frame rate{because}: {ASSUMED_FRAME_RATE_HZ:g} fps are assumed, "
        f"so no heart rate and no rates are given{waves}. Give --fps (fps) if you know it."
    )
    return ClipWarning(code="assumed_frame_rate", message=message)


def _pause(clip: Clip) -> ClipWarning | None:
    """Warn of a pause between two frames; None where there is none."""
    steps_s = np.diff(clip.times_s) if clip.times_s is not None else np.zeros(0)
    if not len(steps_s) or steps_s.max() <= MAX_STEPS * np.median(steps_s):
        return None
    index = int(steps_s.argmax())
    message = (
        f"The frame times have a pause of {steps_s[index]:.2g} s before frame {index + 1}: a beat "
        "across it is not measured rightly, and no heart rate is given. Use the longer part alone."
    )
    return ClipWarning(code="pause_in_times", message=message)
