"""How near a Segmenter comes: to the experts on CAMUS stills, and to the truth of phantom-v1.

    python -m echoseg.evaluation.training_scores MODEL --camus DIR
    python -m echoseg.evaluation.training_scores MODEL --phantom test

Scored on the pictures' own grid. An item is one structure on one frame; means are over items.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoseg.clip import Label
from echoseg.data import camus
from echoseg.errors import MeasurementError
from echoseg.evaluation.corruptions import corrupt_frames
from echoseg.measure.volumes import mask_volume_ml
from echoseg.metrics.segmentation import area_jitter_percent, compare_masks
from echoseg.models.checkpoint import load_checkpoint
from echoseg.models.windows import each_frame
from echoseg.preprocess.letterbox import letterbox_for
from echoseg.preprocess.letterbox_torch import letterbox_frames, unletterbox

STRUCTURES: dict[str, tuple[Label, ...]] = {
    "lv_endo": (Label.LV_CAVITY,),
    "lv_epi": (Label.LV_CAVITY, Label.LV_MYOCARDIUM),
    "la": (Label.LA_CAVITY,),
}
"""Rows of the CAMUS challenge's tables and the labels inside each border."""

FAILED_DICE = 0.8
"""A frame whose LV endo Dice is lower counts as a failure."""


@torch.inference_mode()
def predict(
    model: Any, frames: np.ndarray, image_size: int, *, bidirectional: bool = False
) -> np.ndarray:
    """Return the label maps `T H W` of a clip `T H W` uint8, one frame after another.

    With `bidirectional` the model looks at the whole clip at once, from both ends. A still is
    repeated for a model that takes only clips of some length.
    """
    rows, columns = frames.shape[1:]
    letterbox = letterbox_for((0, 0, rows, columns), image_size)
    square = letterbox_frames(torch.from_numpy(frames).float() / 255, letterbox)
    device = next(model.parameters()).device
    inputs = square[:, None, None].to(device)  # T 1 1 S S
    if bidirectional:
        found = model(inputs.movedim(0, 1), bidirectional=True)[0].split(1)
    else:
        if len(inputs) == 1 and not model.streams:  # a still, to one who looks ahead
            inputs = inputs.expand(model.num_frames, -1, -1, -1, -1)
        found = each_frame(model, inputs)
    masks = [unletterbox(logits.float().cpu(), letterbox, (rows, columns)) for logits in found]
    return torch.cat(masks)[: len(frames)].numpy()


def camus_scores(
    model: Any, root: Path, image_size: int, split: str = "validation"
) -> dict[str, float]:
    """Return mean Dice, HD95 and ASD (mm) by structure, and the share of failed frames.

    Each frame is a clip of its own, letterboxed to `image_size`; the logits are brought back to
    the picture's grid before the argmax.
    """
    found: dict[str, list[float]] = {}
    for still in camus.stills(root, split):
        predicted = predict(model, still.picture[None], image_size)[0]
        for name, labels in STRUCTURES.items():
            masks = (np.isin(predicted, labels), np.isin(still.mask, labels))
            compared = compare_masks(*masks, still.spacing_mm)
            for key, value in (
                (name, compared.dice),
                (f"{name}_hd95_mm", compared.hd95),
                (f"{name}_asd_mm", compared.asd),
            ):
                if value is not None:
                    found.setdefault(key, []).append(value)
    scores = {key: float(np.mean(values)) for key, values in found.items()}
    scores["lv_endo_failure_share"] = float(np.mean(np.array(found["lv_endo"]) < FAILED_DICE))
    scores["num_frames"] = float(len(found["lv_endo"]))
    return scores


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A clip with its truth, ready to be scored."""

    group: str
    """What is averaged together: a tier."""
    frames: np.ndarray
    """`T H W` uint8."""
    masks: np.ndarray
    """`T H W` labels."""
    spacing_mm: tuple[float, float]
    spoilt: np.ndarray
    """`T` bool: frames that were spoilt on purpose."""


def phantom_cases(
    split: str,
    *,
    hearts: int | None = None,
    tiers: Sequence[str] | None = None,
    spoilt_share: float = 0.0,
) -> Iterator[Case]:
    """Film a split of phantom-v1: the first `hearts` of each tier.

    With a `spoilt_share`, so many frames of a clip, never the first, are spoilt
    (`echoseg.evaluation.corruptions`), the same ones at every call.
    """
    from echoseg.phantom import Phantom
    from echoseg.phantom.benchmark import phantom_v1

    seen: Counter[str] = Counter()
    for config in phantom_v1(split):
        seen[config.tier] += 1
        if (hearts and seen[config.tier] > hearts) or (tiers and config.tier not in tiers):
            continue
        phantom = Phantom(config)
        generator = torch.Generator().manual_seed(config.seed)
        clean = torch.from_numpy(phantom.frames())[None].float() / 255
        frames, spoilt = corrupt_frames(clean, spoilt_share, generator)
        pixel_mm = phantom.film.sector.spacing_mm
        yield Case(
            group=config.tier,
            frames=(frames[0] * 255).round().to(torch.uint8).numpy(),
            masks=phantom.masks(),
            spacing_mm=(pixel_mm, pixel_mm),
            spoilt=spoilt[0].numpy(),
        )


def score_clip(predicted: np.ndarray, case: Case) -> dict[str, list[float]]:
    """Return what one clip adds to each score: a value a frame, or one a clip.

    EF errors are in points, between disk volumes of the predicted and of the true masks: what a
    perfect segmenter would read. The jitter's excess is over that of the true areas.
    """
    found: dict[str, list[float]] = {}
    for name, labels in STRUCTURES.items():
        pairs = zip(np.isin(predicted, labels), np.isin(case.masks, labels), strict=True)
        for (one, other), spoilt in zip(pairs, case.spoilt, strict=True):
            compared = compare_masks(one, other, case.spacing_mm)
            for key, value in (
                (name, compared.dice),
                (f"{name}_hd95_mm", compared.hd95),
                (f"{name}_asd_mm", compared.asd),
                (f"{name}_spoilt", compared.dice if spoilt else None),
            ):
                if value is not None:
                    found.setdefault(key, []).append(value)
    told, true = (_disk_ef_percent(masks, case.spacing_mm) for masks in (predicted, case.masks))
    if true is not None:
        found["ef_error_points"] = [100.0 if told is None else abs(told - true)]
    areas = [(masks == Label.LV_CAVITY).sum((1, 2)) for masks in (predicted, case.masks)]
    if areas[0].any():
        jitter, own = map(area_jitter_percent, areas)
        found["lv_endo_jitter_excess_percent"] = [jitter - own]
    return found


def summary(scored: Iterable[dict[str, list[float]]]) -> dict[str, float]:
    """Return the means over all items of clips scored by `score_clip`."""
    values: dict[str, list[float]] = {}
    for found in scored:
        for name, more in found.items():
            values.setdefault(name, []).extend(more)
    scores = {name: float(np.mean(found)) for name, found in values.items()}
    scores["lv_endo_failure_share"] = float(np.mean(np.array(values["lv_endo"]) < FAILED_DICE))
    scores["num_frames"] = float(len(values["lv_endo"]))
    return scores


def scores_by_group(
    model: Any, cases: Iterable[Case], image_size: int, *, bidirectional: bool = False
) -> dict[str, dict[str, float]]:
    """Segment and score clips; return the scores of each group."""
    scored: dict[str, list[dict[str, list[float]]]] = {}
    for case in cases:
        masks = predict(model, case.frames, image_size, bidirectional=bidirectional)
        scored.setdefault(case.group, []).append(score_clip(masks, case))
    return {group: summary(found) for group, found in scored.items()}


def _disk_ef_percent(masks: Iterable[np.ndarray], spacing_mm: tuple[float, float]) -> float | None:
    """Return the EF between the largest and the smallest disk volume of a clip's masks.

    The 5th and 95th percentile stand for smallest and largest, so that no one frame decides.
    """
    volumes = []
    for mask in masks:
        try:
            volumes.append(mask_volume_ml(mask, spacing_mm)[0])
        except MeasurementError:
            continue
    if len(volumes) < 2:
        return None
    low, high = np.percentile(volumes, (5, 95))
    return float(100 * (1 - low / high)) if high > 0 else None


def main(argv: list[str] | None = None) -> None:
    """Print the scores of a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name of a shipped checkpoint or a .safetensors file")
    parser.add_argument("--camus", type=Path, help="CAMUS copy")
    parser.add_argument("--phantom", help="validation, test or held_out_style")
    parser.add_argument("--hearts", type=int, help="of the phantom: the first so many only")
    parser.add_argument("--spoilt-share", type=float, default=0.0, help="of the phantom's frames")
    parser.add_argument("--bidirectional", action="store_true", help="look at clips from both ends")
    args = parser.parse_args(argv)
    model, checkpoint = load_checkpoint(args.model)
    size = checkpoint.card.image_size
    if args.camus:
        print(json.dumps(camus_scores(model, args.camus, size), indent=2))
    if args.phantom:
        cases = phantom_cases(args.phantom, hearts=args.hearts, spoilt_share=args.spoilt_share)
        found = scores_by_group(model, cases, size, bidirectional=args.bidirectional)
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
