"""MkDocs hook: pages that are generated when the site is built, so that they cannot go stale.

`reference/cli.md` is written by Typer from the commands themselves, `reference/api.md` lists the
public names of the package for mkdocstrings, `reference/training.md` the fields of `TrainConfig`,
`notebooks/NAME.md` shows a notebook of examples/, `changelog.md` is CHANGELOG.md.
"""

import html
import json
import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

EXAMPLES = Path(__file__).parents[1] / "examples"

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

_MANY_CLIPS = """
## Many clips

`echoseg.analyze` loads the network for each clip. Make one `Analyzer` and reuse it for many:

```python
from echoseg.inference.analyzer import Analyzer

analyzer = Analyzer("camus")
results = [analyzer.analyze(echoseg.load_clip(path)) for path in paths]
```

::: echoseg.inference.analyzer.Analyzer
    options:
      members: [analyze]
"""

_EXTENSION_POINTS = (
    "echoseg.models.MSSNet",
    "echoseg.models.Segmenter",
    "echoseg.models.frame_segmenter.FrameSegmenter",
    "echoseg.train.methods.base.TrainingMethod",
)

_SETTINGS_INTRODUCTION = """# Training settings

The fields of `TrainConfig`, generated from the program. Set one by `--set FIELD=VALUE` on the
command line, or as a keyword argument of `echoseg.train`.

| field | type | default | meaning |
|---|---|---|---|
"""


def api_page() -> str:
    """Markdown with a mkdocstrings entry for each public name, functions first."""
    import echoseg

    names = [name for name in echoseg.__all__ if not name.startswith("_")]
    names.sort(key=lambda name: (name[0].isupper(), name))
    lines = [*map(_api_entry, names), _MANY_CLIPS]
    lines += ["## To extend", "", *(f"::: {name}" for name in _EXTENSION_POINTS)]
    return _API_INTRODUCTION + "\n\n".join(lines) + "\n"


def _api_entry(name: str) -> str:
    """The mkdocstrings entry of a public name."""
    import echoseg

    value = getattr(echoseg, name)
    if isinstance(value, ModuleType):  # the package echoseg.train is called like its function
        return f"::: echoseg.{name}.{name}.{name}\n    options:\n      heading: echoseg.{name}"
    if isinstance(value, type) and issubclass(value, Enum):
        return f"::: echoseg.{name}\n    options:\n      show_if_no_docstring: true"
    return f"::: echoseg.{name}"


def settings_page() -> str:
    """Markdown table of the fields of `TrainConfig`: name, type, default, docstring."""
    from echoseg.train.config import TrainConfig

    rows = []
    for name, field in TrainConfig.model_fields.items():
        kind = field.annotation
        kind = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
        kind = re.sub(r"[\w.]+\.(\w+)", r"\1", kind)
        default = field.get_default(call_default_factory=True)
        default = tuple(map(str, default)) if name == "views" else default
        meaning = " ".join((field.description or "").split())
        cells = f"`{name}`", f"`{kind}`", f"`{default!r}`", meaning
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return _SETTINGS_INTRODUCTION + "\n".join(rows) + "\n"


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
    return _CLI_INTRODUCTION + _with_whole_summaries(text, command)


def _with_whole_summaries(text: str, command: Any) -> str:
    """The text with the summaries whole that Typer shortens in the list of each group."""
    whole = dict(_summaries(command, "echoseg"))
    group, lines = "", []
    for line in text.split("\n"):
        if heading := re.match(r"#+ `(echoseg[^`]*)`", line):
            group = heading[1]
        row = re.match(r"\* `([\w-]+)`: .*\.\.\.$", line)
        lines.append(f"* `{row[1]}`: {whole[f'{group} {row[1]}']}" if row else line)
    return "\n".join(lines)


def _summaries(command: Any, path: str) -> Iterator[tuple[str, str]]:
    """Full names and first paragraphs of the help of all subcommands."""
    for name, child in getattr(command, "commands", {}).items():
        yield f"{path} {name}", " ".join((child.help or "").split("\n\n")[0].split())
        yield from _summaries(child, f"{path} {name}")


def notebook_page(path: Path) -> str:
    """Markdown of a notebook: its text and code, and where to get the file itself."""
    cells = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        cells.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    title, *rest = cells
    download = f"[Download this notebook]({path.name}); in a clone it is `examples/{path.name}`."
    return "\n\n".join([title, download, *rest]) + "\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, "reference/cli.md", content=cli_page()))
    files.append(File.generated(config, "reference/api.md", content=api_page()))
    files.append(File.generated(config, "reference/training.md", content=settings_page()))
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        page = f"notebooks/{path.stem}.md"
        files.append(File.generated(config, page, content=notebook_page(path)))
        copy = f"notebooks/{path.name}"
        files.append(File.generated(config, copy, content=path.read_text("utf-8")))
    changelog = (root / "CHANGELOG.md").read_text("utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "changelog.md", content=changelog))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Show examples without the prompt, so that they can be copied."""
    return re.sub(r'<span class="gp">(?:&gt;&gt;&gt;|\.\.\.) ?</span>', "", content)
