"""Leaderboard of phantom-v2: one checked row per entry, from `echoseg.evaluation` alone.

An entry is scored on the test clips of all 40 hearts, or of the first 10, in two views and four
tiers; their labels must be those of the release. Scores are means over ED and ES of the cavity, on
the clips' own grid.
"""

import datetime
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from echoseg.clip import Annotation, Clip
from echoseg.data import Record
from echoseg.errors import ConfigError, DatasetError, validation_message
from echoseg.evaluation.run import phantom_records
from echoseg.files import csv_text, read_csv
from echoseg.phantom import Tier
from echoseg.phantom.benchmark import PHANTOM_NAME, PHANTOM_VERSION, frozen_labels
from echoseg.untrusted import Line, read_bytes, reading

SPLIT = "test"
BENCHMARK = f"{PHANTOM_NAME} {PHANTOM_VERSION}"
FILE = Path(__file__).parents[1] / "benchmarks" / "leaderboard" / f"{PHANTOM_NAME}.csv"
MAX_BYTES = 2**20
HEARTS = (40, 10)
"""Numbers of hearts that an entry may be scored on; entries of one number are comparable."""
ROUNDED = 6e-4
"""How far a mean may be from that of its parts, all rounded to 4 digits."""

_Text = Annotated[Line, Field(min_length=1, max_length=200)]
_Dice = Annotated[float, Field(ge=0, le=1)]
_Points = Annotated[float, Field(ge=-1000, le=1000)]
_Rate = Annotated[float, Field(gt=0, le=1e6)]


def _empty_is_unknown(value: object) -> object:
    return None if value == "" else value


class Entry(BaseModel):
    """A row of the leaderboard; the field names are its columns."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    benchmark: Literal["phantom-v2 2.0.0"]
    hearts: int
    name: _Text
    who: _Text
    """Who evaluated it."""
    date: datetime.date
    trained_on: _Text
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """Of the weights' file, or of the names and bytes of the masks."""
    echoseg: _Text
    """Version that evaluated it."""
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}(-dirty)?$")]
    """Of this repository, at the evaluation."""
    machine: _Text
    dice: _Dice
    dice_low: _Dice
    dice_high: _Dice
    """95 % interval that resamples hearts."""
    dice_a4c: _Dice
    dice_a2c: _Dice
    dice_easy: _Dice
    dice_medium: _Dice
    dice_hard: _Dice
    dice_extreme: _Dice
    failures_percent: Annotated[float, Field(ge=0, le=100)]
    """Of ED and ES masks with a Dice under 0.8."""
    es_area_ratio: Annotated[float, Field(ge=0, le=100)]
    """Mean of predicted / true cavity area at ES."""
    ef_mae_points: Annotated[float, Field(ge=0, le=1000)]
    ef_bias_points: _Points
    """Predicted - true, both by single-plane disks of the masks of ED and ES."""
    clips_without_ef: Annotated[int, Field(ge=0, lt=320)]
    frames_per_s: Annotated[_Rate | None, BeforeValidator(_empty_is_unknown)] = None
    """Stated by who evaluated it, on the machine of this row."""

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.hearts not in HEARTS:
            raise ValueError(f"hearts must be 40 or 10, got {self.hearts}")
        if not self.dice_low <= self.dice <= self.dice_high:
            raise ValueError(
                f"dice must lie within dice_low and dice_high, got {self.dice} and "
                f"{self.dice_low} to {self.dice_high}"
            )
        for names in (("a4c", "a2c"), tuple(Tier)):
            mean = math.fsum(getattr(self, f"dice_{name}") for name in names) / len(names)
            if abs(mean - self.dice) > ROUNDED:
                raise ValueError(
                    f"dice must be the mean of {', '.join(f'dice_{name}' for name in names)}, got "
                    f"{self.dice}, not {mean:.4f}"
                )
        if abs(self.ef_bias_points) > self.ef_mae_points + 0.01:
            raise ValueError(
                f"ef_bias_points must be at most ef_mae_points, got {self.ef_bias_points} and "
                f"{self.ef_mae_points}"
            )
        if self.date > datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1):
            raise ValueError(f"date must not be in the future, got {self.date}")
        return self


COLUMNS = tuple(Entry.model_fields)
_CORRECT = "correct the row, or score the entry again"


def read_entries(path: Path) -> tuple[Entry, ...]:
    """The rows of a leaderboard, each checked.

    Raises:
        DatasetError: If the file or a row of it is not valid, or an entry comes twice.
    """
    with reading(path, DatasetError, "is not a leaderboard", "take the file of the repository"):
        table = read_csv(io.StringIO(read_bytes(path, MAX_BYTES).decode("utf-8-sig"), newline=""))
        rows, lines = [], []
        for row in table:
            rows.append(row)
            lines.append(table.line_num)
    if tuple(table.fieldnames or ()) != COLUMNS:
        raise DatasetError(f"{path} must have the columns {', '.join(COLUMNS)}; {_CORRECT}")
    entries: list[Entry] = []
    for line, row in zip(lines, rows, strict=True):
        place = f"{path}, line {line}"
        if None in row or None in row.values():
            raise DatasetError(f"{place} must have {len(COLUMNS)} fields; {_CORRECT}")
        try:
            entry = Entry.model_validate(row)
        except ValidationError as error:
            raise DatasetError(f"{place}: {validation_message(error)}; {_CORRECT}") from None
        check_new(entry.name, entry.sha256, entry.hearts, entries, place)
        entries.append(entry)
    return tuple(entries)


def check_new(name: str, sha256: str, hearts: int, entries: Sequence[Entry], place: str) -> None:
    """Refuse a name, or weights, that are listed with the same number of hearts.

    Raises:
        DatasetError: If they are.
    """
    for entry in entries:
        if entry.hearts != hearts:
            continue
        if entry.name == name:
            raise DatasetError(f"{place}: name {name!r} is listed already; give another name")
        if entry.sha256 == sha256:
            raise DatasetError(
                f"{place}: the same weights or masks are listed as {entry.name!r}; {_CORRECT}"
            )


def text_of(entries: Sequence[Entry]) -> str:
    """CSV text of a leaderboard."""
    return csv_text(COLUMNS, (entry.model_dump(mode="json").values() for entry in entries))


def frozen_records(hearts: int = HEARTS[0]) -> tuple[Record, ...]:
    """The test clips of phantom-v2; one whose labels are not those of the release fails to load.

    Raises:
        ConfigError: If the number of hearts is not one of `HEARTS`.
    """
    if hearts not in HEARTS:
        raise ConfigError(f"--hearts must be 40 or 10, got {hearts}")
    records = phantom_records(SPLIT, hearts=hearts)  # in the order of the labels
    labels = frozen_labels()[SPLIT][: len(records)]
    return tuple(
        replace(record, read=partial(_frozen_pair, record.read, known))
        for record, known in zip(records, labels, strict=True)
    )


def _frozen_pair(
    read: Callable[[], tuple[Clip, Annotation | None]], known: str
) -> tuple[Clip, Annotation]:
    clip, annotation = read()
    assert annotation is not None  # the phantom knows its masks
    if hashlib.sha256(annotation.masks.tobytes()).hexdigest()[:16] != known:
        raise DatasetError(
            f"{clip.source}: its labels are not those of {BENCHMARK}; install the versions of "
            "constraints.txt"
        )
    return clip, annotation


def entry_of(summary: dict[str, Any], **about: Any) -> Entry:
    """The row of an evaluation of `frozen_records()`.

    Args:
        summary: Content of its `summary.json`.
        about: Hearts, name, who, date, training data, commit, machine and frames per second.

    Raises:
        DatasetError: If a clip has no score, or a value is not valid.
    """
    if problems := summary["problems"]:
        raise DatasetError(
            f"every clip of {BENCHMARK} must be segmented, {len(problems)} are not, the first: "
            f"{problems[0]['place']}: {problems[0]['reason']}"
        )
    cavity = summary["structures"].get("lv_endo")
    if cavity is None or not summary["ef"].get("n"):
        raise DatasetError(
            "the masks must hold the LV cavity, label 1, and give an EF; they do not"
        )

    def dice(group: str, value: str) -> float:
        return round(summary["by"][group][value]["lv_endo"]["dice"]["mean"], 4)

    (low, high), ef = cavity["dice"]["ci95"], summary["ef"]
    values = {
        "benchmark": BENCHMARK,
        "sha256": summary["model"]["sha256"],
        "echoseg": summary["software"]["echoseg"],
        "dice": round(cavity["dice"]["mean"], 4),
        "dice_low": round(low, 4),
        "dice_high": round(high, 4),
        "dice_a4c": dice("view", "A4C"),
        "dice_a2c": dice("view", "A2C"),
        **{f"dice_{tier}": dice("quality", tier) for tier in Tier},
        "failures_percent": round(100 * cavity["failure_rate"], 2),
        "es_area_ratio": round(summary["by"]["phase"]["ES"]["lv_endo"]["area_ratio"]["mean"], 3),
        "ef_mae_points": round(ef["mae"], 2),
        "ef_bias_points": round(ef["bias"], 2),
        "clips_without_ef": ef["n_failed"],
    }
    try:
        return Entry(**values, **about)
    except ValidationError as error:
        raise DatasetError(validation_message(error)) from None
