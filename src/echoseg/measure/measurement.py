"""What is read off the masks of one clip: a row a frame, one row for the clip."""

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
    """

    frame_index: int
    time_s: float | None
    lv_area_px: int
    lv_area_cm2: float | None
    lv_length_mm: float | None
    relative_volume: float | None
    volume_ml: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What a cardiologist reads off one clip.

    Attributes:
        frames: One entry a frame.
        spacing_mm: The scale, (row, column) mm a pixel, that the numbers rest on; None when it
            is unknown or was refused.
        ed_frame: Frame of the largest volume of the smoothed curve inside the beat measured; None
            when there is no EF.
        es_frame: Frame of the smallest.
        ef_percent: 100 (EDV - ESV) / EDV from single-plane disks; None when refused.
        edv_ml: End-diastolic volume; None without a scale.
        esv_ml: End-systolic volume; None without a scale.
        heart_rate_bpm: From R waves or from the volume curve's period; None when it cannot be told.
        refusal: Why there is no EF, one sentence; empty when there is one.
        warnings: What makes the numbers doubtful, and refusals of single ones (millilitres).
        notes: How the numbers were read, where nothing is amiss.
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
