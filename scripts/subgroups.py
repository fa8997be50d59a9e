"""Write docs/results/subgroups.csv, the subgroups of the model cards, from evaluations.

    python scripts/subgroups.py FOLDER ... --commit HASH

Each FOLDER is the output of `echoseg evaluate` of a shipped network, made at that commit on this
machine; rows of other networks and data stay. Groups: view, phase (Dice only), image quality, band
of the true EF; those without a known value are left out. Then run scripts/dossier.py.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from echoseg.evaluation.items import ClipRow, Item
from echoseg.evaluation.summary import by_structure, ef_agreement
from echoseg.evaluation.tables import CLIPS, ITEMS
from echoseg.files import csv_text, read_csv, write_text

sys.path.insert(0, str(Path(__file__).parents[1]))  # for experiments

from experiments.provenance import machine_text

OUT = Path(__file__).resolve().parents[1] / "docs" / "results" / "subgroups.csv"
MIN_PATIENTS = 5
"""Of a subgroup with an interval: the bootstrap of fewer says nothing."""
Row = TypeVar("Row", Item, ClipRow)
GROUPS: dict[str, Callable[[Any], str]] = {
    "": lambda row: "all",
    "view": lambda row: row.view,
    "phase": lambda row: getattr(row, "phase", ""),
    "quality": lambda row: row.quality,
    "EF": lambda row: row.ef_band,
}


def rows_of(path: Path, kind: type[Row]) -> list[Row]:
    """Rows of a table of an evaluation; empty numbers are None."""
    texts = {field.name for field in fields(kind) if field.type is str}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [
            {name: value if name in texts else value or None for name, value in row.items()}
            for row in read_csv(file)
        ]
    return TypeAdapter(list[kind]).validate_python(rows)


def scores(items: Sequence[Item], clips: Sequence[ClipRow]) -> dict[str, Any]:
    """Columns of one subgroup."""
    cavity = by_structure(items)["lv_endo"]
    ef = ef_agreement(clips, "ef_reference") if clips else {}
    patients = len({item.patient for item in items})

    def with_interval(name: str, values: dict[str, Any], mean: str, ci95: str, digits: int) -> Any:
        ends = values.get(ci95) if patients >= MIN_PATIENTS else None
        return interval(name, values.get(mean), ends, digits)

    return {
        "patients": patients,
        "masks": cavity["n"],
        "clips_with_ef": ef.get("n", ""),
        **with_interval("dice", cavity["dice"], "mean", "ci95", 3),
        "failures_percent": f"{100 * cavity['failure_rate']:.1f}",
        **with_interval("area_ratio", cavity["area_ratio"], "mean", "ci95", 2),
        **with_interval("ef_mae_points", ef, "mae", "mae_ci95", 1),
        "ef_bias_points": f"{ef['bias']:+.1f}" if ef.get("n") else "",
        "over_15_percent": f"{100 * ef['share_over_15']:.0f}" if ef else "",
    }


def interval(
    name: str, mean: float | None, ci95: Sequence[float] | None, digits: int
) -> dict[str, str]:
    """A mean and the ends of its interval as columns; empty where they are unknown."""
    low, high = ci95 or (None, None)
    values = {name: mean, f"{name}_low": low, f"{name}_high": high}
    return {key: "" if value is None else f"{value:.{digits}f}" for key, value in values.items()}


def subgroups(folder: Path, commit: str) -> list[dict[str, Any]]:
    """Rows of one evaluation."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    items = [item for item in rows_of(folder / ITEMS, Item) if item.phase]
    clips = rows_of(folder / CLIPS, ClipRow)
    model, data = summary["model"], summary["data"]
    phantom = data["dataset"] == "phantom-v2"
    options = "--phantom all" if phantom else data["dataset"].upper()
    hearts = len({clip.patient for clip in clips})
    options += f" --hearts {hearts}" if phantom and hearts < 40 else ""
    rows = []
    for group, key in GROUPS.items():
        for value in sorted({key(item) for item in items} - {""}):
            own = [clip for clip in clips if key(clip) == value]
            rows.append(
                {
                    "model": model["name"],
                    "sha256": model["sha256"],
                    "data": f"{data['title']}, {data['split'].replace('_', ' ')}",
                    "group": group,
                    "value": value,
                    **scores([item for item in items if key(item) == value], own),
                    "command": f"echoseg evaluate {model['name']} {options} --split "
                    f"{data['split']} --no-pictures",
                    "commit": commit,
                    "machine": machine_text(),
                    "date": datetime.date.fromtimestamp((folder / ITEMS).stat().st_mtime),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--commit", required=True)
    args = parser.parse_args()
    rows = [row for folder in args.folders for row in subgroups(folder, args.commit)]
    anew = {(row["model"], row["data"]) for row in rows}
    with OUT.open(encoding="utf-8", newline="") as file:
        others = [row for row in read_csv(file) if (row["model"], row["data"]) not in anew]
    write_text(OUT, csv_text(rows[0], (row.values() for row in [*others, *rows])))


if __name__ == "__main__":
    main()
