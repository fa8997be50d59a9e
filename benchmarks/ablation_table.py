"""Print the tables of `mssnet_ablation.py` from its JSON files, means over seeds.

python benchmarks/ablation_table.py FILE.json [FILE.json ...]
"""

import json
import statistics
import sys
from pathlib import Path

COLUMNS = {
    "LV": ("clean", "lv_endo"),
    "HD95, mm": ("clean", "lv_endo_hd95_mm"),
    "ASD, mm": ("clean", "lv_endo_asd_mm"),
    "jitter, %": ("clean", "lv_endo_jitter_excess_percent"),
    "EF error": ("clean", "ef_error_points"),
    "LV, 20 % corrupted": ("spoilt", "lv_endo"),
    "on the corrupted frames": ("spoilt", "lv_endo_spoilt"),
    "jitter, % ": ("spoilt", "lv_endo_jitter_excess_percent"),
    "EF error ": ("spoilt", "ef_error_points"),
}


def main() -> None:
    """Group by variant and steps, print a table for each number of steps."""
    runs: dict[tuple[str, str], list[dict]] = {}
    for path in sys.argv[1:]:
        for key, scores in json.loads(Path(path).read_text("utf-8")).items():
            if isinstance(scores, dict):
                variant, _, steps = key.rsplit(", ", 2)
                runs.setdefault((steps, variant), []).append(scores)
                if "clean, bidirectional" in scores:
                    both = {n: scores[f"{n}, bidirectional"] for n in ("clean", "spoilt")}
                    name = (steps, f"{variant}, both directions")
                    runs.setdefault(name, []).append({**scores, **both})
    for steps in dict.fromkeys(steps for steps, _ in runs):
        print(f"\n{steps}\n\n| | seeds | parameters | " + " | ".join(COLUMNS) + " |")
        print("|---" * (len(COLUMNS) + 3) + "|")
        for (own, variant), scores in runs.items():
            if own == steps:
                cells = [
                    _mean([one[group]["hard"][score] for one in scores], score)
                    for group, score in COLUMNS.values()
                ]
                millions = f"{scores[0]['num_parameters'] / 1e6:.2f} M"
                print(f"| {variant} | {len(scores)} | {millions} | " + " | ".join(cells) + " |")


def _mean(values: list[float], score: str) -> str:
    digits = 1 if score.endswith(("_mm", "_percent", "_points")) else 3
    return f"{statistics.mean(values):.{digits}f}"


if __name__ == "__main__":
    main()
