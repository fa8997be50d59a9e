"""Evaluation of one clip: an item per structure and annotated frame, and one row per clip.

An item is one pair of masks of one structure on one frame. All averages are over items, never over
batches; pairs that cannot be compared are counted.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from echoseg.clip import Annotation, Clip, Label
from echoseg.data import Record
from echoseg.evaluation.predictors import Predicted, Predictor
from echoseg.measure.clean import clean_masks
from echoseg.measure.volumes import cavity_volumes_ml, ef_percent
from echoseg.metrics.segmentation import area_jitter_percent, compare_masks

STRUCTURES: dict[str, tuple[Label, ...]] = {
    "lv_endo": (Label.LV_CAVITY,),
    "lv_epi": (Label.LV_CAVITY, Label.LV_MYOCARDIUM),
    "la": (Label.LA_CAVITY,),
}
"""Rows of the CAMUS challenge's tables, and the labels inside each border."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One pair of masks; the columns of `items.csv`.

    `phase` is ED, ES, or empty for a frame between them. Distances are in `unit`. Values
    that do not exist, such as those of two empty masks, are None.
    """

    clip: str
    patient: str
    view: str
    split: str
    quality: str
    ef_band: str
    frame: int
    phase: str
    structure: str
    status: str
    dice: float | None
    iou: float | None
    hd: float | None
    hd95: float | None
    asd: float | None
    unit: str
    predicted_px: int
    reference_px: int
    shared_px: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRow:
    """Measurements of a clip's masks; the columns of `clips.csv`.

    `ef_predicted` and `ef_reference` are measured by the same method, single-plane disks, on the
    predicted and the experts' masks of the annotated ED and ES frames; `ef_given` is the data
    set's own. Volumes are in ml, and only where the scale is known.
    """

    clip: str
    patient: str
    view: str
    split: str
    quality: str
    ef_band: str
    frames: int
    row_mm: float | None
    column_mm: float | None
    ed_frame: int | None
    es_frame: int | None
    ef_predicted: float | None
    ef_reference: float | None
    ef_given: float | None
    edv_predicted_ml: float | None
    edv_reference_ml: float | None
    esv_predicted_ml: float | None
    esv_reference_ml: float | None
    jitter_percent: float | None
    jitter_reference_percent: float | None


def ef_band(ef_percent: float | None) -> str:
    """Class of heart failure by ejection fraction, empty when it is unknown.

    Reduced up to 40 %, mildly reduced below 50 %, else preserved: the universal definition
    (Bozkurt et al., Journal of Cardiac Failure 27(4):387-413, 2021).
    """
    if ef_percent is None:
        return ""
    if ef_percent <= 40:
        return "reduced"
    return "mildly_reduced" if ef_percent < 50 else "preserved"


def evaluate_clip(
    record: Record, clip: Clip, annotation: Annotation, predicted: Predicted
) -> tuple[list[Item], ClipRow]:
    """Compare predicted label maps with the experts' annotation."""
    row = _clip_row(record, clip, annotation, predicted)
    columns = ("clip", "patient", "view", "split", "quality", "ef_band")
    about = {name: getattr(row, name) for name in columns}
    phases = {annotation.ed_frame: "ED", annotation.es_frame: "ES"}
    items = []
    for frame in annotation.labelled_frames:
        if not predicted.all_frames and frame not in phases:
            continue
        for name in _structures(record, annotation):
            one, other = (
                np.isin(masks[frame], STRUCTURES[name])
                for masks in (predicted.masks, annotation.masks)
            )
            item = Item(
                **about,
                **asdict(compare_masks(one, other, clip.spacing_mm)),
                frame=frame,
                phase=phases.get(frame, ""),
                structure=name,
                predicted_px=int(one.sum()),
                reference_px=int(other.sum()),
                shared_px=int((one & other).sum()),
            )
            items.append(item)
    return items, row


def _structures(record: Record, annotation: Annotation) -> list[str]:
    """Structures that the annotation covers; no other one is scored."""
    covered = record.labels
    if covered is None:
        values = np.unique(annotation.masks[list(annotation.labelled_frames)])
        covered = tuple(label for label in Label if label in values)
    return [name for name, labels in STRUCTURES.items() if set(labels) <= set(covered)]


def _clip_row(record: Record, clip: Clip, annotation: Annotation, predicted: Predicted) -> ClipRow:
    predicted_volumes = _volumes(predicted.masks, annotation, clip.spacing_mm)
    reference_volumes = _volumes(annotation.masks, annotation, clip.spacing_mm)
    ef_reference = _ef(reference_volumes)
    volumes_ml = [
        volume if clip.spacing_mm else None for volume in (*predicted_volumes, *reference_volumes)
    ]
    all_labelled = not record.stills and len(annotation.labelled_frames) == clip.num_frames
    in_time = predicted.all_frames and not record.stills
    return ClipRow(
        clip=record.name,
        patient=record.patient,
        view=str(record.view),
        split=record.split,
        quality=record.quality,
        ef_band=ef_band(ef_reference if annotation.ef_percent is None else annotation.ef_percent),
        frames=clip.num_frames,
        row_mm=clip.spacing_mm[0] if clip.spacing_mm else None,
        column_mm=clip.spacing_mm[1] if clip.spacing_mm else None,
        ed_frame=annotation.ed_frame,
        es_frame=annotation.es_frame,
        ef_predicted=_ef(predicted_volumes),
        ef_reference=ef_reference,
        ef_given=annotation.ef_percent,
        edv_predicted_ml=volumes_ml[0],
        edv_reference_ml=volumes_ml[2],
        esv_predicted_ml=volumes_ml[1],
        esv_reference_ml=volumes_ml[3],
        jitter_percent=_jitter_percent(predicted.masks) if in_time else None,
        jitter_reference_percent=_jitter_percent(annotation.masks) if all_labelled else None,
    )


def _volumes(
    masks: np.ndarray, annotation: Annotation, spacing_mm: tuple[float, float] | None
) -> tuple[float | None, float | None]:
    """EDV and ESV in ml, or in thousands of cubic pixels without a scale; None without a cavity."""
    volumes: list[float | None] = []
    for frame in (annotation.ed_frame, annotation.es_frame):
        volume = np.nan
        if frame is not None and frame in annotation.labelled_frames:
            # cleaned, as `echoseg analyze` measures
            volume = float(cavity_volumes_ml(clean_masks(masks[[frame]]), spacing_mm)[0])
        volumes.append(None if np.isnan(volume) else volume)
    return volumes[0], volumes[1]


def _ef(volumes: tuple[float | None, float | None]) -> float | None:
    """EF in percent from EDV and ESV, negative where the cavity is larger at ES."""
    edv, esv = volumes
    return None if edv is None or esv is None else ef_percent(edv, esv)


def _jitter_percent(masks: np.ndarray) -> float | None:
    areas = (masks == Label.LV_CAVITY).sum((1, 2))
    return area_jitter_percent(areas) if len(areas) > 2 and areas.any() else None


def scored_items(
    items: list[Item], predictor: Predictor, predicted: Iterable[frozenset[Label]]
) -> tuple[list[Item], tuple[str, ...]]:
    """The items of structures that the predictor can give, and a note where that leaves some out.

    Args:
        items: Of all structures that are annotated.
        predictor: Its `labels`, or, where it names none, those that occur in any of its masks.
        predicted: Labels in the masks of each clip.
    """
    labels = frozenset(predictor.labels or frozenset().union(*predicted))
    missing = [label for label in Label if label not in labels | {Label.BACKGROUND}]
    scored = {name for name, inner in STRUCTURES.items() if not set(inner) & set(missing)}
    left_out = sorted({item.structure for item in items} - scored)
    if not left_out or not labels - {Label.BACKGROUND}:
        return items, ()
    names = " and ".join(f"{label.value}" for label in missing)
    note = f"{predictor.name} gives no label {names}: {', '.join(left_out)} not scored"
    return [item for item in items if item.structure in scored], (note,)


def in_fixed_order(items: Iterable[Item]) -> list[Item]:
    """Items ordered by clip, frame and structure, whatever order they were computed in."""
    rank = {name: index for index, name in enumerate(STRUCTURES)}
    return sorted(items, key=lambda item: (item.clip, item.frame, rank[item.structure]))
