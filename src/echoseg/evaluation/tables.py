"""The tables of an evaluation as files: one text for one result, down to the byte."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from echoseg.errors import DatasetError, OutputError
from echoseg.evaluation.items import Item

ITEMS, CLIPS, PARQUET = "items.csv", "clips.csv", "items.parquet"
_DECIMALS = 6


def table_text(rows: Sequence[Any], kind: type[Any]) -> str:
    """Return a CSV of dataclasses of one kind; an empty field is a value that does not exist."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(kind)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _field(value) for name, value in asdict(row).items()})
    return buffer.getvalue()


def _field(value: Any) -> Any:
    return f"{value:.{_DECIMALS}f}" if isinstance(value, float) else value


def read_items(folder: Path) -> list[dict[str, str]]:
    """Return the rows of a result's `items.csv`.

    Raises:
        DatasetError: If the folder holds no such table.
    """
    path = folder / ITEMS
    if not path.is_file():
        raise DatasetError(f"{folder} is no result of `echoseg evaluate`: {path} is missing")
    wanted = [field.name for field in fields(Item)]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            if table.fieldnames is None or list(table.fieldnames) != wanted:
                raise DatasetError(f"{path} must have the columns {', '.join(wanted)}")
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a table ({error}); evaluate again") from error
    for line, row in enumerate(rows, 2):
        for name in _NUMBERS:
            if not _is_number(row[name]):
                raise DatasetError(
                    f"{path}, line {line}: {name} must be a number or empty, got {row[name]!r}; "
                    "evaluate again"
                )
    return rows


_NUMBERS = ("frame", "dice", "iou", "hd", "hd95", "asd")


def _is_number(text: str | None) -> bool:
    try:
        return text == "" or math.isfinite(float(text or "none"))
    except ValueError:
        return False


def has_parquet() -> bool:
    """Tell whether the library that writes Parquet is installed."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def write_parquet(path: Path, items: Sequence[Item]) -> None:
    """Write the items as Parquet.

    Raises:
        OutputError: If pyarrow is not installed.
    """
    if not has_parquet():
        raise OutputError(f"{path} needs pyarrow; pip install 'echoseg[parquet]'")
    from importlib import import_module

    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    kinds = {"int": pa.int64(), "float | None": pa.float64()}
    schema = pa.schema([(f.name, kinds.get(_kind(f.type), pa.string())) for f in fields(Item)])
    parquet.write_table(pa.Table.from_pylist([asdict(item) for item in items], schema), path)


def _kind(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
