"""MkDocs hook: pages that are generated when the site is built, so that they cannot go stale.

`reference/cli.md` is written by Typer from the commands themselves; `changelog.md` is CHANGELOG.md.
"""

import html
import re
from pathlib import Path

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
    return _CLI_INTRODUCTION + text


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, "reference/cli.md", content=cli_page()))
    changelog = (root / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files
