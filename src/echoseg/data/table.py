"""CSV tables of data sets, with or without a BOM, with any line ends and extra columns."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from echoseg.data.records import Issue, IssueKind
from echoseg.errors import DatasetError
from echoseg.files import read_csv


class Row(NamedTuple):
    """A row of a table, with file and line for messages."""

    place: str
    values: dict[str, str]

    def number(self, column: str) -> float:
        """A finite number.

        Raises:
            DatasetError: If it is not one.
        """
        try:
            value = float(self.values[column])
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise DatasetError(
                f"{self.place}: {column} must be a number, got {self.values[column]!r}"
            )
        return value

    def whole(self, column: str) -> int:
        """A whole number of at least 0.

        Raises:
            DatasetError: If it is not one.
        """
        value = self.number(column)
        if value < 0 or value != int(value):
            raise DatasetError(f"{self.place}: {column} must be a whole number, got {value:g}")
        return int(value)

    def text(self, column: str) -> str:
        """A field, stripped; empty when the column is missing."""
        return (self.values.get(column) or "").strip()

    def number_or_none(self, column: str) -> float | None:
        """A finite number, or None for an empty field or a missing column."""
        return self.number(column) if self.text(column) else None

    def whole_or_none(self, column: str) -> int | None:
        """A whole number, or None for an empty field or a missing column."""
        return self.whole(column) if self.text(column) else None


def read_table(
    path: Path, columns: Sequence[str], way_out: str = "fetch it again"
) -> tuple[list[Row], list[Issue]]:
    """Read a table's rows, and issues of those that have too few or too many fields.

    Args:
        path: The file, UTF-8.
        columns: Required columns; there may be others.
        way_out: What to do when the file is missing.

    Raises:
        DatasetError: If the file is missing, not text, or lacks a column.
    """
    if not path.is_file():
        raise DatasetError(f"{path} is missing; {way_out}")
    rows, issues = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = read_csv(file)
            names = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = names
            _check_columns(path, names, columns)
            for values in table:
                place = f"{path}, line {table.line_num}"
                if None in values.values() or None in values:
                    reason = f"must have {len(names)} fields, has another number"
                    kind = IssueKind.INCONSISTENT
                    issues.append(Issue(place=place, kind=kind, reason=reason))
                else:
                    rows.append(Row(place, values))
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} must be text in UTF-8; save it as CSV UTF-8") from error
    except (csv.Error, OSError) as error:
        raise DatasetError(f"{path} cannot be read as a table ({error})") from error
    return rows, issues


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in names]
    if missing and not any(names):
        raise DatasetError(f"{path} is empty; its first line must be the names of columns")
    if missing and len(names) == 1 and (separators := re.findall("[;\t]", names[0])):
        raise DatasetError(f"{path} must be separated by commas, got {separators[0]!r}; save it so")
    if missing:
        raise DatasetError(
            f"{path} must have the columns {', '.join(columns)}; {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )
