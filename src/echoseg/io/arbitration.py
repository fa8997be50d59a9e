"""Which of several statements of one quantity is taken, and which contradict it.

Readers list what each source states, the preferred one first; the user's option stands before all.
A number is not evidence where nothing can have it (a frame rate of no echocardiograph) or
where tools write it by default. What is taken is the first that is evidence; another that is and
differs is a contradiction, told with both values.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from echoseg.clip import ClipWarning, Quantity, SourceDecision, SourceStatement
from echoseg.io.frames import is_frame_rate

ACQUIRED_RATE_HZ = (5.0, 500.0)
"""Frame rates that a single source may state; others, up to `FRAME_RATE_HZ`, need a second one."""
MAX_DIFFERENCE = {"frame_rate_hz": 0.05, "spacing_mm": 0.03, "num_frames": 0, "heart_rate_bpm": 0.2}
"""Relative difference up to which two statements agree: cine rates are rounded to whole numbers,
3 % of a length is 10 % of a volume, and a machine's heart rate is a mean over seconds."""
MAX_VOLUME_CHANGE = 0.1
"""Relative change of volumes from which a contradicted spacing is not used."""
USER = "given by the user"
_ASIDE = ("Recommended Display Frame Rate",)
"""Origins of wishes, not of measurements: outvoted by two that agree."""
_NAMES = {
    "frame_rate_hz": ("frame rate", "fps", "fps (--fps)"),
    "spacing_mm": ("pixel spacing", "mm", "spacing_mm (--spacing-mm)"),
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
    supported = is_frame_rate(rate_hz) and any(
        other is not one and other.value and agree("frame_rate_hz", rate_hz, other.value)
        for other in every
    )
    if supported or ACQUIRED_RATE_HZ[0] <= rate_hz <= ACQUIRED_RATE_HZ[1]:
        return one
    why = f"an implausible frame rate of {rate_hz:g} fps: hearts are acquired at {{:g}} to {{:g}}"
    return replace(one, unused_because=why.format(*ACQUIRED_RATE_HZ))


def decide_for_user(decision: SourceDecision, value: Any) -> SourceDecision:
    """The decision with the user's value before all others; unchanged where it is None."""
    if value is None:
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
    way_out = f" Give {option} if you know it." if option else ""
    values = f"{used} is taken, {others} is not"
    message = f"The file states two values of its {name}: {values}.{way_out}"
    return ClipWarning(code=f"contradicted_{name.replace(' ', '_')}", message=message)
