"""Two planes of one heart: volumes by biplane disks, V = pi/4 (L/N) sum a_i b_i.

a_i and b_i are the disks of A4C and A2C, L the longer of the two long axes, at ED and at ES. Each
plane's disks are first scaled together so that round disks of them hold the volume that was read
off its regularised curve: of two equal planes the biplane volume is then that of the one.

Reference:
    Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: biplane disk summation, 20 disks.
"""

from dataclasses import dataclass

import numpy as np

from echoseg.clip import ClipWarning
from echoseg.measure.geometry import disk_volume_ml
from echoseg.measure.measurement import Measurement

MOST_LENGTH_DIFFERENCE_PERCENT = 10.0
"""Long axes further apart say that the plane with the shorter one missed the apex (Lang 2015)."""
MOST_RATE_DIFFERENCE_PERCENT = 10.0
"""Heart rates further apart say that the two clips do not show the same state of the heart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Biplane:
    """What two planes of one heart give together.

    Attributes:
        ef_percent: 100 (EDV - ESV) / EDV; None when refused, as are the volumes.
        edv_ml: End-diastolic volume.
        esv_ml: End-systolic volume.
        length_difference_percent: Difference of the long axes at ED over the longer one.
        refusal: Why there are no numbers, one sentence; empty when there are.
        warnings: What makes the numbers doubtful.
    """

    ef_percent: float | None = None
    edv_ml: float | None = None
    esv_ml: float | None = None
    length_difference_percent: float | None = None
    refusal: str = ""
    warnings: tuple[ClipWarning, ...] = ()


def join_views(a4c: Measurement, a2c: Measurement) -> Biplane:
    """Return the biplane numbers of an A4C and an A2C clip of one heart."""
    for name, one in (("A4C", a4c), ("A2C", a2c)):
        if one.ef_percent is None or one.disks is None:
            reason = one.refusal or "a cavity is missing at ED or ES"
            return Biplane(refusal=f"the {name} clip has no EF of its own: {reason}")
        if one.edv_ml is None:
            return Biplane(
                refusal=f"the {name} clip has no usable scale, without which planes cannot be "
                "joined; pass --spacing-mm ROW COL if you know it"
            )
    edv_ml, esv_ml = (_volume_ml(a4c, a2c, phase) for phase in ("ed", "es"))
    if not edv_ml > 0:
        return Biplane(refusal="the two planes enclose no volume at ED")
    lengths_mm = [one.disks.ed_length_mm for one in (a4c, a2c) if one.disks is not None]
    difference = 100 * (1 - min(lengths_mm) / max(lengths_mm))
    warnings = _length_warnings(lengths_mm, difference) + _rate_warnings(a4c, a2c)
    if esv_ml > edv_ml:
        message = "the biplane volume is larger at ES than at ED: EF is given as 0"
        warnings += (ClipWarning(code="no_ejection", message=message),)
    return Biplane(
        ef_percent=max(0.0, 100 * (1 - esv_ml / edv_ml)),
        edv_ml=edv_ml,
        esv_ml=esv_ml,
        length_difference_percent=difference,
        warnings=warnings,
    )


def _volume_ml(a4c: Measurement, a2c: Measurement, phase: str) -> float:
    lengths_mm, widths_mm = [], []
    for one in (a4c, a2c):
        length_mm = getattr(one.disks, f"{phase}_length_mm")
        diameters_mm = np.asarray(getattr(one.disks, f"{phase}_diameters_mm"))
        own_ml = disk_volume_ml(diameters_mm, length_mm)
        read_ml = getattr(one, f"{phase}v_ml")
        scale = np.sqrt(max(0.0, read_ml) / own_ml) if own_ml > 0 else 0.0
        lengths_mm.append(length_mm)
        widths_mm.append(diameters_mm * scale)
    return disk_volume_ml(widths_mm[0], max(lengths_mm), widths_mm[1])


def _length_warnings(lengths_mm: list[float], difference: float) -> tuple[ClipWarning, ...]:
    if difference <= MOST_LENGTH_DIFFERENCE_PERCENT:
        return ()
    short = "A4C" if lengths_mm[0] < lengths_mm[1] else "A2C"
    message = (
        f"the long axes differ by {difference:.0f} % at ED ({lengths_mm[0]:.0f} mm in A4C, "
        f"{lengths_mm[1]:.0f} mm in A2C), over {MOST_LENGTH_DIFFERENCE_PERCENT:.0f} %: {short} is "
        "foreshortened, or a scale is wrong"
    )
    return (ClipWarning(code="foreshortened", message=message),)


def _rate_warnings(a4c: Measurement, a2c: Measurement) -> tuple[ClipWarning, ...]:
    one, other = a4c.heart_rate_bpm, a2c.heart_rate_bpm
    if one is None or other is None:
        unknown = " and ".join(
            name for name, rate in (("A4C", one), ("A2C", other)) if rate is None
        )
        message = f"the heart rate cannot be told in {unknown}, so the two are not compared"
        return (ClipWarning(code="heart_rates_unknown", message=message),)
    if abs(one - other) <= MOST_RATE_DIFFERENCE_PERCENT / 100 * max(one, other):
        return ()
    message = (
        f"the heart beats at {one:.0f} bpm in A4C and at {other:.0f} bpm in A2C: the two clips may "
        "not show the same state of the heart"
    )
    return (ClipWarning(code="heart_rates_differ", message=message),)
