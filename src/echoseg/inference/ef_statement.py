"""What may be stated of an ejection fraction; every page, picture, table and message states this.

An EF that is not reliable, or that the model does not support, has no number here, no interval and
no class: whoever prints a statement cannot print them by mistake.
"""

from typing import Literal

from echoseg.measure.measurement import FrozenModel, Tenth
from echoseg.measure.reference import ef_grade
from echoseg.quality.reliability import EfInterval


class EfStatement(FrozenModel):
    """What may be stated of an EF.

    Attributes:
        kind: `plain`; `part_of_beat`: not of a whole systole; `unreliable`: measured and withheld;
            `none`: not measured, or the model does not support it.
        ef_percent: The EF; None where it is unreliable or there is none.
        unreliable_percent: The EF that was measured and is withheld, for tables, in a column of
            its own; None otherwise.
        interval: Calibrated interval; None where there is none, or it does not hold.
        grade: Class of the EF, as far as the interval allows; empty without an interval.
        reason: Why the EF is not reliable, or why there is none; empty otherwise.
    """

    kind: Literal["plain", "part_of_beat", "unreliable", "none"]
    ef_percent: Tenth = None
    unreliable_percent: Tenth = None
    interval: EfInterval | None = None
    grade: str = ""
    reason: str = ""

    @property
    def value(self) -> str:
        """The EF with its unit (`61 %`), empty where it is withheld."""
        return "" if self.ef_percent is None else f"{self.ef_percent:.0f} %"

    @property
    def headline(self) -> str:
        """What stands in the largest type: `61 %`, `part of a beat`, `not reliable`, `no EF`."""
        words = {"part_of_beat": "part of a beat", "unreliable": "not reliable", "none": "no EF"}
        return words.get(self.kind, self.value)

    @property
    def text(self) -> str:
        """The statement in a few words, such as `EF 61 %` or `EF not reliable`."""
        if self.kind == "none":
            return self.headline
        part = " (part of a beat)" if self.kind == "part_of_beat" else ""
        return f"EF {self.value or self.headline}{part}"

    @property
    def caveat(self) -> str:
        """What stands with every other value of the same masks: `not reliable`, or nothing."""
        return self.headline if self.kind == "unreliable" else ""

    @property
    def interval_span(self) -> str:
        """The interval, such as `46 to 75 %`; empty without one."""
        if self.interval is None:
            return ""
        return f"{self.interval.low_percent:.0f} to {self.interval.high_percent:.0f} %"

    @property
    def interval_name(self) -> str:
        """What the interval is called, such as `90 % interval`; empty without one."""
        return f"{self.interval.level_percent:.0f} % interval" if self.interval else ""

    @property
    def detail(self) -> str:
        """The line below the number: interval and class, or the reason where it is withheld."""
        span = f"{self.interval_name} {self.interval_span}".strip()
        return "; ".join(filter(None, (span, self.grade))) or self.reason


def state_ef(
    ef_percent: float | None,
    *,
    reliable: bool | None = None,
    reason: str = "",
    interval: EfInterval | None = None,
    is_part_of_beat: bool = False,
) -> EfStatement:
    """State an EF.

    Args:
        ef_percent: What was measured; None: there is no EF.
        reliable: Whether it is reliable; None where that was not assessed.
        reason: Why it is not, or why there is none.
        interval: Its calibrated interval.
        is_part_of_beat: It does not rest on ED and ES of one whole systole.
    """
    if ef_percent is None:
        return EfStatement(kind="none", reason=reason)
    if reliable is False:
        return EfStatement(kind="unreliable", unreliable_percent=ef_percent, reason=reason)
    if is_part_of_beat:
        return EfStatement(kind="part_of_beat", ef_percent=ef_percent, interval=interval)
    grade = "" if interval is None else grade_within(ef_percent, interval)
    return EfStatement(kind="plain", ef_percent=ef_percent, interval=interval, grade=grade)


def grade_within(ef_percent: float, interval: EfInterval) -> str:
    """Name the classes that an interval allows, such as `reduced to preserved, reduced likeliest`.

    The scheme is `measure.reference.HEART_FAILURE_2021`; the likeliest class is that of the EF,
    or of the end of the interval nearest to it.
    """
    low, high = interval.low_percent, interval.high_percent
    first, last = ef_grade(low).name, ef_grade(high).name
    likeliest = ef_grade(min(max(ef_percent, low), high)).name
    return first if first == last else f"{first} to {last}, {likeliest} likeliest"
