"""Robustness of networks on whole clips: clean, with corrupted frames, and with a hidden wall.

`corrupted` corrupts whole frames, each with a probability of .15; `hidden` puts one artefact that
lasts over the wall (`evaluation.artefacts`). A clip is streamed as in use: the state is carried
from its first frame to its last. Corruption is drawn from the clip's name, so all networks see the
same pixels. Per network, condition and clip:

    dice             LV cavity, mean over labeled frames
    affected_dice    the same over frames that are corrupted, however little
    band_dice        LV cavity on the hidden band, pixel counts pooled over the clip: pixels within
                     5 mm of the true borders of cavity or wall (4 % of the frame's longer side
                     where the scale is unknown) of which over half is hidden; only where the
                     truth has at least 100 such pixels of the cavity, so that all networks are
                     scored on the same clips
    band_wall_dice   the same of the wall
    ef_error         EF of the clip's masks at ED and ES less that of the true masks, points
    ef_shift         the same less that of the same network's masks of the clean ED and ES stills,
                     each alone with an empty memory
    jitter_percent   mean |change of predicted LV area less change of true area| from frame to
                     frame, in % of the mean true area
    carry_clean_8    mean carry gate at stride 8 over pixels that nothing hides, and `..._4`; the
    carry_hidden_8   same over hidden ones; the first frame is left out (`MSSNet.carry_logits`)
"""

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from echoseg.clip import Annotation, Clip, Label
from echoseg.data import Record
from echoseg.errors import ConfigError, DatasetError
from echoseg.evaluation.artefacts import add_artefacts
from echoseg.evaluation.corruptions import corrupt_frames
from echoseg.evaluation.segment import segment
from echoseg.measure.clean import clean_masks
from echoseg.measure.volumes import cavity_volumes_ml, ef_percent
from echoseg.metrics.segmentation import dice, dice_of_counts
from echoseg.models.checkpoint import load_model
from echoseg.parallel import check_jobs, parallel_map, torch_threads
from echoseg.preprocess.frame_transform import FrameTransform
from experiments.eval_sets import CORRUPTION_PROB, clip_records

BAND_MM, BAND_FRACTION = 5.0, 0.04
"""Half width of the band on either side of a border, in mm or as a fraction of the frame's side."""
MIN_BAND_PX = 100
"""True pixels that a hidden band must have to be scored."""
MIN_HIDDEN, MAX_DRAWS = 0.02, 20
"""Fraction of the wall's pixels in all frames that an artefact must cover, and draws for it."""
WALL = (Label.LV_CAVITY, Label.LV_MYOCARDIUM)

Corrupt = Callable[
    [Float[Tensor, "T H W"], UInt8[np.ndarray, "T H W"], torch.Generator],
    tuple[Float[Tensor, "T H W"], Float[Tensor, "T H W"]],
]
"""Frames in [0, 1], true masks, generator -> corrupted frames, and 1 where an artefact hides."""


def _clean(frames: Tensor, masks: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return frames, torch.zeros_like(frames)


def _corrupted(
    frames: Tensor, masks: np.ndarray, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    corrupted, hidden = corrupt_frames(frames[None], CORRUPTION_PROB, generator)
    return corrupted[0], hidden[0]


def _hidden(frames: Tensor, masks: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One lasting artefact over the wall; drawn again while it hides next to nothing of it."""
    wall = torch.from_numpy(masks == Label.LV_MYOCARDIUM)
    labels = torch.from_numpy(masks.copy())[None]
    result = frames, torch.zeros_like(frames)
    for _ in range(MAX_DRAWS):
        new, hidden = add_artefacts(frames[None], 1.0, generator, masks=labels)
        result = new[0], hidden[0]
        if (wall & (hidden[0] > 0.5)).sum() > MIN_HIDDEN * wall.sum():
            break
    return result


CONDITIONS: dict[str, Corrupt] = {"clean": _clean, "corrupted": _corrupted, "hidden": _hidden}
"""Name -> what is done to a clip."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipScore:
    """One network on one clip in one condition; the columns of `clips.csv`.

    `row` is the network's name and `seed` that of its training; the module defines the metrics.
    A metric that does not exist, such as EF without ED and ES, is None.
    """

    row: str
    seed: int
    eval_set: str
    condition: str
    clip: str
    patient: str
    view: str
    dice: float | None
    affected_dice: float | None
    band_dice: float | None
    band_wall_dice: float | None
    ef_error: float | None
    ef_shift: float | None
    jitter_percent: float | None
    carry_clean_8: float | None = None
    carry_hidden_8: float | None = None
    carry_clean_4: float | None = None
    carry_hidden_4: float | None = None


ABOUT = ("row", "seed", "eval_set", "condition", "clip", "patient", "view")
METRICS = tuple(field.name for field in fields(ClipScore) if field.name not in ABOUT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A trained network that is evaluated: row and seed of the tables, and its checkpoint."""

    row: str
    seed: int
    checkpoint: str


def evaluate_robustness(  # noqa: PLR0913  # what to evaluate, and how to run it
    entries: Sequence[Entry],
    eval_set: str,
    *,
    conditions: Sequence[str] = (),
    num_hearts: int | None = None,
    num_clips: int | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[ClipScore]:
    """Scores of networks on an evaluation set.

    Args:
        entries: The networks.
        eval_set: See `experiments.eval_sets`.
        conditions: Keys of `CONDITIONS`; all when empty.
        num_hearts: Number of phantom hearts per tier; None: all.
        num_clips: Number of clips, spread over the set; None: all.
        jobs: Worker processes; the result does not depend on their number.
        progress: Called with (clips done, number of clips).

    Raises:
        EchosegError: If the set or a condition does not exist, or a clip cannot be read.
    """
    names = tuple(conditions or CONDITIONS)
    for name in names:
        check_condition(name)
    records = clip_records(eval_set, num_hearts, num_clips)
    work = partial(score_record, tuple(entries), names, eval_set)
    scores: list[ClipScore] = []
    for index, result in enumerate(parallel_map(work, records, check_jobs(jobs)), 1):
        scores += result
        progress(index, len(records))
    return scores


def check_condition(name: str) -> None:
    """Refuse an unknown condition.

    Raises:
        ConfigError: If so.
    """
    if name not in CONDITIONS:
        raise ConfigError(f"condition must be one of {', '.join(CONDITIONS)}, got {name!r}")


def score_record(
    entries: tuple[Entry, ...], conditions: tuple[str, ...], eval_set: str, record: Record
) -> list[ClipScore]:
    """Scores of networks on one clip, which is read once.

    Raises:
        EchosegError: If the clip or a checkpoint cannot be read, or the clip has no mask.
    """
    clip, annotation = record.load()
    if annotation is None or not annotation.labelled_frames:
        raise DatasetError(f"{record.name} must have masks to evaluate with, it has none")
    versions = {name: corrupted_clip(name, record.name, clip, annotation) for name in conditions}
    scores = []
    for entry in entries:
        network, size = _network(entry.checkpoint)
        stills_ef = stills_ef_percent(network, size, clip, annotation)
        for name, version in versions.items():
            metrics = clip_metrics(network, size, version, annotation)
            ef, true_ef = metrics.pop("ef"), metrics.pop("true_ef")
            scores.append(
                ClipScore(
                    row=entry.row,
                    seed=entry.seed,
                    eval_set=eval_set,
                    condition=name,
                    clip=record.name,
                    patient=record.patient,
                    view=str(record.view),
                    ef_error=_less(ef, true_ef),
                    ef_shift=_less(ef, stills_ef),
                    **metrics,
                )
            )
    return scores


@lru_cache(maxsize=64)
def _network(checkpoint: str) -> tuple[Any, int]:
    network, card = load_model(checkpoint)
    return network, card.image_size


def corrupted_clip(
    condition: str, name: str, clip: Clip, annotation: Annotation
) -> tuple[Clip, Float[np.ndarray, "T H W"]]:
    """A clip in a condition, and where an artefact hides its picture, in [0, 1]."""
    generator = torch.Generator().manual_seed(zlib.crc32(f"{condition} {name}".encode()))
    frames = torch.from_numpy(clip.frames.copy()).float() / 255
    corrupted, hidden = CONDITIONS[condition](frames, annotation.masks, generator)
    pixels = (255 * corrupted).round().clamp(0, 255).to(torch.uint8).numpy()
    return replace(clip, frames=pixels), hidden.numpy()


def clip_metrics(
    network: Any,
    size_px: int,
    version: tuple[Clip, Float[np.ndarray, "T H W"]],
    annotation: Annotation,
) -> dict[str, float | None]:
    """The metrics of the module of one network, and `ef` and `true_ef` in percent.

    Args:
        network: A Segmenter in evaluation mode.
        size_px: Side of its square input.
        version: The clip, corrupted or not, and where it is hidden.
        annotation: The truth.
    """
    (clip, hidden), truth = version, annotation.masks
    predicted = segment(network, size_px, clip.frames, stills=False)
    labeled = list(annotation.labelled_frames)
    affected = [t for t in labeled if hidden[t].any()]
    each = {t: dice(predicted[t], truth[t], Label.LV_CAVITY) for t in labeled}
    bands = [border_band(truth[t], clip.spacing_mm) & (hidden[t] > 0.5) for t in affected]
    pairs = [(predicted[t][band], truth[t][band]) for t, band in zip(affected, bands, strict=True)]
    return {
        "dice": _mean(each.values()),
        "affected_dice": _mean(each[t] for t in affected),
        "band_dice": _pooled_dice(pairs, Label.LV_CAVITY),
        "band_wall_dice": _pooled_dice(pairs, Label.LV_MYOCARDIUM),
        "ef": _ef_percent(predicted, clip, annotation),
        "true_ef": _ef_percent(truth, clip, annotation),
        "jitter_percent": _jitter_percent(predicted[labeled], truth[labeled]),
        **carry_means(network, size_px, clip.frames, hidden),
    }


def border_band(
    mask: UInt8[np.ndarray, "H W"], spacing_mm: tuple[float, float] | None
) -> Bool[np.ndarray, "H W"]:
    """Pixels near the border of the true cavity, or of cavity and wall."""
    width = BAND_FRACTION * max(mask.shape) if spacing_mm is None else BAND_MM
    band = np.zeros(mask.shape, bool)
    for labels in (WALL[:1], WALL):
        inside = np.isin(mask, labels)
        border = inside & ~np.asarray(ndimage.binary_erosion(inside), bool)
        if border.any():
            distance = ndimage.distance_transform_edt(~border, sampling=spacing_mm or 1.0)
            band |= np.asarray(distance) <= width
    return band


def stills_ef_percent(
    network: Any, size_px: int, clip: Clip, annotation: Annotation
) -> float | None:
    """EF of the network's masks of ED and ES, each a clip of its own."""
    if (ends := _ends(annotation)) is None:
        return None
    return _ef_of(segment(network, size_px, clip.frames[ends], stills=True), clip)


@torch.inference_mode()
def carry_means(
    network: Any,
    size_px: int,
    frames: UInt8[np.ndarray, "T H W"],
    hidden: Float[np.ndarray, "T H W"],
) -> dict[str, float]:
    """Mean carry gates of a network with `carry_logits` on clean and on hidden pixels."""
    if not hasattr(network, "carry_logits") or len(frames) < 2:
        return {}
    transform = FrameTransform(frames.shape[1:], size_px)
    inputs, maps = (
        torch.from_numpy(np.concatenate([transform.apply(x) for x in each]))[None]
        for each in (frames, (255 * hidden).astype(np.uint8))
    )  # (1, T, 1, S, S)
    with torch_threads(1):
        _, gates = network.carry_logits(inputs)
    means: dict[str, float] = {}
    for logits in gates:
        gate = logits[0, 1:].float().sigmoid()  # (T - 1, h, w)
        weight = functional.adaptive_avg_pool2d(maps[0, 1:], gate.shape[-2:])[:, 0]
        stride = round(size_px / gate.shape[-1])
        for name, part in (("clean", 1 - weight), ("hidden", weight)):
            if part.sum() > 0:
                means[f"carry_{name}_{stride}"] = float((gate * part).sum() / part.sum())
    return means


def _ef_percent(masks: np.ndarray, clip: Clip, annotation: Annotation) -> float | None:
    ends = _ends(annotation)
    return None if ends is None else _ef_of(masks[ends], clip)


def _ends(annotation: Annotation) -> list[int] | None:
    """ED and ES, if both are known and labeled."""
    ends = annotation.ed_frame, annotation.es_frame
    known = [f for f in ends if f is not None and f in annotation.labelled_frames]
    return known if len(known) == 2 else None


def _ef_of(masks: np.ndarray, clip: Clip) -> float | None:
    """EF of the masks of ED and ES, measured on the largest cavity."""
    return ef_percent(*cavity_volumes_ml(clean_masks(masks), clip.spacing_mm))


def _jitter_percent(predicted: np.ndarray, truth: np.ndarray) -> float | None:
    areas, true = (
        (each == Label.LV_CAVITY).sum((1, 2)).astype(float) for each in (predicted, truth)
    )
    if len(areas) < 2 or not true.any():
        return None
    return float(100 * np.abs(np.diff(areas - true)).mean() / true.mean())


def _pooled_dice(pairs: list[tuple[np.ndarray, np.ndarray]], label: Label) -> float | None:
    """Dice of pixel counts summed over frames; None where the truth has too few of the label."""
    predicted, true = (
        (sum(int((x == label).sum()) for x in each) for each in zip(*pairs, strict=True))
        if pairs
        else (0, 0)
    )
    if true < MIN_BAND_PX:
        return None
    shared = sum(int(((p == label) & (t == label)).sum()) for p, t in pairs)
    return dice_of_counts(shared, predicted + true)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
