"""The tables of a cohort for other programs: Parquet, Excel, SQLite, PostgreSQL.

They hold what `results.csv` holds, with numbers as numbers and missing values as such; an Excel
file and a database hold failures and files that are not clips too.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from echoseg.errors import ConfigError, OutputError
from echoseg.files import Replace, check_new_file, owned_write
from echoseg.report.cohort.tables import FAILURE_COLUMNS, OTHER_COLUMNS, Rows
from echoseg.report.schema import registry_columns

MAX_SHEET_ROWS = 1_048_576
MAX_CELL_LETTERS = 32_767
"""Limits of a sheet (Microsoft, "Excel specifications and limits")."""
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_BATCH = 1000
_VERSION = 1

Table = tuple[str, dict[str, type], list[list[Any]]]
"""Name, columns and what they hold, rows."""


def result_columns() -> dict[str, type]:
    """Columns of the results and what they hold."""
    return {"clip": str, "folder": str, **registry_columns()}


def tables(rows: Rows) -> list[Table]:
    """The tables with values of their columns' types; None where a value is missing."""
    columns = result_columns()
    results = [
        [None if (value := row[name]) == "" else kind(value) if value is not None else None
         for name, kind in columns.items()]
        for row in rows.results
    ]  # fmt: skip
    texts = [(FAILURE_COLUMNS, rows.failures), (OTHER_COLUMNS, rows.others)]
    others = [(dict.fromkeys(names, str), [list(row) for row in some]) for names, some in texts]
    return [("results", columns, results), ("failures", *others[0]), ("not_clips", *others[1])]


def write_file(rows: Rows, path: Path, force: Replace = False) -> Path | None:
    """Write `NAME.parquet` (results only) or `NAME.xlsx`.

    Returns:
        Where a file that was there is now, with `force="keep"`.

    Raises:
        ConfigError: If the name ends otherwise.
        OutputError: If the library for it is missing, the file exists, or is not as echoseg wrote
            it, or there are more rows than a sheet holds.
    """
    writers: dict[str, tuple[str, Callable[[list[Table], Path], None]]] = {
        ".parquet": ("pyarrow", _write_parquet),
        ".xlsx": ("openpyxl", _write_xlsx),
    }
    if path.suffix.lower() not in writers:
        raise ConfigError(f"the table must be named NAME.parquet or NAME.xlsx, got {path}")
    library, write = writers[path.suffix.lower()]
    if find_spec(library) is None:
        extra = {"pyarrow": "parquet", "openpyxl": "excel"}[library]
        raise OutputError(f"{path} needs {library}; pip install 'echoseg[{extra}]'")
    backup = check_new_file(path, force)
    with owned_write(path, force) as partial:
        write(tables(rows), partial)
    return backup


def _write_parquet(all_tables: list[Table], path: Path) -> None:
    from importlib import import_module

    pa, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    _, columns, rows = all_tables[0]
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
    values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    arrays = [pa.array(v, field.type) for v, field in zip(values, schema, strict=True)]
    parquet.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


def _write_xlsx(all_tables: list[Table], path: Path) -> None:
    from importlib import import_module

    openpyxl, cells = import_module("openpyxl"), import_module("openpyxl.cell")
    for name, _, rows in all_tables:
        if len(rows) >= MAX_SHEET_ROWS:
            raise OutputError(
                f"{path} must have at most {MAX_SHEET_ROWS - 1} rows in a sheet, {name} has "
                f"{len(rows)}; write NAME.parquet, or into a database"
            )
    book = openpyxl.Workbook(write_only=True)
    for name, columns, rows in all_tables:
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "B2"
        for row in ([*columns], *rows):
            sheet.append([_cell(cells.WriteOnlyCell, sheet, value) for value in row])
    book.save(path)


def _cell(make: Any, sheet: Any, value: Any) -> Any:
    """A cell; a text is never a formula, whatever it begins with."""
    if not isinstance(value, str):
        return value
    cell = make(sheet, _NOT_IN_XML.sub("\ufffd", value)[:MAX_CELL_LETTERS])
    cell.data_type = "s"
    return cell


def write_database(rows: Rows, url: str, name: str) -> None:
    """Write the tables `results`, `failures` and `not_clips` of a database.

    All rows of this cohort are replaced, those of other cohorts stay: each row has the cohort's
    name in `cohort`. It happens in one transaction.

    Args:
        rows: What is written.
        url: SQLAlchemy URL of an SQLite or PostgreSQL database.
        name: Name of the cohort.

    Raises:
        ConfigError: If the library is missing, or the database cannot be opened.
        OutputError: If it cannot be written.
    """
    if find_spec("sqlalchemy") is None:
        raise ConfigError("a database needs sqlalchemy; pip install 'echoseg[server]'")
    from sqlalchemy import delete, insert

    from echoseg.database import Database

    base = _records()
    database = Database(url, base.Version, _VERSION)
    try:
        with database.transaction() as session:
            for table_name, columns, some in tables(rows):
                table = base.tables[table_name]
                session.execute(delete(table).where(table.c.cohort == name))
                keys = ["cohort", *columns]
                dicts = [dict(zip(keys, (name, *map(_plain, row)), strict=True)) for row in some]
                for batch in _batches(dicts):
                    session.execute(insert(table), batch)
    finally:
        database.close()


def _plain(value: Any) -> Any:
    """A value that every database holds: PostgreSQL has no NUL in texts."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _batches(rows: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    return (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))


@lru_cache
def _records() -> Any:
    """The tables of the database, whose columns are those of the results."""
    from sqlalchemy import Boolean, Column, Float, Integer, String, Table
    from sqlalchemy.orm import DeclarativeBase

    class Base(DeclarativeBase):
        pass

    class Version(Base):
        __tablename__ = "cohort_tables_version"
        version = Column(Integer, primary_key=True)

    kinds = {int: Integer, float: Float(53), bool: Boolean, str: String}
    known = {}
    for table, columns, _ in tables(Rows()):
        own = [
            Column(n, kinds[kind], primary_key=not i) for i, (n, kind) in enumerate(columns.items())
        ]
        known[table] = Table(table, Base.metadata, Column("cohort", String, primary_key=True), *own)
    return SimpleNamespace(Version=Version, tables=known)
