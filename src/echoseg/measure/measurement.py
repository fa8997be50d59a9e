"""The values measured in one clip: per frame, per beat and for the clip; also the report's schema.

Records are frozen pydantic models. Attributes hold full precision; a dump to JSON or a dict is
rounded to what is printed, and a value that is not finite becomes null.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from echoseg.clip import ClipWarning
from echoseg.measure.phases import LeftOut
from echoseg.measure.reference import EfGrade

METHOD = "single-plane method of disks, 20 disks (Lang et al., J Am Soc Echocardiogr 28:1-39, 2015)"
STRAIN_METHOD = "shortening of the endocardial contour of the masks; not speckle tracking"

STILLS = "ed_es_stills"
"""Code of the note of a measurement of two stills."""


def _rounder(digits: int) -> Callable[[float | None], float | None]:
    def rounded(value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else round(value, digits)

    return rounded


TENTH, HUNDREDTH, THOUSANDTH = (PlainSerializer(_rounder(digits)) for digits in (1, 2, 3))
"""Decimals of a value in a dump."""
Tenth = Annotated[float | None, TENTH]
Hundredth = Annotated[float | None, HUNDREDTH]


class FrozenModel(BaseModel):
    """A record: immutable, and with no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameMeasurement:
    """The left ventricle on one frame.

    Attributes:
        frame_index: Index in the clip, from 0.
        time_s: Time from the first frame; None when the clip has no times.
        lv_area_px: Number of cavity pixels.
        lv_area_cm2: Cavity area; None without a pixel spacing.
        lv_length_mm: Long axis, center of the annulus to apex; None without a pixel spacing.
        relative_volume: Disk volume as a fraction (0 to 1) of the clip's largest; None where the
            cavity could not be measured.
        volume_ml: Single-plane disk volume; None without a pixel spacing.
        smoothed_volume: The smoothed curve in which beats are detected, in ml, or without a pixel
            spacing as a fraction of the clip's largest; None without an EF.
        strain_percent: Change in length of the endocardial contour since ED; None without an EF
            or a cavity.
    """

    frame_index: int
    time_s: float | None
    lv_area_px: int
    lv_area_cm2: float | None
    lv_length_mm: float | None
    relative_volume: float | None
    volume_ml: float | None
    smoothed_volume: float | None = None
    strain_percent: float | None = None


class BeatMeasurement(FrozenModel):
    """One beat. Volumes in ml are null without a pixel spacing; frames count from 0.

    `gls_percent` is the shortening of the endocardial contour from ED to ES (negative), from
    masks: it is not speckle tracking. Rates are those of the volume curve divided by EDV, so they
    are per second and need no pixel spacing. `heart_rate_bpm` is of the beat's own length, null
    where the next beat is not seen. `left_out` says why the beat is not part of the means,
    `premature`, `after_premature` or `reader`, who took it out; it is empty for a beat that is.
    """

    ed_frame: int
    es_frame: int
    ef_percent: Tenth
    edv_ml: Tenth
    esv_ml: Tenth
    gls_percent: Tenth
    peak_ejection_rate_edv_per_s: Hundredth
    peak_filling_rate_edv_per_s: Hundredth
    heart_rate_bpm: Tenth = None
    left_out: LeftOut = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disks:
    """Long axis and disk diameters at ED and ES, means over the beats, for biplane volumes.

    In millimetres, or in pixels without a pixel spacing. Area and length of the left atrium are
    those at ES; None where the picture cuts it off.
    """

    ed_length_mm: float
    es_length_mm: float
    ed_diameters_mm: tuple[float, ...]
    es_diameters_mm: tuple[float, ...]
    la_area_mm2: float | None = None
    la_length_mm: float | None = None


class Measurement(FrozenModel):
    """The clinical values of one clip, means over its beats; frames count from 0.

    A value that could not be measured is null. `frames`, `spacing_mm`, `warnings`, `notes` and
    `disks` are not part of a report's `results`: they stand elsewhere in it, or in other files.

    Attributes:
        method: How volumes are computed.
        ed_frame: Frame of the largest volume of the beat whose EF is nearest the mean; where a
            reader drew contours, of the beat with the most of its ED and ES drawn.
        es_frame: Frame of that beat's smallest volume.
        ef_percent: 100 (EDV - ESV) / EDV from single-plane disks; null when refused.
        ef_sd_points: Standard deviation of EF over the beats; null for fewer than two.
        ef_grade: Class of the EF.
        ef_unsmoothed_percent: EF from the volume curve before smoothing.
        smoothed: Whether the volumes are those of the smoothed curve.
        num_beats: Number of beats in the means: their ED and ES both lie in the clip, and they
            are not left out as premature.
        is_part_of_beat: The EF does not rest on ED and ES of one whole systole, since the clip
            shows none.
        edv_ml: End-diastolic volume; null without a pixel spacing, as are all sizes.
        esv_ml: End-systolic volume.
        edv_sd_ml: Standard deviation of EDV over the beats; null for fewer than two.
        esv_sd_ml: That of ESV.
        stroke_volume_ml: EDV - ESV.
        edv_area_length_ml: EDV by the area-length method.
        esv_area_length_ml: ESV by the area-length method.
        fractional_area_change_percent: 100 (ED area - ES area) / ED area.
        lv_length_ed_mm: Long axis at ED.
        lv_length_es_mm: Long axis at ES.
        lv_area_ed_cm2: Cavity area at ED.
        lv_area_es_cm2: Cavity area at ES.
        la_volume_ml: Left atrial volume at ES, single-plane area-length method.
        wall_thickness_mm: Mean wall thickness at ED; null where the wall leaves the sector.
        lv_mass_g: Estimate of the myocardial mass at ED from one plane; null likewise.
        annular_excursion_mm: Motion of the annulus's center along the ED long axis, ED to ES.
        gls_percent: Shortening of the endocardial contour.
        gls_method: How it is computed.
        peak_ejection_rate_edv_per_s: Steepest fall of the volume curve, divided by EDV.
        peak_filling_rate_edv_per_s: Steepest rise, divided by EDV.
        peak_ejection_rate_ml_per_s: The same in ml per second.
        peak_filling_rate_ml_per_s: The same in ml per second.
        heart_rate_bpm: From R waves or from the period of the volume curve; null where the frame
            times imply a rate or a systole of no heart, as are all rates then.
        heart_rate_sd_bpm: Standard deviation over the beats in the means; null for fewer than two
            whose length is known.
        gls_unreliable_percent: The shortening that was measured, in a report that withholds it with
            the EF; null otherwise.
        heart_rate_unreliable_bpm: The heart rate, where it is withheld; null otherwise.
        refusal: Why there is no EF; empty when there is one.
        beats: One entry per beat, also those left out of the means; may be empty.
        frames: One entry per frame.
        spacing_mm: Pixel spacing (row, column) that the numbers rest on; None when unknown or
            rejected.
        warnings: Reasons to check the values, and why some are missing.
        notes: How the numbers were computed, where nothing is wrong.
        disks: For biplane volumes; None when there is no EF.
    """

    method: str = METHOD
    ed_frame: int | None = None
    es_frame: int | None = None
    ef_percent: Tenth = None
    ef_sd_points: Tenth = None
    ef_grade: EfGrade | None = None
    ef_unsmoothed_percent: Tenth = None
    smoothed: bool = True
    num_beats: int = 0
    is_part_of_beat: bool = False
    edv_ml: Tenth = None
    esv_ml: Tenth = None
    edv_sd_ml: Tenth = None
    esv_sd_ml: Tenth = None
    stroke_volume_ml: Tenth = None
    edv_area_length_ml: Tenth = None
    esv_area_length_ml: Tenth = None
    fractional_area_change_percent: Tenth = None
    lv_length_ed_mm: Tenth = None
    lv_length_es_mm: Tenth = None
    lv_area_ed_cm2: Tenth = None
    lv_area_es_cm2: Tenth = None
    la_volume_ml: Tenth = None
    wall_thickness_mm: Tenth = None
    lv_mass_g: Tenth = None
    annular_excursion_mm: Tenth = None
    gls_percent: Tenth = None
    gls_method: str = STRAIN_METHOD
    peak_ejection_rate_edv_per_s: Hundredth = None
    peak_filling_rate_edv_per_s: Hundredth = None
    peak_ejection_rate_ml_per_s: Tenth = None
    peak_filling_rate_ml_per_s: Tenth = None
    heart_rate_bpm: Tenth = None
    heart_rate_sd_bpm: Tenth = None
    gls_unreliable_percent: Tenth = None
    heart_rate_unreliable_bpm: Tenth = None
    refusal: str = ""
    beats: tuple[BeatMeasurement, ...] = ()
    frames: tuple[FrameMeasurement, ...] = Field(default=(), exclude=True, repr=False)
    spacing_mm: tuple[float, float] | None = Field(default=None, exclude=True)
    warnings: tuple[ClipWarning, ...] = Field(default=(), exclude=True)
    notes: tuple[ClipWarning, ...] = Field(default=(), exclude=True)
    disks: Disks | None = Field(default=None, exclude=True, repr=False)

    @property
    def beats_text(self) -> str:
        """What the EF rests on: `2 beats`, `a part of a beat`, `two stills`; empty without one."""
        if self.ef_percent is None:
            return ""
        if any(note.code == STILLS for note in self.notes):
            return "two stills, ED and ES"
        if self.is_part_of_beat:
            return "a part of a beat"
        return f"{self.num_beats} beat{'s' * (self.num_beats != 1)}"


def refused(measurement: Measurement, reason: str) -> Measurement:
    """What remains of a measurement without an EF: areas and volumes of single frames.

    Args:
        measurement: The measurement.
        reason: Why there is no EF.
    """
    frames = tuple(
        replace(row, smoothed_volume=None, strain_percent=None) for row in measurement.frames
    )
    return Measurement(
        frames=frames,
        refusal=reason,
        smoothed=measurement.smoothed,
        spacing_mm=measurement.spacing_mm,
    )
