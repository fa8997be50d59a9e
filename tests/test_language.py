"""Names, help texts, messages and docstrings keep to the terms of `scripts/check_language.py`."""

import importlib.util
from pathlib import Path

import pytest
import typer

from echoseg.cli import app as product
from experiments.__main__ import app as experiments

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_language.py"
spec = importlib.util.spec_from_file_location("check_language", SCRIPT)
language = importlib.util.module_from_spec(spec)
spec.loader.exec_module(language)


def found_in(source):
    return [violation.text for violation in language.source_violations(source, "a.py")]


def test_the_code_uses_the_vocabulary():
    folders = [language.ROOT / folder for folder in language.FOLDERS]
    assert list(map(str, language.all_violations(folders))) == []


def texts_of(command, name):
    """Yield (place, text, option names) of a command and of each of its visible parameters."""
    yield name, command.help or "", [name.split()[-1]]
    for parameter in command.params:
        if not getattr(parameter, "hidden", False):
            yield f"{name} {parameter.opts}", getattr(parameter, "help", "") or "", parameter.opts
    for sub_name, sub in getattr(command, "commands", {}).items():
        yield from texts_of(sub, f"{name} {sub_name}")


@pytest.mark.parametrize(("app", "name"), [(product, "echoseg"), (experiments, "experiments")])
def test_help_texts_use_the_vocabulary(app, name):
    texts = list(texts_of(typer.main.get_command(app), name))
    assert len(texts) > 10
    for place, text, options in texts:
        assert list(language.prose_violations(text)) == [], place
        for option in options:
            words = option.strip("-").replace("-", "_")
            assert list(language.identifier_violations(words)) == [], place


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("found = 1", "found"),
        ("def f(told): ...", "told"),
        ("MOST_FILES = 3", "MOST_FILES"),
        ("class Standpoint: ...", "Standpoint"),
        ("self.least_share = 1", "least_share"),
        ("for seen in (): ...", "seen"),
        ('"""Ten frames a second."""', "frames a second"),
        ('"""A table of one row a\n    clip."""', "one row a clip"),
        ('raise ValueError(f"{x} mm a pixel is none")', "mm a pixel"),
        ("help = 'Of all draws.'", "Of all draws"),
        ("x = 1  # the network has learnt it", "learnt"),
        ("# the picture is\n# no clip\nx = 1", "is no clip"),
        ('"""See `Segmenter`."""', "See `Segmenter`."),
        ("def f():\n    raise ValueError('stop after so many looks')", "so many "),
    ],
)
def test_a_planted_violation_is_found(source, text):
    assert text in found_in(source)


@pytest.mark.parametrize(
    "source",
    [
        "value = found.groups()",
        "def at_least_float32(x): ...",
        '"""There is no file of this name; no frame is left."""',
        '"""A frame is a picture of the clip, with a mask."""',
        '"""Returns None where the value is None."""',
        "x = {'told': 1}",
        '"""Frames per second; the largest of so many that memory is full."""',
    ],
)
def test_plain_english_is_let_through(source):
    assert found_in(source) == []


def test_a_violation_names_its_line():
    (violation,) = language.source_violations('x = 1\n\n"""\nOne.\n\nFilm it.\n"""', "b.py")
    assert str(violation).startswith("b.py:6: 'Film'")


def test_every_exception_is_needed():
    for path, text in language.ALLOWED:
        source = (language.ROOT / path).read_text("utf-8")
        assert text in found_in(source), path
