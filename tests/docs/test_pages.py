"""What the pages name exists: scripts, commands and their options."""

import re
import tomllib
from inspect import signature
from pathlib import Path

import pytest
import typer

import echoseg
from echoseg.cli import app as echoseg_app
from echoseg.report.schema import registry_columns
from echoseg.train.config import TrainConfig
from echoseg.train.methods import METHODS
from experiments.__main__ import app as experiments_app
from experiments.distillation import Distilled
from scripts import docs_pages

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/dossier").glob("*.md")),
    *sorted((ROOT / "docs/guides").glob("*.md")),
    *sorted((ROOT / "docs/results").glob("*.md")),
]
COMMAND = re.compile(
    r"^(?: {4})?(?:\w+=\S+ )*(echoseg|python -m experiments) ((?:[^\n\\]|\\\n)+)", re.MULTILINE
)
INLINE = re.compile(r"`(echoseg|python -m experiments) ([a-z][^`\n]*)`")
PROGRAMS = {"echoseg": echoseg_app, "python -m experiments": experiments_app}


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(page: Path) -> list[tuple[str, str]]:
    """Program and arguments of each command in the code of a page, and between backticks."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"```(?:console)?\n(.*?)```|((?:^ {4}\S.*\n)+)", text, re.S | re.M)
    lines = [line for block in blocks for line in COMMAND.findall("".join(block))]
    return lines + INLINE.findall(re.sub(r"```.*?```", "", text, flags=re.S))


def options_of(program: str, words: list[str]) -> set[str]:
    """The options of the command that `words` begin with."""
    command = typer.main.get_command(PROGRAMS[program])
    for word in words:
        if not hasattr(command, "commands"):
            break
        name = word if word in command.commands else getattr(command, "default", "")
        if not name:
            assert word.startswith("--"), f"there is no command {word}"
            break
        command = command.commands[name]
    return {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }


def test_the_page_of_installation_has_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    page = (ROOT / "docs/install.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.M)) == set(extras["optional-dependencies"])


def test_the_guide_of_cohorts_has_every_column():
    text = (ROOT / "docs/guides/cohort.md").read_text("utf-8")
    table = re.search(r"^## Columns\n(.*?)^## ", text, re.M | re.S)
    assert table
    named = set(re.findall(r"`([a-z]\w+)`", " ".join(re.findall(r"^\|[^|]*\|", table[1], re.M))))
    assert named == {"clip", "folder", *registry_columns()}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_scripts_named_on_a_page_exist(page):
    named = set(re.findall(r"\b(?:scripts|benchmarks)/\w+\.py", page.read_text("utf-8")))
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_options_named_on_a_page_exist(page):
    for program, line in commands(page):
        words = line.split(" #")[0].replace("[", " ").replace("]", " ").split()
        named = {word for word in words if word.startswith("--")} - {"--help", "--version"}
        assert not named - options_of(program, words), f"{program} {line}"


def test_options_of_methods_named_on_a_page_exist():
    options = {
        name for kind in (*METHODS.values(), Distilled) for name in signature(kind).parameters
    }
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    named = re.findall(r"method_options\.(\w+)", text)
    assert named
    assert set(named) <= options


def test_an_unknown_option_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```\necho x\necho y\nechoseg demo --fancy\n```\n", "utf-8")
    ((program, line),) = commands(page)
    assert "--fancy" not in options_of(program, line.split())


def test_an_unknown_option_between_backticks_would_be_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Run `echoseg demo --fancy` or `pip x`.\n", "utf-8")
    assert commands(page) == [("echoseg", "demo --fancy")]


def test_the_faq_has_short_answers_to_sixty_questions():
    text = (ROOT / "docs/faq.md").read_text("utf-8")
    questions = re.findall(r"^### (.+)\n((?:.|\n)+?)(?=\n##|\Z)", text, re.MULTILINE)
    assert len(questions) == text.count("\n### ") >= 60
    for question, answer in questions:
        prose = re.sub(r"```.*?```|\([^)]*\)", "", answer, flags=re.DOTALL)
        assert 0 < len(re.findall(r"[.!?:](?=\s|$)", prose)) <= 5, question
        assert len(prose.split()) <= 70, question


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=page_id)
def test_each_table_follows_a_blank_line(page):
    lines = page.read_text("utf-8").splitlines()
    rules = [
        index for index, line in enumerate(lines) if re.fullmatch(r"\|(\s*:?-+:?\s*\|)+", line)
    ]
    before = [lines[index - 2] for index in rules if index > 1]
    assert all(not line or line.startswith(("#", "<!--")) for line in before), before


def test_the_api_page_has_every_public_name():
    page = docs_pages.api_page()
    names = [name for name in echoseg.__all__ if not name.startswith("_")]
    assert all(f"echoseg.{name}" in page for name in names)
    assert "::: echoseg.train.train.train" in page


def test_the_settings_page_has_every_field_with_a_meaning():
    rows = docs_pages.settings_page().split("|---|---|---|---|\n")[1].splitlines()
    assert len(rows) == len(TrainConfig.model_fields)
    assert not [row for row in rows if row.endswith("|  |")]
    assert "`learning_rate` | `float` | `0.002` | Peak; " in "\n".join(rows)


def test_each_command_has_its_own_summary():
    top, phantom = docs_pages.cli_page().split("## `echoseg phantom`")
    assert "* `calibrate`: Calibrate the EF interval of a model" in top
    assert "* `calibrate`: Calibrate the EF interval" not in phantom
