"""How near a Segmenter comes to the experts on CAMUS stills, scored on the pictures' own grid."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoseg.anatomy import Label
from echoseg.datasets import camus
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
def predict_still(model: Any, picture: np.ndarray, image_size: int) -> np.ndarray:
    """Return the label map `H W` of one picture `H W` uint8, as the first frame of a clip."""
    rows, columns = picture.shape
    letterbox = letterbox_for((0, 0, rows, columns), image_size)
    frames = to_square(torch.from_numpy(picture)[None].float() / 255, letterbox)
    device = next(model.parameters()).device
    logits, _ = model.step(frames[:, None].to(device), model.init_state(1))
    return from_square(logits.float().cpu(), letterbox, (rows, columns))[0].numpy()


def camus_dice(
    model: Any, root: Path, image_size: int, split: str = "validation"
) -> dict[str, float]:
    """Return mean Dice by structure, and the share of failed frames, over a split's stills.

    Each frame is an item; the average is over items, with no smoothing. Frames are letterboxed
    to `image_size`, and the logits are brought back to the picture's grid before the argmax.
    """
    scores: dict[str, list[float]] = {name: [] for name in STRUCTURES}
    for still in camus.stills(root, split):
        predicted = predict_still(model, still.picture, image_size)
        for name, labels in STRUCTURES.items():
            a, b = np.isin(predicted, labels), np.isin(still.mask, labels)
            if a.any() or b.any():
                scores[name].append(2 * float((a & b).sum()) / float(a.sum() + b.sum()))
    result = {name: float(np.mean(values)) for name, values in scores.items()}
    result["lv_endo_failure_share"] = float(np.mean(np.array(scores["lv_endo"]) < FAILED_DICE))
    result["num_frames"] = float(len(scores["lv_endo"]))
    return result


def main(argv: list[str] | None = None) -> None:
    """Print the Dice of a checkpoint on a CAMUS copy: MODEL CAMUS_DIR."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="name of a shipped checkpoint or a .safetensors file")
    parser.add_argument("camus", type=Path)
    args = parser.parse_args(argv)
    model, checkpoint = load_checkpoint(args.model)
    print(json.dumps(camus_dice(model, args.camus, checkpoint.card.image_size), indent=2))


if __name__ == "__main__":
    main()
