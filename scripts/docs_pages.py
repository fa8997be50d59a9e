"""MkDocs hook: pages that are generated when the site is built, so that they cannot go stale.

`reference/cli.md` is written by Typer from the commands themselves, `reference/api.md` lists the
public names of the package for mkdocstrings, `changelog.md` is CHANGELOG.md.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_CLI_INTRODUCTION = """# Command line

Every command and option, generated from the program. `echoseg COMMAND --help` prints the same.

| exit code | meaning |
|---|---|
| 0 | everything was done |
| 1 | some clips failed or have no ejection fraction; the others are done |
| 2 | invalid command: nothing was done |
| 130 | interrupted; finished results are complete |

"""


_API_INTRODUCTION = """# Python API

The public names. Everything else in the package may change between versions. Functions raise
`EchosegError` with a message that names the way out, and `TypeError` for a wrong Python type.

"""

_EXTENSION_POINTS = (
    "echoseg.models.MSSNet",
    "echoseg.models.Segmenter",
    "echoseg.models.frame_segmenter.FrameSegmenter",
    "echoseg.train.methods.base.TrainingMethod",
)


def api_page() -> str:
    """Markdown with a mkdocstrings entry for each public name, functions first."""
    import echoseg

    names = [name for name in echoseg.__all__ if not name.startswith("_")]
    names = [name for name in names if not isinstance(getattr(echoseg, name), ModuleType)]
    names.sort(key=lambda name: (name[0].isupper(), name))
    lines = [f"::: echoseg.{name}" for name in names]
    lines += ["", "## To extend", "", *(f"::: {name}" for name in _EXTENSION_POINTS)]
    return _API_INTRODUCTION + "\n".join(lines) + "\n"


def cli_page() -> str:
    """Markdown of all commands and their options."""
    import typer
    from typer.cli import get_docs_for_click

    from echoseg.cli import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="echoseg")
    text = get_docs_for_click(obj=command, ctx=context, name="echoseg", indent=1)
    # Typer escapes for HTML inside code spans too, where Markdown escapes by itself.
    text = re.sub(r"`[^`\n]*`", lambda span: html.unescape(span.group()), text)
    # Typer shortens the summaries in lists of commands; give them whole.
    whole = dict(_summaries(command))
    text = re.sub(
        r"^\* `([\w-]+)`: .*\.\.\.$",
        lambda row: f"* `{row[1]}`: {whole.get(row[1], row[0])}",
        text,
        flags=re.MULTILINE,
    )
    return _CLI_INTRODUCTION + text


def _summaries(command: Any) -> Iterator[tuple[str, str]]:
    """Names and first paragraphs of the help of all subcommands."""
    for name, child in getattr(command, "commands", {}).items():
        yield name, " ".join((child.help or "").split("\n\n")[0].split())
        yield from _summaries(child)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, "reference/cli.md", content=cli_page()))
    files.append(File.generated(config, "reference/api.md", content=api_page()))
    changelog = (root / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files
