"""The folder of an evaluation: tables, statistics, report, figures; written atomically."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from echoseg.clip import Label
from echoseg.data import Dataset, Issue, Record, title_of
from echoseg.data.records import IssueKind
from echoseg.errors import EchosegError
from echoseg.evaluation.items import ClipRow, Item
from echoseg.evaluation.report import STRUCTURE_NAMES, html, markdown
from echoseg.evaluation.run import Evaluation
from echoseg.evaluation.summary import summarise
from echoseg.evaluation.tables import CLIPS, ITEMS, PARQUET, has_parquet, table_text, write_parquet
from echoseg.files import OwnedFolder, Replace, write_mark, write_text
from echoseg.report.figures.agreement import Readings, agreement_png
from echoseg.report.figures.worst_cases import case_png

MARK, FIGURE = "summary.json", "figure.png"
NUM_WORST = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Origin of the records of an evaluation, for its report."""

    dataset: str
    title: str
    split: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[Issue, ...] = ()


def source_of(dataset: Dataset | None, records: Sequence[Record]) -> Source:
    """The origin of records, which are all of one split or of several."""
    splits = {record.split for record in records}
    split = splits.pop() if len(splits) == 1 else ""
    if dataset is None:
        return Source(dataset="", title="records", split=split)
    return Source(
        dataset=dataset.name,
        title=title_of(dataset),
        split=split,
        notes=dataset.notes,
        problems=dataset.issues,
    )


def _swapped(clips: Sequence[ClipRow]) -> list[Issue]:
    """Clips whose reference masks have a larger cavity at ES than at ED."""
    reason = "its masks have a larger cavity at ES than at ED; check ed_frame and es_frame"
    return [
        Issue(place=row.clip, kind=IssueKind.INCONSISTENT, reason=reason)
        for row in clips
        if row.ef_reference is not None and row.ef_reference < 0
    ]


def document(evaluation: Evaluation, source: Source) -> dict[str, Any]:
    """Content of `summary.json`."""
    return {
        "note": "research use only, not a medical device",
        "software": {name: version(name) for name in ("echoseg", "torch", "numpy", "scipy")},
        "model": evaluation.predictor.about(),
        "data": {
            "dataset": source.dataset,
            "title": source.title,
            "split": source.split,
            "sha256": evaluation.data_sha256,
            "notes": [*source.notes, *evaluation.notes],
        },
        "protocol": evaluation.predictor.protocol,
        **summarise(evaluation),
        "problems": [
            asdict(problem)
            for problem in (*source.problems, *evaluation.problems, *_swapped(evaluation.clips))
        ],
    }


def write_results(
    evaluation: Evaluation,
    source: Source,
    folder: str | Path,
    *,
    pictures: bool = True,
    force: Replace = False,
) -> dict[str, Any]:
    """Write all files of an evaluation and return the content of `summary.json`.

    Args:
        evaluation: The results.
        source: The origin of its records.
        folder: Created, or replaced with `force`.
        pictures: Whether the report shows frames of the data; not for publication.
        force: Replace a result that is as echoseg wrote it; "keep": move it aside.

    Raises:
        OutputError: As `OwnedFolder.check`, or if writing fails.
    """
    summary = document(evaluation, source)
    figure = agreement_png(_readings(evaluation.clips), _dice(evaluation.items))
    worst = _worst(evaluation) if pictures else []
    with OwnedFolder(folder, MARK, force).write() as partial:
        write_text(partial / ITEMS, table_text(evaluation.items, Item))
        write_text(partial / CLIPS, table_text(evaluation.clips, ClipRow))
        if has_parquet():
            write_parquet(partial / PARQUET, evaluation.items)
        (partial / FIGURE).write_bytes(figure)
        write_text(partial / "report.md", markdown(summary, FIGURE))
        write_text(partial / "report.html", html(summary, figure, worst))
        write_mark(
            partial, MARK, lambda files: json.dumps(summary | {"files": files}, indent=1) + "\n"
        )
    return summary


def _readings(clips: Sequence[ClipRow]) -> list[Readings]:
    named = (
        ("EF", "points", "ef_predicted", "ef_reference"),
        ("EDV", "ml", "edv_predicted_ml", "edv_reference_ml"),
        ("ESV", "ml", "esv_predicted_ml", "esv_reference_ml"),
    )
    readings = []
    for title, unit, predicted, reference in named:
        pairs = [(getattr(row, predicted), getattr(row, reference)) for row in clips]
        pairs = [pair for pair in pairs if None not in pair]
        if len(pairs) > 1:
            one, other = zip(*pairs, strict=True)
            readings.append(Readings(title=title, unit=unit, predicted=one, reference=other))
    return readings


def _dice(items: Sequence[Item]) -> dict[str, list[float]]:
    scores: dict[str, list[float]] = {}
    for item in items:
        if item.dice is not None:
            name = f"{STRUCTURE_NAMES[item.structure]} {item.phase or 'between'}"
            scores.setdefault(name, []).append(item.dice)
    return scores


def _worst(evaluation: Evaluation) -> list[bytes]:
    """Images of the frames with the lowest LV endo Dice, segmented once more."""
    scored = [i for i in evaluation.items if i.structure == "lv_endo" and i.dice is not None]
    scored.sort(key=lambda item: (item.dice, item.clip, item.frame))
    by_name = {record.name: record for record in evaluation.records}
    pictures = []
    for item in scored[:NUM_WORST]:
        record = by_name[item.clip]
        try:
            clip, annotation = record.load()
        except EchosegError:  # deleted meanwhile
            continue
        if annotation is None:
            continue
        masks = evaluation.predictor.predict(record, clip, annotation).masks
        caption = f"{item.clip} frame {item.frame} {item.phase} Dice {item.dice:.3f}"
        covered = tuple(Label) if record.labels is None else record.labels
        reference = annotation.masks[item.frame]
        reference = reference * (reference <= max(covered))
        pictures.append(case_png(clip.frames[item.frame], reference, masks[item.frame], caption))
    return pictures
