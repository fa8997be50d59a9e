"""Tables with hostile text: no spreadsheet runs it, no page shows it as markup, nothing is lost."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echoseg.files import csv_text, markdown_table, markdown_text, read_csv

FORMULAS = (
    "=cmd|' /C calc'!A0", "@SUM(1+1)", "+1+1", "-2+3", "\t=1", "\r=1", "\n=1", "=HYPERLINK(\"x\")",
    "\uff1d1+1", "a;=1+1", "a\t=1", "x\r\n=1",
)  # fmt: skip


def cells(text):
    return [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]


@pytest.mark.parametrize("formula", FORMULAS)
def test_no_cell_starts_a_formula_whichever_separator_is_read(formula):
    text = csv_text(["column"], [[formula], ["x", formula]])
    for cell in cells(text):
        for part in re.split(r"[;\t\r\n]", cell):
            assert not re.match(r"[=+@\-\uff1d\uff0b\uff0d\uff20]", part), cell
        assert cell[0] not in "\t\r\n"


def test_numbers_stay_numbers_and_nothing_is_empty():
    values = [-1.5, -3, "-0.123456", "+1e-5", "-.5", "1", None, "", True]
    expected = ["-1.5", "-3", "-0.123456", "+1e-5", "-.5", "1", "", "", "True"]
    assert cells(csv_text(values)) == expected
    assert cells(csv_text(["-5-5", "--5", "-"])) == ["'-5-5", "'--5", "'-"]


@given(st.lists(st.lists(st.text("=+-@\t\r\n';,\"a1. \uff1d", max_size=8), min_size=3, max_size=3)))
def test_what_is_written_is_read_back(rows):
    names = ["=a", "-b", "'c"]
    read = list(read_csv(io.StringIO(csv_text(names, rows), newline="")))
    assert read == [dict(zip(names, row, strict=True)) for row in rows if row]


def test_lines_are_counted_as_by_the_csv_module():
    table = read_csv(io.StringIO("a\n1\n\n2\n"))
    assert [(row["a"], table.line_num) for row in table] == [("1", 2), ("2", 4)]


@given(st.text("|\\`<>&[]()!:# \n\ra", max_size=12))
def test_a_cell_of_markdown_stays_one_cell_of_plain_text(text):
    (line,) = markdown_table(["h"], [[text]])[2:]
    inner = line[2:-2]
    assert "\n" not in line and "\r" not in line and "<" not in line and ">" not in line
    assert not re.search(r"(?<!\\)(\\\\)*[|`]", inner)
    assert not re.search(r"(?<!\\)(\\\\)*\][\[(:]", inner)


def test_markdown_shows_what_it_is_given():
    assert markdown_text("a|b\n<img src=x>`c` & [d](e) [95 %]") == (
        r"a\|b &lt;img src=x&gt;\`c\` &amp; [d\](e) [95 %]"
    )
    assert markdown_table(["", "n"], [["x|y", 3]]) == ["|  | n |", "| --- | --- |", r"| x\|y | 3 |"]
