"""Write the shipped checkpoints anew, with cards in the current format.

Tensors stay bit for bit. Of `camus` those of UNUSED are dropped: carrying attention weights from
frame to frame shifted the EF of clips by -2.9 points (phantom) and -1.3 points (moved CAMUS
frames), paired, and gained nothing. Single frames are segmented as before.

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
NETWORKS = {"camus": {"architecture": "mssnet_v1"}}
CONFIGS = {"camus": {"memory": "features"}}
UNUSED = {"camus": ("guidance.trust.weight", "guidance.trust.bias")}


def rewrite(name: str) -> str:
    """Write one checkpoint and the hash in its calibration; return the new hash."""
    path = find_checkpoint(name)
    card, tensors = read_card(path), load(path.read_bytes())
    summary = json.loads((EVALUATIONS / f"{name}-on-camus-validation/summary.json").read_text())
    scores = card.camus_validation | {"ef_mae_points": round(summary["ef"]["mae"], 5)}
    changes = {**TEXTS[name], **NETWORKS.get(name, {}), "camus_validation": scores}
    changes["config"] = card.config | CONFIGS.get(name, {})
    for key in UNUSED.get(name, ()):
        tensors.pop(key, None)
    content = save(tensors, metadata=card.model_copy(update=changes).header())
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
