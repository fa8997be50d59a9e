"""Biplane method of disks: volumes from an A4C and an A2C clip, V = pi/4 (L/N) sum a_i b_i.

a_i and b_i are the disks of A4C and A2C, L the longer of the two long axes, at ED and at ES. Each
plane's disks are first scaled so that round disks of them hold the volume taken from its smoothed
curve: of two equal planes the biplane volume is then that of the one.

Reference:
    Lang et al., J Am Soc Echocardiogr 28 (2015), 1-39: biplane disk summation, 20 disks.
"""

import numpy as np
from pydantic import Field

from echoseg.clip import ClipWarning
from echoseg.measure.geometry import disk_volume_ml
from echoseg.measure.measurement import FrozenModel, Measurement, Tenth
from echoseg.measure.reference import EfGrade, ef_grade

BIPLANE_METHOD = "biplane method of disks, 20 disks (Lang et al., J Am Soc Echocardiogr 28, 2015)"
MAX_LENGTH_DIFFERENCE_PERCENT = 10.0
"""Above it the plane with the shorter long axis is foreshortened (Lang 2015)."""
MAX_RATE_DIFFERENCE_PERCENT = 10.0
"""Above it the two clips do not show the same state of the heart."""


class BiplaneMeasurement(FrozenModel):
    """The values of two planes of one heart together; null when refused.

    Attributes:
        method: How volumes are computed.
        ef_percent: 100 (EDV - ESV) / EDV.
        ef_grade: Class of the EF.
        edv_ml: End-diastolic volume.
        esv_ml: End-systolic volume.
        stroke_volume_ml: EDV - ESV.
        length_difference_percent: Difference of the long axes at ED, of the longer one.
        refusal: Why there are no values; empty when there are.
        warnings: Reasons to check the values.
    """

    method: str = BIPLANE_METHOD
    ef_percent: Tenth = None
    ef_grade: EfGrade | None = None
    edv_ml: Tenth = None
    esv_ml: Tenth = None
    stroke_volume_ml: Tenth = None
    length_difference_percent: Tenth = None
    refusal: str = ""
    warnings: tuple[ClipWarning, ...] = Field(default=(), exclude=True)


def combine_views(a4c: Measurement, a2c: Measurement) -> BiplaneMeasurement:
    """Combine the measurements of an A4C and an A2C clip of one heart."""
    for name, plane in (("A4C", a4c), ("A2C", a2c)):
        if plane.ef_percent is None or plane.disks is None:
            reason = plane.refusal or "a cavity is missing at ED or ES"
            return BiplaneMeasurement(refusal=f"the {name} clip has no EF: {reason}")
        if plane.edv_ml is None:
            return BiplaneMeasurement(
                refusal=f"the {name} clip has no usable pixel spacing, which biplane volumes need. "
                "Set spacing_mm (--spacing-mm) if it is known"
            )
    edv_ml, esv_ml = (_volume_ml(a4c, a2c, phase) for phase in ("ed", "es"))
    if not edv_ml > 0:
        return BiplaneMeasurement(refusal="the two planes enclose no volume at ED")
    lengths_mm = [plane.disks.ed_length_mm for plane in (a4c, a2c) if plane.disks is not None]
    difference = 100 * (1 - min(lengths_mm) / max(lengths_mm))
    warnings = _length_warnings(lengths_mm, difference) + _rate_warnings(a4c, a2c)
    if esv_ml > edv_ml:
        message = "The biplane volume is larger at ES than at ED, so EF is reported as 0."
        warnings += (ClipWarning(code="no_ejection", message=message),)
    ef_percent = max(0.0, 100 * (1 - esv_ml / edv_ml))
    return BiplaneMeasurement(
        ef_percent=ef_percent,
        ef_grade=ef_grade(ef_percent),
        edv_ml=edv_ml,
        esv_ml=esv_ml,
        stroke_volume_ml=edv_ml - esv_ml,
        length_difference_percent=difference,
        warnings=warnings,
    )


def _volume_ml(a4c: Measurement, a2c: Measurement, phase: str) -> float:
    lengths_mm, widths_mm = [], []
    for one in (a4c, a2c):
        length_mm = getattr(one.disks, f"{phase}_length_mm")
        diameters_mm = np.asarray(getattr(one.disks, f"{phase}_diameters_mm"))
        round_ml = disk_volume_ml(diameters_mm, length_mm)
        volume_ml = getattr(one, f"{phase}v_ml")
        scale = np.sqrt(max(0.0, volume_ml) / round_ml) if round_ml > 0 else 0.0
        lengths_mm.append(length_mm)
        widths_mm.append(diameters_mm * scale)
    return disk_volume_ml(widths_mm[0], max(lengths_mm), widths_mm[1])


def _length_warnings(lengths_mm: list[float], difference: float) -> tuple[ClipWarning, ...]:
    if difference <= MAX_LENGTH_DIFFERENCE_PERCENT:
        return ()
    short = "A4C" if lengths_mm[0] < lengths_mm[1] else "A2C"
    message = (
        f"The long axes at ED differ by {difference:.0f} % ({lengths_mm[0]:.0f} mm in A4C, "
        f"{lengths_mm[1]:.0f} mm in A2C), more than {MAX_LENGTH_DIFFERENCE_PERCENT:.0f} %. "
        f"{short} is foreshortened, or a pixel spacing is wrong."
    )
    return (ClipWarning(code="foreshortened", message=message),)


def _rate_warnings(a4c: Measurement, a2c: Measurement) -> tuple[ClipWarning, ...]:
    one, other = a4c.heart_rate_bpm, a2c.heart_rate_bpm
    if one is None or other is None:
        unknown = " and ".join(
            name for name, rate in (("A4C", one), ("A2C", other)) if rate is None
        )
        message = f"The heart rate is unknown in {unknown}, so the clips' rates are not compared."
        return (ClipWarning(code="heart_rates_unknown", message=message),)
    if abs(one - other) <= MAX_RATE_DIFFERENCE_PERCENT / 100 * max(one, other):
        return ()
    message = (
        f"The heart rate is {one:.0f} bpm in A4C and {other:.0f} bpm in A2C. The two clips may not "
        "show the same state of the heart."
    )
    return (ClipWarning(code="heart_rates_differ", message=message),)
