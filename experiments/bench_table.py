"""What a bench says: a row a network, with accuracy by judge, cost and speed."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from echoseg.errors import DatasetError
from echoseg.evaluation.compare import signed_rank_p
from echoseg.evaluation.items import STRUCTURES
from echoseg.metrics.agreement import mean_interval
from echoseg.metrics.segmentation import FAILED_DICE
from echoseg.phantom.config import Tier
from experiments.bench_folder import damage, is_done, read_cost, read_judged, read_speed
from experiments.model_bench import TAKING_PART, ModelBench

REFERENCE = "mssnet"
"""The network that every other one is paired with."""
LEAST_PATIENTS = 6
"""With fewer no signed-rank test can reach .05."""


def summary(bench: ModelBench, out: Path) -> dict[str, Any]:
    """Return rows of all networks that are done, ready for JSON.

    Raises:
        DatasetError: If a file that was there is damaged.
    """
    num_judges = len(bench.judges)
    for name in bench.models:
        if told := damage(out, name, num_judges):
            raise DatasetError(f"{told}; run the bench again without --draw")
    names = [name for name in bench.models if is_done(out, name, num_judges)]
    speed = read_speed(out)
    rows = []
    for name in names:
        cost = read_cost(out, name).model_dump()
        judged = [
            {"judge": judge, "groups": _groups(out, name, index, names)}
            for index, judge in enumerate(bench.judges)
        ]
        rows.append(
            {"model": name, **cost, "speed": speed.networks.get(name, {}), "judged": judged}
        )
    return {
        "bench": bench.model_dump(mode="json"),
        "machine": speed.machine,
        "num_done": len(names),
        "rows": rows,
    }


def _groups(out: Path, name: str, judge: int, names: list[str]) -> dict[str, Any]:
    """Return scores over all items, then by phase and by quality (a phantom's tier)."""
    items = read_judged(out, name, judge)
    other = (
        {_key(row): row for row in read_judged(out, REFERENCE, judge)}
        if REFERENCE in names and name != REFERENCE
        else {}
    )
    found = {"all": _scores(items, other)}
    for column in ("phase", "quality"):
        values = _in_order({row[column] for row in items if row[column]})
        if len(values) > 1:
            for value in values:
                rows = [row for row in items if row[column] == value]
                found[value] = _scores(rows, other)
    return found


def _in_order(values: set[str]) -> list[str]:
    """A phantom's tiers from easy to extreme, all else by the alphabet."""
    tiers = [str(tier) for tier in Tier]
    return sorted(values, key=lambda value: (tiers.index(value) if value in tiers else -1, value))


def _key(row: dict[str, str]) -> tuple[str, ...]:
    return row["clip"], row["frame"], row["structure"]


def _scores(
    items: list[dict[str, str]], other: dict[tuple[str, ...], dict[str, str]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for structure in STRUCTURES:
        rows = [row for row in items if row["structure"] == structure and row["dice"]]
        if not rows:
            continue
        dice = np.array([float(row["dice"]) for row in rows])
        far = [float(row["hd95"]) for row in rows if row["hd95"]]
        patients = [row["patient"] for row in rows]
        found[structure] = {
            "dice": float(dice.mean()),
            "ci95": mean_interval(dice, patients),
            "hd95": float(np.mean(far)) if far else None,
            "unit": rows[0]["unit"],
            "failed_share": float((dice < FAILED_DICE).mean()),
            **_gain(rows, other),
        }
    return found


def _gain(
    rows: list[dict[str, str]], other: dict[tuple[str, ...], dict[str, str]]
) -> dict[str, Any]:
    """Return this network's Dice less the reference's, paired by item."""
    pairs = [
        (row["patient"], float(row["dice"]) - float(there["dice"]))
        for row in rows
        if (there := other.get(_key(row))) and there["dice"]
    ]
    if not pairs:
        return {}
    patients, gains = [patient for patient, _ in pairs], np.array([gain for _, gain in pairs])
    enough = len(set(patients)) >= LEAST_PATIENTS
    return {
        "gain": float(gains.mean()),
        "gain_ci95": mean_interval(gains, patients),
        "p_value": signed_rank_p(gains, patients) if enough else None,
    }


def markdown(told: dict[str, Any]) -> str:
    """Return the tables: cost and speed, then accuracy by judge."""
    machine = ", ".join(f"{key} {value}" for key, value in told["machine"].items())
    minutes = told["bench"]["minutes"]
    lines = [
        f"{told['num_done']} networks, {minutes:g} CPU minutes of training each; timed in one run "
        f"on {machine}.",
        *_overridden(told),
        "",
        "| network | steps | CPU min | M weights | GMAC 112 | streaming 112 px, frames/s | 256 px "
        "| clip at once 112 px | 256 px | peak MB |",
        "|---" * 10 + "|",
    ]
    for row in told["rows"]:
        speed = row["speed"]
        cells = [
            row["model"],
            str(row["num_steps"]),
            f"{row['cpu_s'] / 60:.1f}",
            f"{speed.get('parameters', 0) / 1e6:.2f}",
            *(
                _rate(speed.get(key))
                for key in (
                    "gmac 112", "streaming 112 frames/s", "streaming 256 frames/s",
                    "batched 112 frames/s", "batched 256 frames/s", "peak_mb_256",
                )
            ),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    for index, judge in enumerate(told["bench"]["judges"]):
        lines += ["", *_accuracy(told, index, judge)]
    return "\n".join(lines) + "\n"


def _overridden(told: dict[str, Any]) -> list[str]:
    """Return a sentence for each network that cannot run as the settings say."""
    asked = told["bench"]["settings"]
    lines = []
    for row in told["rows"]:
        fixed = TAKING_PART[row["model"]].fixed
        words = [
            f"{name} {value}, not {asked[name]}"
            for name, value in fixed.items()
            if name in asked and asked[name] != value
        ]
        if words:
            lines += ["", f"{row['model']} can only be trained with {', '.join(words)}."]
    return lines


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _accuracy(told: dict[str, Any], index: int, judge: str) -> list[str]:
    judged = [row["judged"][index]["groups"] for row in told["rows"]]
    names = list(dict.fromkeys(name for groups in judged for name in groups["all"]))
    tiers = list(dict.fromkeys(tier for groups in judged for tier in groups if tier != "all"))
    heads = [
        *(f"{name} Dice" for name in names), "LV HD95", f"LV under {FAILED_DICE}",
        *(f"LV, {tier}" for tier in tiers), f"LV less {REFERENCE}'s, points",
    ]  # fmt: skip
    place = judge if judge.startswith("phantom") else Path(judge).name
    lines = [f"On {place}:", "", "| network | " + " | ".join(heads) + " |"]
    lines.append("|---" * (len(heads) + 1) + "|")
    for row in told["rows"]:
        found = row["judged"][index]["groups"]
        scores = found["all"]
        lv = scores.get("lv_endo", {})
        far = "" if lv.get("hd95") is None else f"{lv['hd95']:.1f} {lv['unit']}"
        cells = [_dice(scores, name) for name in names]
        cells += [far, f"{100 * lv.get('failed_share', 0):.1f} %"]
        cells += [_dice(found.get(tier, {}), "lv_endo") for tier in tiers]
        lines.append(f"| {row['model']} | " + " | ".join([*cells, _told_gain(lv)]) + " |")
    return lines


def _dice(scores: dict[str, Any], structure: str) -> str:
    return f"{scores[structure]['dice']:.3f}" if structure in scores else ""


def _told_gain(lv: dict[str, Any]) -> str:
    if "gain" not in lv:
        return ""
    ci, p = lv["gain_ci95"], lv["p_value"]
    interval = "" if ci is None else f" [{100 * ci[0]:+.1f} to {100 * ci[1]:+.1f}]"
    return f"{100 * lv['gain']:+.1f}{interval}" + ("" if p is None else f", p {p:.2g}")


def table_csv(told: dict[str, Any]) -> str:
    """Return one row a network, judge, group and structure."""
    buffer = io.StringIO()
    columns = [
        "model", "judge", "group", "structure", "dice", "hd95", "unit", "failed_share", "gain",
        "p_value", "num_steps", "cpu_s",
    ]  # fmt: skip
    writer = csv.DictWriter(buffer, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in told["rows"]:
        for judged in row["judged"]:
            for group, scores in judged["groups"].items():
                for structure, score in scores.items():
                    about = {"judge": judged["judge"], "group": group, "structure": structure}
                    writer.writerow({**row, **about, **score})
    return buffer.getvalue()
