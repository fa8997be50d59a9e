"""The report of an evaluation: Markdown and one self-contained HTML page."""

from collections.abc import Sequence
from typing import Any

from echoseg.files import markdown_table, markdown_text
from echoseg.metrics.segmentation import FAILED_DICE
from echoseg.report.html import render

STRUCTURE_NAMES = {"lv_endo": "LV endo", "lv_epi": "LV epi", "la": "LA"}
_DISTANCES = ("hd95", "asd")
_NOTE = (
    "Means over items (one structure on one frame); intervals are 95 % bootstrap intervals that "
    "resample patients. One empty mask scores Dice 0 and the image diagonal; two empty masks have "
    f"no score. A failure is an item with a Dice under {FAILED_DICE}. Research use only, not a "
    "medical device."
)

Table = tuple[str, list[str], list[list[str]]]
"""Title, column names and rows."""


def markdown(document: dict[str, Any], figure: str = "") -> str:
    """Markdown report of the content of `summary.json`; `figure` is an image's relative path."""
    parts = [f"# {markdown_text(_title(document))}", *map(markdown_text, _summary(document))]
    for title, columns, rows in _tables(document):
        text = "\n".join(markdown_table(columns, rows))
        parts.append(f"## {markdown_text(title)}\n\n{text}")
    if figure:
        parts.append(f"![scatter, Bland-Altman and Dice]({figure})")
    parts += [f"- {markdown_text(line)}" for line in _problems(document)]
    parts += ["## Data, model, protocol", *map(markdown_text, _about(document))]
    return "\n\n".join([*parts, _NOTE]) + "\n"


def html(document: dict[str, Any], figure: bytes, worst: Sequence[bytes]) -> str:
    """The same report as one HTML page with embedded images."""
    return render(
        "evaluation.html",
        title=_title(document),
        summary=_summary(document),
        about=_about(document),
        tables=_tables(document),
        figure=figure,
        worst=worst,
        problems=_problems(document),
        note=_NOTE,
    )


def _title(document: dict[str, Any]) -> str:
    data = document["data"]
    split = f", {data['split']}" if data["split"] else ""
    return f"{document['model']['name']} on {data['title']}{split}"


def _summary(document: dict[str, Any]) -> list[str]:
    """What a reader asks first: EF and masks in one line, what failed in a line of its own."""
    ef, counts = document["ef"], document["counts"]
    data = document["data"]
    lines = [
        f"EF was not compared: no clip of {data['title']} has one on both sides. It needs ed_frame "
        "and es_frame, with the cavity in their masks."
    ]
    if ef and ef["n"]:
        over = ef.get("share_over_15")
        lines = [
            f"EF against the experts' masks in {ef['n']} clips: mean absolute error "
            f"{ef['mae']:.1f} points {_interval(ef['mae_ci95'], 1)}, bias {ef['bias']:+.1f}, SD "
            f"{_number(ef['sd'], 1)}"
            + ("." if over is None else f"; {100 * over:.0f} % are off by more than 15 points.")
        ]
    dice = [
        f"{STRUCTURE_NAMES[name]} {_number(scores['dice']['mean'], 3)}"
        for name, scores in document["structures"].items()
        if scores["dice"]["mean"] is not None
    ]
    lines[0] += f" Mean Dice: {', '.join(dice)}." if dice else ""
    failed = [
        f"{100 * scores['failure_rate']:.1f} % of {STRUCTURE_NAMES[name]}"
        for name, scores in document["structures"].items()
        if scores["failure_rate"]
    ]
    without = ef["n_failed"] if ef else 0
    if failed or without or counts["not_judged"]:
        dice_of = f"Dice under {FAILED_DICE} in {', '.join(failed)}" if failed else "no low Dice"
        lines.append(
            f"Failures: {dice_of}; {without} clips without an EF; {counts['not_judged']} clips "
            "could not be read or segmented."
        )
    return lines


def _about(document: dict[str, Any]) -> list[str]:
    counts, model, data = document["counts"], document["model"], document["data"]
    protocol = "; ".join(f"{name}: {words}" for name, words in document["protocol"].items())
    return [
        f"{counts['clips']} clips of {counts['patients']} patients, {counts['items']} items; "
        f"{counts['one_empty']} with one mask empty, {counts['both_empty']} with both; "
        f"{counts['not_judged']} clips failed. Scores are over {document['frames']}.",
        f"Model sha256 {model['sha256']}, licence {model['licence'] or 'not known'}; data sha256 "
        f"{data['sha256']}; echoseg {document['software']['echoseg']}, torch "
        f"{document['software']['torch']}.",
        f"Protocol: {protocol}.",
        *(f"Note: {note}." for note in data["notes"]),
    ]


def _problems(document: dict[str, Any]) -> list[str]:
    return [f"{p['kind']}: {p['place']}: {p['reason']}" for p in document["problems"]]


def _tables(document: dict[str, Any]) -> list[Table]:
    agreement = _agreement(document)
    tables = [agreement] if agreement else []
    tables.append(_structures("By structure", document["structures"]))
    for group, by_value in document["by"].items():
        rows, columns = [], []
        for name, scores in by_value.items():
            _, columns, lines = _structures("", scores)
            rows += [[f"{name.replace('_', ' ')}, {line[0]}", *line[1:]] for line in lines]
        tables.append((f"By {group.replace('_', ' ')}", columns, rows))
    if document["every_frame"]:
        tables.append(_structures("Every frame with a mask", document["every_frame"]))
    if document["smoothness"]:
        rows = [[n.replace("_", " "), _with(s)] for n, s in document["smoothness"].items()]
        tables.append(("Temporal smoothness", ["", "mean [95 %]"], rows))
    if classes := document["ef_classes"]:
        rows = [
            [one.replace("_", " "), *(str(number) for number in row.values())]
            for one, row in classes["predicted_by_reference"].items()
        ]
        title = (
            f"Class of heart failure, predicted (rows) by reference: {classes['scheme']}; the same "
            f"in {100 * classes['same_share']:.0f} %, kappa {_number(classes['kappa'], 2)}"
        )
        tables.append((title, ["", "reduced", "mildly reduced", "preserved"], rows))
    return tables


def _structures(title: str, structures: dict[str, Any]) -> Table:
    units = [unit for unit in ("mm", "px") if any(f"asd_{unit}" in s for s in structures.values())]
    distances = [f"{name}_{unit}" for unit in units for name in _DISTANCES]
    columns = ["", "Dice [95 %]", "IoU", "Dice, pooled"]
    columns += [f"{name.upper()}, {unit} [95 %]" for unit in units for name in _DISTANCES]
    columns.append("area / experts' [95 %]")
    rows = []
    for name, scores in structures.items():
        rows.append(
            [
                STRUCTURE_NAMES[name],
                _with(scores["dice"], 4),
                _number(scores["iou"]["mean"], 4),
                _number(scores["dice_pooled"], 4),
                *(_with(scores[key]) if key in scores else "" for key in distances),
                _with(scores["area_ratio"], 3),
                "" if scores["failure_rate"] is None else f"{100 * scores['failure_rate']:.1f} %",
                str(scores["n"]),
            ]
        )
    return title, [*columns, "failures", "n"], rows


def _agreement(document: dict[str, Any]) -> Table | None:
    named = [("EF, points, against the experts' masks", document["ef"])]
    named += [
        (f"the same, {name} {value.replace('_', ' ')}", statistics)
        for name, groups in document["ef_by"].items()
        if len(groups) > 1
        for value, statistics in groups.items()
    ]
    named += [
        ("EF, points, against the data set's own", document["ef_given"]),
        ("EDV, ml", document["edv_ml"]),
        ("ESV, ml", document["esv_ml"]),
    ]
    rows = []
    for title, statistics in named:
        if not statistics:
            continue
        scores = [""] * 6
        if statistics["n"]:
            scores = [
                f"{statistics['mae']:.2f} {_interval(statistics['mae_ci95'], 2)}",
                f"{statistics['median_absolute']:.2f}",
                f"{statistics['bias']:+.2f}",
                _number(statistics["sd"], 2),
                f"{_number(statistics['r'], 3)} {_interval(statistics['r_ci95'], 3)}",
                _number(statistics["icc"], 3),
            ]
        share = statistics.get("share_over_15")
        off = "" if share is None else f"{100 * share:.0f} %"
        rows.append([title, *scores, off, f"{statistics['n']}, {statistics['n_failed']} failed"])
    columns = ["", "MAE [95 %]", "median", "bias", "SD", "r [95 %]", "ICC", "off by > 15", "n"]
    return ("Ejection fraction and volumes, single plane", columns, rows) if rows else None


def _with(statistic: dict[str, Any], digits: int = 2) -> str:
    return f"{_number(statistic['mean'], digits)} {_interval(statistic['ci95'], digits)}".strip()


def _interval(ci95: Sequence[float] | None, digits: int) -> str:
    return "" if ci95 is None else f"[{ci95[0]:.{digits}f} to {ci95[1]:.{digits}f}]"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
