"""Tables as text: CSV that a spreadsheet cannot run, Markdown that shows what it is given."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

_FORMULA = "=+@\t\r\n\uff1d\uff0b\uff20\uff0d-"  # the last four before "-": full width
_START = r"(^|[;\t\r\n])"  # of a cell, also where a spreadsheet separates by ; or tab
_UNSAFE = re.compile(rf"{_START}('*)(?=[{_FORMULA}])")
_ESCAPED = re.compile(rf"{_START}'('*)(?=[{_FORMULA}])")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(columns: Iterable[object], rows: Iterable[Iterable[object]] = ()) -> str:
    """CSV text of a table; None becomes an empty field.

    Text that a spreadsheet would run as a formula is preceded by `'` (OWASP, "CSV Injection");
    numbers stay numbers. `read_csv` takes the `'` away.
    """
    return "".join(_line(row) for row in (columns, *rows))


def _line(row: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([_cell(value) for value in row])
    return line.getvalue()[:-2] + "\n"  # with "\n" the module would leave "\r" without quotes


def _cell(value: object) -> object:
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    return _UNSAFE.sub(r"\1'\2", value)


class _PlainRows:
    """The rows of a CSV file without the `'` of `csv_text`."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.reader(file)

    @property
    def line_num(self) -> int:
        """Number of lines read."""
        return self._rows.line_num

    def __iter__(self) -> Iterator[list[str]]:
        return self

    def __next__(self) -> list[str]:
        return [_ESCAPED.sub(r"\1\2", cell) for cell in next(self._rows)]


def read_csv(file: TextIO) -> "csv.DictReader[str]":
    """Rows of a table by column, with the texts that `csv_text` was given."""
    table: csv.DictReader[str] = csv.DictReader(file)
    table.reader = _PlainRows(file)  # type: ignore[assignment]
    return table


def markdown_text(text: object) -> str:
    """A text that Markdown shows as it is, on one line and in one cell of a table."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|`]|\](?=[\[(:]))", r"\\\1", line)


def markdown_table(columns: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a Markdown table."""
    lines = [[markdown_text(cell) for cell in row] for row in (columns, *rows)]
    lines.insert(1, ["---"] * len(columns))
    return ["| " + " | ".join(line) + " |" for line in lines]
