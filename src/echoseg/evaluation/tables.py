"""Tables of an evaluation as files; the same result gives the same bytes."""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from echoseg.errors import DatasetError, OutputError
from echoseg.evaluation.items import ClipRow, Item
from echoseg.files import csv_text, read_csv

ITEMS, CLIPS, PARQUET = "items.csv", "clips.csv", "items.parquet"


def table_text(rows: Sequence[Any], kind: type[Any]) -> str:
    """CSV text of dataclasses of one type; an empty field is a missing value."""
    names = [field.name for field in fields(kind)]
    return csv_text(names, (map(_field, asdict(row).values()) for row in rows))


def _field(value: Any) -> Any:
    return f"{value:.6f}" if isinstance(value, float) else value


def read_items(folder: str | Path) -> list[dict[str, str]]:
    """Rows of the `items.csv` in a results folder.

    Raises:
        DatasetError: If the table is missing or damaged.
    """
    return _read(Path(folder) / ITEMS, Item, ("frame", "dice", "iou", "hd", "hd95", "asd"))


def read_clips(folder: str | Path) -> list[dict[str, str]]:
    """Rows of the `clips.csv` in a results folder.

    Raises:
        DatasetError: If the table is missing or damaged.
    """
    return _read(Path(folder) / CLIPS, ClipRow, ("ef_predicted", "ef_reference"))


def _read(path: Path, kind: type[Any], numbers: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        raise DatasetError(
            f"{path.parent} is not a result of `echoseg evaluate`: {path} is missing"
        )
    columns = [field.name for field in fields(kind)]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = read_csv(file)
            if table.fieldnames is None or list(table.fieldnames) != columns:
                raise DatasetError(f"{path} must have the columns {', '.join(columns)}")
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as a table ({error}); evaluate again") from error
    for line, row in enumerate(rows, 2):
        for name in numbers:
            if not _is_number(row[name]):
                raise DatasetError(
                    f"{path}, line {line}: {name} must be a number or empty, got {row[name]!r}; "
                    "evaluate again"
                )
    return rows


def _is_number(text: str | None) -> bool:
    try:
        return text == "" or math.isfinite(float(text or "none"))
    except ValueError:
        return False


def has_parquet() -> bool:
    """Whether the library that writes Parquet is installed."""
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
    kinds: dict[Any, Any] = {int: pa.int64(), float | None: pa.float64()}
    schema = pa.schema([(f.name, kinds.get(f.type, pa.string())) for f in fields(Item)])
    parquet.write_table(pa.Table.from_pylist([asdict(item) for item in items], schema), path)
