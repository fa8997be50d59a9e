"""Write the tree and the rows of docs/architecture.md from the code's own docstrings.

python scripts/architecture_tree.py           # rewrite the marked parts
python scripts/architecture_tree.py --check   # exit 1 when they are out of date
"""

import ast
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGES = ("src/echoseg", "experiments", "scripts", "benchmarks")
WIDTH = 100


def summary(path: Path) -> str:
    """Return the first line of a module's docstring without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return docstring.splitlines()[0].rstrip(".") if docstring else ""


def line(depth: int, name: str, text: str) -> str:
    """Return one row of the tree."""
    row = f"{'  ' * depth}{name:<{30 - 2 * depth}} {text}".rstrip()
    return row if len(row) <= WIDTH else row[: WIDTH - 3].rstrip() + "..."


def rows_of(folder: Path, depth: int) -> list[str]:
    """Return the rows of a package: its files, then its folders."""
    rows = [
        line(depth, path.name, summary(path))
        for path in sorted(folder.glob("*.py"))
        if path.name != "__init__.py" or depth == 1
    ]
    for inner in sorted(path for path in folder.iterdir() if (path / "__init__.py").exists()):
        rows.append(line(depth, f"{inner.name}/", summary(inner / "__init__.py")))
        rows += rows_of(inner, depth + 1)
    return rows


def tree() -> str:
    """Return the tree of every package of the repository."""
    rows = []
    for package in PACKAGES:
        folder = ROOT / package
        init = folder / "__init__.py"
        rows += [line(0, f"{package}/", summary(init) if init.exists() else "")]
        rows += [row for row in rows_of(folder, 1) if "__init__.py" not in row]
    return "\n".join(rows)


def layers() -> str:
    """Return the rows of the import rule, the top one first."""
    rows = runpy.run_path(str(ROOT / "tests" / "test_layers.py"))["ROWS"]
    numbered = list(enumerate(rows))
    return "\n".join(f"{number:2}  {'  '.join(units)}" for number, units in reversed(numbered))


def filled(page: str, name: str, text: str) -> str:
    """Return the page with the part between a pair of markers replaced."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, rest = page.split(start)
    after = rest.split(end)[1]
    return f"{before}{start}\n```\n{text}\n```\n{end}{after}"


def main() -> None:
    """Write the page, or check it."""
    page = PAGE.read_text("utf-8")
    wanted = filled(filled(page, "tree", tree()), "rows", layers())
    if "--check" not in sys.argv:
        PAGE.write_text(wanted, "utf-8")
    elif page != wanted:
        sys.exit(f"{PAGE} is out of date; run: python scripts/architecture_tree.py")


if __name__ == "__main__":
    main()
