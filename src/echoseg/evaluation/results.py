"""The folder of an evaluation: tables, numbers, report, pictures; whole or not at all."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from echoseg.clip import Label
from echoseg.data import Issue, Record
from echoseg.errors import EchosegError, OutputError
from echoseg.evaluation.items import ClipRow, Item
from echoseg.evaluation.report import STRUCTURE_NAMES, html, markdown
from echoseg.evaluation.run import Evaluation
from echoseg.evaluation.segment import PROTOCOL, loaded, segment
from echoseg.evaluation.summary import summarise
from echoseg.evaluation.tables import CLIPS, ITEMS, PARQUET, has_parquet, table_text, write_parquet
from echoseg.files import atomic_dir, check_writable, write_text
from echoseg.models.checkpoint import find_checkpoint, read_card
from echoseg.report.figures.agreement import Readings, agreement_png
from echoseg.report.figures.worst_cases import case_png

MARK, FIGURE = "summary.json", "figure.png"
FILES = frozenset({MARK, ITEMS, CLIPS, PARQUET, "report.md", "report.html", FIGURE})
"""All that such a folder holds; one that holds more is never replaced."""
NUM_WORST = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the records of an evaluation come from, for its report."""

    dataset: str
    title: str
    split: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[Issue, ...] = ()


def check_output(folder: Path, force: bool = False) -> None:
    """Refuse, before the long work, a folder that must not or cannot be written.

    Raises:
        OutputError: If it exists without `force`, is none of ours, or cannot be written.
    """
    if folder.exists():
        if not force:
            raise OutputError(f"{folder} exists; pass --force to replace it, or another -o")
        held = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
        foreign = sorted(held - FILES)
        if foreign or (held and MARK not in held):
            raise OutputError(
                f"{folder} holds {', '.join(foreign[:1]) or f'no {MARK}'}, so it is no result of "
                "`echoseg evaluate` and is not replaced; choose another -o"
            )
    check_writable(folder.parent, "choose another -o")


def document(found: Evaluation, source: Source) -> dict[str, Any]:
    """Return all that `summary.json` holds."""
    checkpoint = read_card(find_checkpoint(found.model))
    return {
        "note": "research use only, not a medical device",
        "software": {name: version(name) for name in ("echoseg", "torch", "numpy", "scipy")},
        "model": {
            "name": checkpoint.name,
            "sha256": checkpoint.sha256,
            "architecture": checkpoint.card.architecture,
            "image_size": checkpoint.card.image_size,
            "licence": checkpoint.card.licence,
        },
        "data": {
            "dataset": source.dataset,
            "title": source.title,
            "split": source.split,
            "sha256": found.data_sha256,
            "notes": list(source.notes),
        },
        "protocol": PROTOCOL,
        **summarise(found),
        "problems": [asdict(problem) for problem in (*source.problems, *found.problems)],
    }


def write_results(
    found: Evaluation,
    records: Sequence[Record],
    source: Source,
    folder: Path,
    *,
    pictures: bool = True,
    force: bool = False,
) -> dict[str, Any]:
    """Write everything into `folder`, and return what `summary.json` holds.

    Args:
        found: What was judged.
        records: Those it was judged on, for the worst frames' pictures.
        source: Where they come from.
        folder: Made, or replaced with `force`.
        pictures: Whether the page shows frames of the data; leave them out of what is published.
        force: Replace a result that exists.

    Raises:
        OutputError: As `check_output`, or if the disk fails.
    """
    told = document(found, source)
    figure = agreement_png(_readings(found.clips), _dice(found.items))
    worst = _worst(found, records) if pictures else []
    check_output(folder, force)
    with atomic_dir(folder, lambda: check_output(folder, force)) as partial:
        write_text(partial / ITEMS, table_text(found.items, Item))
        write_text(partial / CLIPS, table_text(found.clips, ClipRow))
        if has_parquet():
            write_parquet(partial / PARQUET, found.items)
        (partial / FIGURE).write_bytes(figure)
        write_text(partial / "report.md", markdown(told, FIGURE))
        write_text(partial / "report.html", html(told, figure, worst))
        write_text(partial / MARK, json.dumps(told, indent=1) + "\n")
    return told


def _readings(clips: Sequence[ClipRow]) -> list[Readings]:
    named = (
        ("EF", "points", "ef_predicted", "ef_reference"),
        ("EDV", "ml", "edv_predicted_ml", "edv_reference_ml"),
        ("ESV", "ml", "esv_predicted_ml", "esv_reference_ml"),
    )
    found = []
    for title, unit, predicted, reference in named:
        pairs = [(getattr(row, predicted), getattr(row, reference)) for row in clips]
        pairs = [pair for pair in pairs if None not in pair]
        if len(pairs) > 1:
            one, other = zip(*pairs, strict=True)
            found.append(Readings(title=title, unit=unit, predicted=one, reference=other))
    return found


def _dice(items: Sequence[Item]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for item in items:
        if item.dice is not None:
            name = f"{STRUCTURE_NAMES[item.structure]} {item.phase or 'between'}"
            found.setdefault(name, []).append(item.dice)
    return found


def _worst(found: Evaluation, records: Sequence[Record]) -> list[bytes]:
    """Return the frames with the lowest LV endo Dice, segmented once more."""
    scored = [i for i in found.items if i.structure == "lv_endo" and i.dice is not None]
    scored.sort(key=lambda item: (item.dice, item.clip, item.frame))
    by_name = {record.name: record for record in records}
    network, image_size = loaded(found.model)
    pictures = []
    for item in scored[:NUM_WORST]:
        record = by_name[item.clip]
        try:
            clip, known = record.load()
        except EchosegError:  # it was there a moment ago
            continue
        if known is None:
            continue
        masks = segment(network, image_size, clip.frames, stills=record.stills)
        words = f"{item.clip} frame {item.frame} {item.phase} Dice {item.dice:.3f}"
        spoken = tuple(Label) if record.labels is None else record.labels
        reference = known.masks[item.frame]
        reference = reference * (reference <= max(spoken))
        pictures.append(case_png(clip.frames[item.frame], reference, masks[item.frame], words))
    return pictures
