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
from echoseg.measure.geometry import area_length_volume_ml, disk_volume_ml
from echoseg.measure.measurement import Disks, FrozenModel, Measurement, Tenth
from echoseg.measure.reference import EfGrade, ef_grade

BIPLANE_METHOD = "biplane method of disks, 20 disks (Lang et al., J Am Soc Echocardiogr 28, 2015)"
MAX_LENGTH_DIFFERENCE_PERCENT = 10.0
"""Above it the plane with the shorter long axis is foreshortened (Lang 2015)."""
MAX_LA_LENGTH_DIFFERENCE_MM = 5.0
"""Above it one plane cuts the atrium short (Lang 2015)."""
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
        la_volume_ml: Left atrial volume at ES, biplane area-length 8 A1 A2 / (3 pi L) with L the
            shorter length; null where a picture cuts the atrium off.
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
    la_volume_ml: Tenth = None
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
                "Set --spacing-mm (spacing_mm) if it is known"
            )
    edv_ml, esv_ml = (_volume_ml(a4c, a2c, phase) for phase in ("ed", "es"))
    if not edv_ml > 0:
        return BiplaneMeasurement(refusal="the two planes enclose no volume at ED")
    lengths_mm = [plane.disks.ed_length_mm for plane in (a4c, a2c) if plane.disks is not None]
    difference = 100 * (1 - min(lengths_mm) / max(lengths_mm))
    la_volume_ml, warnings = _atrium(a4c.disks, a2c.disks)
    warnings = _length_warnings(lengths_mm, difference) + _rate_warnings(a4c, a2c) + warnings
    parts = [name for name, one in (("A4C", a4c), ("A2C", a2c)) if one.is_part_of_beat]
    if parts:
        message = f"No complete systole in {' and '.join(parts)}: this EF is of a part of a beat."
        warnings = (ClipWarning(code="part_of_beat", message=message), *warnings)
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
        la_volume_ml=la_volume_ml,
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


def _atrium(one: Disks | None, other: Disks | None) -> tuple[float | None, tuple[ClipWarning, ...]]:
    """Biplane volume of the left atrium in ml, None where a plane lacks it, and a warning."""
    planes = [(disks.la_area_mm2, disks.la_length_mm) for disks in (one, other) if disks]
    known = [(area, length) for area, length in planes if area is not None and length]
    if len(known) < 2:
        return None, ()
    (area, length_mm), (area2, length2_mm) = known
    # the disks' area-length formula 8 A^2 / (3 pi L), A^2 being the product of both planes
    volume_ml = area_length_volume_ml(float(np.sqrt(area * area2)), min(length_mm, length2_mm))
    if abs(length_mm - length2_mm) <= MAX_LA_LENGTH_DIFFERENCE_MM:
        return volume_ml, ()
    message = (
        f"The left atrium is {length_mm:.0f} mm long in A4C and {length2_mm:.0f} mm in A2C, a "
        f"difference above {MAX_LA_LENGTH_DIFFERENCE_MM:.0f} mm. One of the views cuts it short, "
        "and its volume is not reliable."
    )
    return volume_ml, (ClipWarning(code="la_lengths_differ", message=message),)


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
