"""What is read off the masks of one clip: a row a frame, a row a beat, one row for the clip."""

from dataclasses import dataclass

from echoseg.clip import ClipWarning


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameMeasurement:
    """The left ventricle on one frame.

    Attributes:
        frame_index: Index in the clip, from 0.
        time_s: Time from the first frame; None when the clip has no times.
        lv_area_px: Cavity pixels.
        lv_area_cm2: Cavity area; None without a scale.
        lv_length_mm: Long axis, middle of the annulus to apex; None without a scale.
        relative_volume: Disk volume as a share (0..1) of the clip's largest; None where the
            cavity could not be measured.
        volume_ml: Single-plane disk volume; None without a scale.
        smoothed_volume: The regularised curve that beats are read from, in ml, without a scale
            as a share of the clip's largest; None without an EF.
        strain_percent: Length of the endocardial line against that at ED, percent; None without
            an EF or a cavity.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class BeatMeasurement:
    """One beat. Millilitres are None without a scale; frames count from 0.

    `gls_percent` is the shortening of the endocardial contour from ED to ES, negative, from masks:
    it is not speckle tracking. Rates are of the volume curve: of its largest, so per second,
    without a scale.
    """

    ed_frame: int
    es_frame: int
    ef_percent: float
    edv_ml: float | None
    esv_ml: float | None
    gls_percent: float | None
    peak_ejection_rate_edv_per_s: float | None
    peak_filling_rate_edv_per_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimensions:
    """Sizes of the heart, means over the beats; None without a scale or where not to be had.

    Attributes:
        stroke_volume_ml: EDV - ESV.
        fractional_area_change_percent: 100 (ED area - ES area) / ED area.
        lv_length_ed_mm: Long axis at ED.
        lv_length_es_mm: Long axis at ES.
        lv_area_ed_cm2: Cavity area at ED.
        lv_area_es_cm2: Cavity area at ES.
        edv_area_length_ml: EDV by area and length.
        esv_area_length_ml: ESV by area and length.
        la_volume_ml: Left atrium at ES, single-plane area-length.
        wall_thickness_mm: Mean thickness of the wall at ED.
        lv_mass_g: Estimate of the myocardial mass at ED from one plane.
        annular_excursion_mm: Way of the annulus's middle along the ED long axis, ED to ES.
    """

    stroke_volume_ml: float | None = None
    fractional_area_change_percent: float | None = None
    lv_length_ed_mm: float | None = None
    lv_length_es_mm: float | None = None
    lv_area_ed_cm2: float | None = None
    lv_area_es_cm2: float | None = None
    edv_area_length_ml: float | None = None
    esv_area_length_ml: float | None = None
    la_volume_ml: float | None = None
    wall_thickness_mm: float | None = None
    lv_mass_g: float | None = None
    annular_excursion_mm: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Disks:
    """Long axis and disk widths at ED and ES, means over the beats: what two views are joined by.

    In millimetres, or in pixels without a scale.
    """

    ed_length_mm: float
    es_length_mm: float
    ed_diameters_mm: tuple[float, ...]
    es_diameters_mm: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What a cardiologist reads off one clip.

    Attributes:
        frames: One entry a frame.
        spacing_mm: The scale, (row, column) mm a pixel, that the numbers rest on; None when it
            is unknown or was refused.
        ed_frame: ED frame of the beat whose EF is nearest the mean; None when there is no EF.
        es_frame: ES frame of that beat.
        ef_percent: 100 (EDV - ESV) / EDV from single-plane disks, mean over the beats; None when
            refused.
        edv_ml: End-diastolic volume, mean over the beats; None without a scale.
        esv_ml: End-systolic volume, likewise.
        heart_rate_bpm: From R waves or from the volume curve's period; None when it cannot be told.
        refusal: Why there is no EF, one sentence; empty when there is one.
        warnings: What makes the numbers doubtful, and refusals of single ones (millilitres).
        notes: How the numbers were read, where nothing is amiss.
        beats: One entry a beat whose ED and ES both lie in the clip; may be none.
        ef_sd_points: Standard deviation of EF over the beats; None for fewer than two.
        ef_unsmoothed_percent: EF from the curve before it was regularised.
        smoothed: Whether the curve was regularised.
        gls_percent: Shortening of the endocardial contour, mean over the beats.
        dimensions: Sizes.
        disks: For joining two views; None when there is no EF.
    """

    frames: tuple[FrameMeasurement, ...]
    spacing_mm: tuple[float, float] | None
    ed_frame: int | None
    es_frame: int | None
    ef_percent: float | None
    edv_ml: float | None
    esv_ml: float | None
    heart_rate_bpm: float | None
    refusal: str
    warnings: tuple[ClipWarning, ...]
    notes: tuple[ClipWarning, ...]
    beats: tuple[BeatMeasurement, ...] = ()
    ef_sd_points: float | None = None
    ef_unsmoothed_percent: float | None = None
    smoothed: bool = True
    gls_percent: float | None = None
    dimensions: Dimensions = Dimensions()
    disks: Disks | None = None
