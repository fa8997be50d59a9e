"""Calibrate the EF interval of a network on annotated clips: `quality.conformal` with real data.

The expected error is fitted on the clips of some patients; the quantiles come from other patients.
The EF is measured as `echoseg analyze` does. The true EF is that of the data set where clips are
sequences and it is given, else that of the experts' masks at ED and ES.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from echoseg.clip import Annotation, Clip
from echoseg.data import Record
from echoseg.errors import ArgumentError, DatasetError
from echoseg.evaluation.run import Progress
from echoseg.evaluation.segment import loaded, segment
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import measure_masks
from echoseg.measure.volumes import ejection_fraction
from echoseg.parallel import parallel_map
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.quality.assess import assess_reliability
from echoseg.quality.conformal import Calibration, calibrate, ef_interval
from echoseg.quality.reliability import ClipUncertainty, EfInterval


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationClip:
    """Uncertainty, measured EF and true EF of one clip."""

    name: str
    patient: str
    uncertainty: ClipUncertainty
    ef_percent: float
    true_ef_percent: float

    @property
    def sample(self) -> tuple[ClipUncertainty, float]:
        """Uncertainty and signed error (truth - EF, points), as `calibrate` takes them."""
        return self.uncertainty, self.true_ef_percent - self.ef_percent


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """How well intervals cover the true EF over clips.

    Attributes:
        num_clips: Number of clips.
        coverage: Fraction of clips whose interval covers the true EF.
        mean_width_points: Mean width of the interval.
        mae_points: Mean absolute error of the EF.
        rejected: Fraction of clips marked unreliable.
    """

    num_clips: int
    coverage: float
    mean_width_points: float
    mae_points: float
    rejected: float


def read_clips(
    model: str,
    records: Sequence[Record],
    *,
    device: str = "cpu",
    jobs: int = 1,
    progress: Progress = lambda done, total: None,
) -> list[CalibrationClip]:
    """Segment and measure annotated clips; those without a measured or true EF are left out.

    Raises:
        ModelError: If the checkpoint cannot be loaded.
        DatasetError: If no record has masks, or a clip cannot be read.
    """
    labelled = [record for record in records if record.labelled]
    if not labelled:
        raise DatasetError(
            f"calibration needs clips with masks, none of the {len(records)} clips has one; "
            "masks lie beside a clip as CLIP_masks.nii.gz"
        )
    clips = []
    for index, clip in enumerate(parallel_map(partial(_read, model, device), labelled, jobs)):
        clips += [clip] if clip else []
        progress(index + 1, len(labelled))
    return clips


def split_patients(
    clips: Sequence[CalibrationClip],
) -> tuple[list[CalibrationClip], list[CalibrationClip]]:
    """Every other patient's clips, to fit on, and those of the rest, for the quantiles."""
    patients = sorted({clip.patient for clip in clips})
    chosen = set(patients[1::2])
    fit = [clip for clip in clips if clip.patient in chosen]
    return fit, [clip for clip in clips if clip.patient not in chosen]


def calibrate_on(
    fit: Sequence[CalibrationClip],
    held_out: Sequence[CalibrationClip],
    *,
    model_sha256: str,
    source: str,
    level: float = 0.9,
) -> tuple[Calibration, Coverage]:
    """Calibrate, and measure coverage on each held-out clip by the quantiles of the others.

    Args:
        fit: Clips to fit the expected error on.
        held_out: Clips of other patients, for the quantiles.
        model_sha256: Checksum of the weights.
        source: Description of the data.
        level: Fraction of clips whose interval is to cover the true EF.

    Raises:
        ArgumentError: If there are too few clips for the level.
    """
    make = partial(
        calibrate,
        [clip.sample for clip in fit],
        model_sha256=model_sha256,
        source=source,
        level=level,
    )
    samples = [clip.sample for clip in held_out]
    calibration = make(samples)
    intervals = []
    for index, clip in enumerate(held_out):
        try:
            leave_one_out = make(samples[:index] + samples[index + 1 :])
        except ArgumentError:  # there are exactly as many clips as the level needs
            leave_one_out = calibration
        intervals.append(ef_interval(clip.ef_percent, clip.uncertainty, leave_one_out))
    return calibration, _coverage(held_out, intervals)


def _read(model: str, device: str, record: Record) -> CalibrationClip | None:
    """Segment and measure one clip; None where there is no measured or no true EF."""
    network, image_size = loaded(model, device)
    clip, annotation = record.load()
    if annotation is None:
        raise DatasetError(f"{record.name}: its annotation is missing")
    masks = clean_masks(segment(network, image_size, clip.frames, stills=record.stills))
    ends, ef, true_ef = _ef_of(record, clip, annotation, masks)
    if ef is None or true_ef is None:
        return None
    squares = letterbox_frames(
        torch.from_numpy(clip.frames[ends]).float() / 255,
        letterbox_for((0, 0, *clip.size), image_size),
    )[:, None]  # (2, 1, S, S)
    reliability = assess_reliability(
        network, squares.to(device), clip.frames[ends], masks[ends], ef_percent=ef
    )
    return CalibrationClip(
        name=record.name,
        patient=record.patient,
        uncertainty=reliability.uncertainty,
        ef_percent=ef,
        true_ef_percent=true_ef,
    )


def _ef_of(
    record: Record, clip: Clip, annotation: Annotation, masks: np.ndarray
) -> tuple[list[int], float | None, float | None]:
    """ED and ES frames, the EF measured there and the true EF."""
    ed, es = annotation.ed_frame, annotation.es_frame
    true_ef = None
    if ed is not None and es is not None and {ed, es} <= set(annotation.labelled_frames):
        truth = clean_masks(annotation.masks)
        true_ef = ejection_fraction(truth, clip.spacing_mm, ed_frame=ed, es_frame=es)
    if record.stills:
        if ed is None or es is None:
            return [], None, None
        ef = ejection_fraction(masks, clip.spacing_mm, ed_frame=ed, es_frame=es)
        return [ed, es], ef, true_ef
    measured = measure_masks(masks, spacing_mm=clip.spacing_mm, times_s=clip.times_s)
    if measured.ed_frame is None or measured.es_frame is None:
        return [], None, None
    dataset_ef = annotation.ef_percent
    ends = [measured.ed_frame, measured.es_frame]
    return ends, measured.ef_percent, true_ef if dataset_ef is None else dataset_ef


def _coverage(clips: Sequence[CalibrationClip], intervals: Sequence[EfInterval]) -> Coverage:
    covered = [
        interval.low_percent <= clip.true_ef_percent <= interval.high_percent
        for clip, interval in zip(clips, intervals, strict=True)
    ]
    widths = [interval.high_percent - interval.low_percent for interval in intervals]
    return Coverage(
        num_clips=len(clips),
        coverage=float(np.mean(covered)),
        mean_width_points=float(np.mean(widths)),
        mae_points=float(np.mean([abs(clip.sample[1]) for clip in clips])),
        rejected=float(np.mean([bool(interval.unreliable_because) for interval in intervals])),
    )
