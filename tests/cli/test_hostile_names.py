"""Clips whose names are markup, formulas, escapes or options: no output runs or misreads them."""

import csv
import os
import re
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from clip_makers import region, save_object
from echoseg.cli import app
from echoseg.phantom import Phantom, PhantomConfig

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '=HYPERLINK("a")',
    "@SUM(1)",
    "--force",
    "new\nline",
    "bell\x07\x1b[31mred",
    "\u202egnp.exe",
    "[x](javascript:alert(1))",
    "%s%n{0}",
    "a\"b'c,d;e",
    "e\u0301",
    "\u00e9",
)
NAMES = [*(name.encode() for name in HOSTILE), b"\xff\xfe"]
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Markup(HTMLParser):
    """Collects attributes that run something."""

    def __init__(self):
        super().__init__()
        self.active = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.active.append((tag, name, value))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """The output folder and what was printed of a cohort of such clips, one of them broken."""
    root = tmp_path_factory.mktemp("names")
    clips = os.fsencode(root / "clips")
    os.mkdir(clips)
    frames = Phantom(PhantomConfig(seed=1, size_px=64, num_frames=24, frame_rate_hz=25.0)).frames()
    save_object(
        root / "one.dcm", frames, FrameTime=40.0, SequenceOfUltrasoundRegions=[region()]
    )  # fmt: skip
    content = (root / "one.dcm").read_bytes()
    for name in NAMES:
        with open(os.path.join(clips, name + b".dcm"), "wb") as file:
            file.write(content)
    with open(os.path.join(clips, b"=1+1<script>.dcm"), "wb") as file:
        file.write(content[: len(content) // 3])
    words = ["analyze", str(root / "clips"), "-o", str(root / "out"), "--model", "phantom"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1, result.output  # the broken one
    return root / "out", result.output


def test_every_clip_has_a_result_inside_the_output_folder(outputs):
    out, _ = outputs
    with (out / "results.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(NAMES) == len({row["folder"] for row in rows})
    for row in rows:
        folder = row["folder"].removeprefix("'")
        assert re.fullmatch(r"[\w.+-]+", folder) and (out / folder / "report.json").is_file()


def test_no_cell_is_a_formula(outputs):
    out, _ = outputs
    cells = 0
    for path in out.rglob("*.csv"):
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    cells += 1
                    is_number = re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell)
                    assert is_number or not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    assert cells > 100


def test_pages_run_nothing(outputs):
    out, _ = outputs
    pages = list(out.rglob("*.html"))
    assert len(pages) == len(NAMES)
    for page in pages:
        markup = Markup()
        markup.feed(page.read_text("utf-8"))
        assert markup.active == []
        assert "<img src=x" not in page.read_text("utf-8")


def test_the_terminal_gets_no_control_characters(outputs):
    _, printed = outputs
    assert not CONTROL.search(printed)
    assert "\u202e" not in printed
