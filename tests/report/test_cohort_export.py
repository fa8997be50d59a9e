"""Tables of a cohort for other programs hold what results.csv holds."""

import csv
import sqlite3

import pytest
from typer.testing import CliRunner

from cohort_stub import StubWork, measured, run, write_clips
from echoseg.cli import app
from echoseg.errors import ConfigError, OutputError
from echoseg.report import cohort
from echoseg.report.cohort import export
from echoseg.report.cohort.export import result_columns, write_database, write_file
from echoseg.report.cohort.manage import read_cohort
from echoseg.report.cohort.tables import Rows, read_rows
from echoseg.report.schema import build_report, registry_columns, registry_row


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cohort, "Work", StubWork)
        root = write_clips(tmp_path_factory.mktemp("export") / "clips", "a", "b", "broken")
        (root / "=1+2.avi").write_text("ok")
        (root / "viewer.exe").write_text("not a clip")
        run(root, root.parent / "out", limits=None)
        return root.parent / "out"


@pytest.fixture(scope="module")
def rows(out):
    return read_rows(read_cohort(out), out)


def csv_rows(out):
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def same(value, text):
    """Whether a typed value is that of a CSV field."""
    if value is None:
        return text == ""
    if isinstance(value, bool) or isinstance(value, str):
        return str(value) == text
    return float(value) == float(text)


def test_columns_are_declared_as_the_rows_have_them():
    row = registry_row(build_report(measured()))
    assert list(registry_columns()) == list(row)
    for name, value in row.items():
        assert value in (None, "") or isinstance(value, registry_columns()[name]), name


def test_parquet_holds_typed_values(rows, out, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert write_file(rows, tmp_path / "r.parquet") is None
    table = parquet.read_table(tmp_path / "r.parquet")
    expected = csv_rows(out)
    assert table.column_names == list(expected[0]) == list(result_columns())
    for typed, row in zip(table.to_pylist(), expected, strict=True):
        clip = row.pop("clip")
        assert typed.pop("clip") == clip.removeprefix("'")  # CSV escapes formulas
        assert all(same(typed[name], text) for name, text in row.items())
    kinds = {str(table.schema.field(n).type) for n in ("ef_percent", "num_frames", "ef_reliable")}
    assert kinds == {"double", "int64", "bool"}
    write_file(rows, tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "r.parquet").read_bytes()
    write_file(Rows(), tmp_path / "none.parquet")
    assert parquet.read_table(tmp_path / "none.parquet").schema == table.schema


def test_excel_holds_three_sheets_and_no_formula(rows, out, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    write_file(rows, tmp_path / "r.xlsx")
    book = openpyxl.load_workbook(tmp_path / "r.xlsx")
    assert book.sheetnames == ["results", "failures", "not_clips"]
    sheet = list(book["results"].iter_rows())
    assert [cell.value for cell in sheet[0]] == list(result_columns())
    assert {row[0].value: row[0].data_type for row in sheet[1:]} == {
        "=1+2.avi": "s", "a.avi": "s", "b.avi": "s",
    }  # fmt: skip
    number = list(result_columns()).index("num_frames")
    assert all(row[number].value == 12 and row[number].data_type == "n" for row in sheet[1:])
    assert [[c.value for c in row] for row in book["failures"].iter_rows()][1:] == [
        ["broken.avi", "it is broken"]
    ]
    assert [row[0].value for row in book["not_clips"].iter_rows()] == ["file", "viewer.exe"]


def test_excel_holds_odd_texts_and_refuses_too_many_rows(tmp_path, monkeypatch):
    openpyxl = pytest.importorskip("openpyxl")
    odd = Rows(failures=[("a\0b\x1b.avi", "x" * 40_000), ("\ufffe", "")])
    write_file(odd, tmp_path / "r.xlsx")
    sheet = openpyxl.load_workbook(tmp_path / "r.xlsx")["failures"]
    assert sheet["A2"].value == "a\ufffdb\ufffd.avi" and len(sheet["B2"].value) == 32_767
    monkeypatch.setattr(export, "MAX_SHEET_ROWS", 2)
    with pytest.raises(OutputError, match=r"at most 1 rows in a sheet, failures has 2"):
        write_file(odd, tmp_path / "more.xlsx")
    assert not (tmp_path / "more.xlsx").exists()


def test_a_database_holds_several_cohorts(rows, out, tmp_path):
    pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{tmp_path / 'cohorts.sqlite'}"
    write_database(rows, url, "first")
    write_database(rows, url, "second")
    write_database(rows, url, "first")  # replaces its own rows
    with sqlite3.connect(tmp_path / "cohorts.sqlite") as connection:
        connection.row_factory = sqlite3.Row
        held = [dict(row) for row in connection.execute("SELECT * FROM results ORDER BY 1, 2")]
        counts = dict(connection.execute("SELECT cohort, count(*) FROM failures GROUP BY cohort"))
    assert [row.pop("cohort") for row in held] == ["first"] * 3 + ["second"] * 3
    assert held[:3] == held[3:] and counts == {"first": 1, "second": 1}
    for row, texts in zip(held, csv_rows(out), strict=False):
        assert row["num_frames"] == int(texts["num_frames"])
        assert same(row["edv_ml"], texts["edv_ml"])
    write_database(Rows(), url, "second")
    with sqlite3.connect(tmp_path / "cohorts.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM results").fetchone() == (3,)


def test_what_is_interrupted_changes_nothing(rows, tmp_path, monkeypatch):
    pytest.importorskip("sqlalchemy")
    url = f"sqlite:///{tmp_path / 'cohorts.sqlite'}"
    write_database(rows, url, "c")
    broken = Rows(results=rows.results, failures=[("same", "1"), ("same", "2")])
    with pytest.raises(Exception, match="UNIQUE"):
        write_database(broken, url, "c")
    with sqlite3.connect(tmp_path / "cohorts.sqlite") as connection:
        assert connection.execute("SELECT clip FROM failures").fetchall() == [("broken.avi",)]
    monkeypatch.setattr(
        export, "_write_parquet", lambda *args: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OutputError, match="cannot be written"):
        write_file(rows, tmp_path / "r.parquet")
    assert not (tmp_path / "r.parquet").exists()


def test_the_command_and_its_refusals(out, tmp_path, monkeypatch):
    def call(*words):
        return CliRunner().invoke(app, ["cohort", "export", str(out), *map(str, words)])

    table = tmp_path / "r.xlsx"
    assert "3 results" in call("-o", table).output
    again = call("-o", table)
    assert again.exit_code == 2
    assert "exists; pass --force (force), or choose another name" in again.stderr
    assert call("-o", table, "--force").exit_code == 0
    table.write_text("mine")
    assert "is not as echoseg wrote it" in call("-o", table, "--force").stderr
    done = call("--database-url", f"sqlite:///{tmp_path / 'c.sqlite'}", "--name", "trial")
    assert "3 rows in table results, 1 in failures, 1 in not_clips" in done.output
    for words, text in (
        ((), "one of them"),
        (("-o", tmp_path / "r.ods"), "must be named NAME.parquet or NAME.xlsx"),
        (("--database-url", "mysql://root:secret@host/x"), "must be of SQLite or PostgreSQL"),
        (("--database-url", "postgresql://u:secret@127.0.0.1:1/x"), "the database cannot be used"),
    ):
        done = call(*words)
        assert done.exit_code == 2 and text in done.stderr and "secret" not in done.stderr, words
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    for suffix, extra in ((".parquet", "parquet"), (".xlsx", "excel")):
        done = call("-o", tmp_path / f"n{suffix}")
        assert f"pip install 'echoseg[{extra}]'" in done.stderr
    with pytest.raises(ConfigError, match=r"pip install 'echoseg\[server\]'"):
        write_database(Rows(), "sqlite://", "c")


def test_postgresql_holds_the_same(rows, postgresql_url):
    from sqlalchemy import create_engine, text

    url = postgresql_url()
    odd = Rows(results=rows.results, failures=[("a\0b.avi", "its name holds a NUL")])
    for name in ("first", "second", "first"):
        write_database(odd, url, name)
    engine = create_engine(url)
    with engine.connect() as connection:
        held = connection.execute(text("SELECT * FROM results ORDER BY cohort, clip")).mappings()
        found = [dict(row) for row in held]
        failed = connection.execute(text("SELECT cohort, clip FROM failures ORDER BY cohort")).all()
    engine.dispose()
    assert [row["cohort"] for row in found] == ["first"] * 3 + ["second"] * 3
    assert {row["clip"] for row in found} == {row["clip"] for row in rows.results}
    assert isinstance(found[0]["num_frames"], int) and found[0]["ef_reliable"] in (True, False)
    assert [tuple(row) for row in failed] == [("first", "a\ufffdb.avi"), ("second", "a\ufffdb.avi")]
