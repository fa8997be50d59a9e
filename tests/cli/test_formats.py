"""`echoseg formats` lists what is read and what decodes it."""

from importlib.metadata import version

from typer.testing import CliRunner

from echoseg.cli import app
from echoseg.io import FORMATS


def test_every_format_is_listed_with_its_library_and_version():
    lines = CliRunner().invoke(app, ["formats"]).output.splitlines()
    assert [line.split()[0] for line in lines] == list(FORMATS)
    for line, known in zip(lines, FORMATS.values(), strict=True):
        assert known.title in line
        assert line.endswith(f"({known.library} {version(known.library)})")


def test_a_library_that_is_missing_is_said_so(monkeypatch):
    from dataclasses import replace

    monkeypatch.setitem(FORMATS, "video", replace(FORMATS["video"], library="not-a-library"))
    assert "(not-a-library, not installed)" in CliRunner().invoke(app, ["formats"]).output
