"""How near a Segmenter comes: to the experts on CAMUS stills, and to the truth of phantom-v1.

    python -m echoseg.learn.evaluate MODEL --camus DIR
    python -m echoseg.learn.evaluate MODEL --phantom test

Scored on the pictures' own grid. An item is one structure on one frame; means are over items.
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoseg.anatomy import Label
from echoseg.datasets import camus
from echoseg.errors import MeasurementError
from echoseg.measure.volumes import mask_volume_ml
from echoseg.metrics import compare_masks, dice
from echoseg.models.checkpoint import load_checkpoint
from echoseg.transforms import from_square, letterbox_for, to_square

STRUCTURES: dict[str, tuple[Label, ...]] = {
    "lv_endo": (Label.LV_CAVITY,),
    "lv_epi": (Label.LV_CAVITY, Label.LV_MYOCARDIUM),
    "la": (Label.LA_CAVITY,),
}
"""Rows of the CAMUS challenge's tables and the labels inside each border."""

FAILED_DICE = 0.8
"""A frame whose LV endo Dice is lower counts as a failure."""


@torch.inference_mode()
def predict(model: Any, frames: np.ndarray, image_size: int) -> np.ndarray:
    """Return the label maps `T H W` of a clip `T H W` uint8, one frame after another."""
    rows, columns = frames.shape[1:]
    letterbox = letterbox_for((0, 0, rows, columns), image_size)
    square = to_square(torch.from_numpy(frames).float() / 255, letterbox)
    device = next(model.parameters()).device
    state, masks = model.init_state(1), []
    for frame in square:
        logits, state = model.step(frame[None, None].to(device), state)
        masks.append(from_square(logits.float().cpu(), letterbox, (rows, columns))[0].numpy())
    return np.stack(masks)


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


def phantom_scores(
    model: Any, split: str, image_size: int, hearts: int | None = None
) -> dict[str, dict[str, float]]:
    """Return scores on every frame of a split of phantom-v1, by tier.

    EF errors are in points, between disk volumes of the predicted and of the true masks: what a
    perfect segmenter would read. `hearts` takes the first few only.
    """
    from echoseg.phantom import Phantom, Tier
    from echoseg.phantom.benchmark import phantom_v1

    configs = phantom_v1(split)
    found: dict[str, dict[str, list[float]]] = {tier: {} for tier in Tier}
    for config in configs[: None if hearts is None else hearts * len(Tier)]:
        phantom = Phantom(config)
        frames, true = phantom.frames(), phantom.masks()
        predicted = predict(model, frames, image_size)
        into = found[config.tier]
        for name, labels in STRUCTURES.items():
            pairs = zip(np.isin(predicted, labels), np.isin(true, labels), strict=True)
            values = [score for one, other in pairs if (score := dice(one, other)) is not None]
            into.setdefault(name, []).extend(values)
        pixel_mm = phantom.film.sector.spacing_mm
        spacing = (pixel_mm, pixel_mm)
        told = [_disk_ef_percent(masks, spacing) for masks in (predicted, true)]
        if told[1] is not None:
            into.setdefault("ef_error_points", []).append(
                100.0 if told[0] is None else abs(told[0] - told[1])
            )
    return {tier: _summary(values) for tier, values in found.items()}


def _summary(values: dict[str, list[float]]) -> dict[str, float]:
    scores = {name: float(np.mean(found)) for name, found in values.items()}
    scores["lv_endo_failure_share"] = float(np.mean(np.array(values["lv_endo"]) < FAILED_DICE))
    scores["num_frames"] = float(len(values["lv_endo"]))
    return scores


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
    args = parser.parse_args(argv)
    model, checkpoint = load_checkpoint(args.model)
    size = checkpoint.card.image_size
    if args.camus:
        print(json.dumps(camus_scores(model, args.camus, size), indent=2))
    if args.phantom:
        print(json.dumps(phantom_scores(model, args.phantom, size, args.hearts), indent=2))


if __name__ == "__main__":
    main()
