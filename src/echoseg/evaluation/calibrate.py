"""Calibrate the EF interval of a network on annotated clips: `quality.calibration_fit` with data.

Clips are measured as `echoseg analyze` does, each also as another machine exports it, in a degraded
copy (`degrade`) and as parts of its beat, so that bad clips are there to be recognized; stills only
by themselves. The true EF is
that of the data set where clips are sequences and it is given, else that of the experts' masks at
ED and ES. Patients with A4C and A2C give a biplane EF too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from echoseg.clip import Annotation, Clip, View
from echoseg.data import Record
from echoseg.errors import DatasetError, MeasurementError
from echoseg.evaluation.degrade import Degradation, degrade, export_copy
from echoseg.evaluation.run import Progress
from echoseg.evaluation.segment import loaded, segment
from echoseg.measure.biplane import combine_views
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import measure_masks
from echoseg.measure.measurement import Measurement
from echoseg.measure.volumes import cavity_volumes_ml, ef_percent
from echoseg.parallel import parallel_map
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames
from echoseg.quality.assess import Ends, clip_uncertainty
from echoseg.quality.calibration_fit import Sample
from echoseg.quality.conformal import BIPLANE, mean_uncertainty

if TYPE_CHECKING:
    from echoseg.inference.analyzer import Analyzer
    from echoseg.models.segmenter import Segmenter

STILLS, CLEAN, EXPORT, PART_OF_BEAT = "stills", "clean", "export", "part of a beat"


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationClip:
    """One clip, or a copy of it, with measured and true EF.

    Attributes:
        name: Name of its record.
        kind: `STILLS`, `CLEAN`, `EXPORT`, `PART_OF_BEAT`, or the `degrade.Degradation` of a copy.
        quality: Image quality in the data set's words.
        sample: Uncertainty, measured EF and true EF.
        num_beats: Beats the EF is the mean of.
        beats_sd_points: As in `Measurement.ef_sd_points`.
        outside_percent: Cavity and wall outside the sector.
    """

    name: str
    kind: str
    quality: str
    sample: Sample
    num_beats: int = 0
    beats_sd_points: float | None = None
    outside_percent: float = 0.0


_Plane = tuple[str, str, Measurement, Measurement]
"""Patient, view, measurement, and measurement of the true masks."""


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
    clips, planes = [], []
    for index, read in enumerate(parallel_map(partial(_read, model, device), labelled, jobs)):
        clips += read[0]
        planes += read[1]
        progress(index + 1, len(labelled))
    return clips + _biplane(clips, planes)


def _read(model: str, device: str, record: Record) -> tuple[list[CalibrationClip], list[_Plane]]:
    """Segment and measure one record, its copies and parts of its beat."""
    clip, annotation = record.load()
    if annotation is None:
        raise DatasetError(f"{record.name}: its annotation is missing")
    true_ef = true_ef_of(record, clip, annotation)
    if true_ef is None:
        return [], []
    if record.stills:
        return _read_stills(*loaded(model, device), record, true_ef), []
    analyzer = _analyzer(model, device)
    clip = replace(clip, r_wave_times_s=())  # most files have none
    clips, masks, measurement = analyze_copy(analyzer, record, clip, CLEAN, true_ef)
    clips += analyze_copy(analyzer, record, export_copy(clip), EXPORT, true_ef)[0]
    degraded, kind = degrade(clip, annotation, record.name)
    clips += analyze_copy(analyzer, record, degraded, str(kind), true_ef)[0]
    if measurement is None or masks is None or not clips:
        return clips, []
    return clips + _parts(clips[0], clip, masks, measurement), _plane(
        record, clip, annotation, measurement
    )


@lru_cache(maxsize=1)
def _analyzer(model: str, device: str) -> "Analyzer":
    from echoseg.inference.analyzer import Analyzer

    return Analyzer(model, device)


def _read_stills(
    network: "Segmenter", image_size: int, record: Record, true_ef: float
) -> list[CalibrationClip]:
    clip, annotation = record.load()
    if annotation is None or annotation.ed_frame is None or annotation.es_frame is None:
        return []
    ends = [annotation.ed_frame, annotation.es_frame]
    masks = clean_masks(segment(network, image_size, clip.frames, stills=True))
    ef = ef_percent(*cavity_volumes_ml(masks[ends], clip.spacing_mm))
    if ef is None:
        return []
    squares = letterbox_frames(
        torch.from_numpy(clip.frames[ends]).float() / 255,
        letterbox_for((0, 0, *clip.size), image_size),
    )[:, None]  # (2, 1, S, S)
    device = next(network.parameters()).device
    end_frames = Ends(squares.to(device), clip.frames[ends], masks[ends])
    uncertainty, outside = clip_uncertainty(network, end_frames)
    sample = Sample(
        patient=record.patient,
        view=str(record.view),
        uncertainty=uncertainty,
        ef_percent=ef,
        true_ef_percent=true_ef,
    )
    return [
        CalibrationClip(
            name=record.name,
            kind=STILLS,
            quality=annotation.quality,
            sample=sample,
            outside_percent=outside,
        )
    ]


def analyze_copy(
    analyzer: "Analyzer", record: Record, clip: Clip, kind: str, true_ef: float
) -> tuple[list[CalibrationClip], np.ndarray | None, Measurement | None]:
    """A clip, or a copy of it, through `echoseg analyze`; none where that refuses an EF."""
    try:
        analysis = analyzer.analyze(clip, force_view=True)  # the view is the data set's
    except MeasurementError:
        return [], None, None
    measurement, reliability = analysis.measurement, analysis.reliability
    if measurement.ef_percent is None or reliability is None:
        return [], None, None
    sample = Sample(
        patient=record.patient,
        view=str(record.view),
        uncertainty=reliability.uncertainty,
        ef_percent=measurement.ef_percent,
        true_ef_percent=true_ef,
        is_part_of_beat=measurement.is_part_of_beat,
        is_degraded=kind in set(Degradation),
    )
    result = CalibrationClip(
        name=record.name,
        kind=kind,
        quality=record.quality,
        sample=sample,
        num_beats=measurement.num_beats,
        beats_sd_points=measurement.ef_sd_points,
        outside_percent=reliability.lv_outside_sector_percent,
    )
    return [result], analysis.masks, measurement


def _parts(
    clean: CalibrationClip, clip: Clip, masks: np.ndarray, measurement: Measurement
) -> list[CalibrationClip]:
    """The clip from mid-systole on, and up to there, where that is measured as part of a beat."""
    ed, es = measurement.ed_frame, measurement.es_frame
    if clip.times_s is None or ed is None or es is None:
        return []
    middle, clips = (ed + es) // 2, []
    for part in (slice(middle, None), slice(middle)):
        if len(masks[part]) < 3:
            continue
        times_s = clip.times_s[part] - clip.times_s[part][0]
        measured = measure_masks(masks[part], spacing_mm=clip.spacing_mm, times_s=times_s)
        if measured.ef_percent is not None and measured.is_part_of_beat:
            sample = replace(clean.sample, ef_percent=measured.ef_percent, is_part_of_beat=True)
            clips.append(replace(clean, kind=PART_OF_BEAT, sample=sample, num_beats=0))
    return clips


def true_ef_of(record: Record, clip: Clip, annotation: Annotation) -> float | None:
    """EF of the data set for a sequence, else of the experts' masks at ED and ES."""
    if not record.stills and annotation.ef_percent is not None:
        return annotation.ef_percent
    ed, es = annotation.ed_frame, annotation.es_frame
    if ed is None or es is None or not {ed, es} <= set(annotation.labelled_frames):
        return None
    truth = clean_masks(annotation.masks[[ed, es]])
    return ef_percent(*cavity_volumes_ml(truth, clip.spacing_mm))


def _plane(
    record: Record, clip: Clip, annotation: Annotation, measurement: Measurement
) -> list[_Plane]:
    """The plane of a clip with masks on all frames; else none."""
    if len(annotation.labelled_frames) < clip.num_frames:
        return []
    truth = measure_masks(
        clean_masks(annotation.masks), spacing_mm=clip.spacing_mm, times_s=clip.times_s
    )
    return [(record.patient, str(record.view), measurement, truth)]


def _biplane(clips: Sequence[CalibrationClip], planes: Sequence[_Plane]) -> list[CalibrationClip]:
    """The biplane EF of each patient with an A4C and an A2C clip."""
    clean = {(clip.sample.patient, clip.sample.view): clip for clip in clips if clip.kind == CLEAN}
    by_view = {plane[:2]: plane[2:] for plane in planes}
    pairs = []
    for patient in sorted({plane[0] for plane in planes}):
        keys = [(patient, str(view)) for view in (View.A4C, View.A2C)]
        if not all(key in by_view and key in clean for key in keys):
            continue
        both = [clean[key] for key in keys]
        planes_of = zip(*(by_view[key] for key in keys), strict=True)
        ef, true_ef = (combine_views(*one).ef_percent for one in planes_of)
        if ef is None or true_ef is None:
            continue
        sample = Sample(
            patient=patient,
            view=BIPLANE,
            uncertainty=mean_uncertainty([one.sample.uncertainty for one in both]),
            ef_percent=ef,
            true_ef_percent=true_ef,
            is_part_of_beat=any(one.sample.is_part_of_beat for one in both),
        )
        pairs.append(replace(both[0], sample=sample))
    return pairs
