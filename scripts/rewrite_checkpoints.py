"""Write the shipped checkpoints anew, with cards in the current format; tensors stay bit for bit.

    python scripts/rewrite_checkpoints.py

The SHA-256 of a file covers its card, so the calibration beside it gets the new one. Scores come
from `docs/results/evaluation`, texts from TEXTS.
"""

import hashlib
import json
from pathlib import Path

from safetensors.torch import load, save

from echoseg.weights.card import SHIPPED, find_checkpoint, read_card

EVALUATIONS = Path(__file__).parents[1] / "docs" / "results" / "evaluation"
TEXTS = {
    "camus": {
        "notice": "Weights trained on CAMUS (Leclerc et al., IEEE TMI 2019): CC BY-NC-SA 4.0, "
        "non-commercial research only. The weights of --model phantom are Apache-2.0.",
        "trained_on": "phantom clips; A4C ED and ES frames of the CAMUS training patients",
    },
    "phantom": {"trained_on": "phantom clips only"},
}


def rewrite(name: str) -> str:
    """Write one checkpoint and the hash in its calibration; return the new hash."""
    path = find_checkpoint(name)
    card, tensors = read_card(path), load(path.read_bytes())
    summary = json.loads((EVALUATIONS / f"{name}-on-camus-validation/summary.json").read_text())
    scores = card.camus_validation | {"ef_mae_points": round(summary["ef"]["mae"], 5)}
    card = card.model_copy(update={**TEXTS[name], "camus_validation": scores})
    content = save(tensors, metadata=card.header())
    after = load(content)
    assert tensors.keys() == after.keys()
    assert all(tensors[key].equal(after[key]) for key in tensors)
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    for calibration in path.parent.glob(f"{name}.*.json"):
        calibration.write_text(calibration.read_text().replace(card.sha256, sha256))
    return sha256


if __name__ == "__main__":
    for name in SHIPPED:
        print(name, rewrite(name))
