"""The habits of the house that a linter does not see."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "echoseg"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_FILE_LINES = 400
MAX_BODY_LINES = 60
MAX_MEDIAN_FILE_LINES = 150
MAX_P95_BODY_LINES = 40
MAX_SOURCE_LINES = 61_250
MIN_TEST_SHARE = 0.6
NAMES_OF_NO_NOUN = {"utils", "util", "common", "core", "helpers", "misc"}
HEAVY = {"torch", "scipy", "skimage", "matplotlib", "av", "nibabel", "pydicom", "numba"}


def in_package(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function's body has without its docstring."""
    statements = function.body[1:] if ast.get_docstring(function) else function.body
    if not statements:
        return 0
    return (statements[-1].end_lineno or 0) - statements[0].lineno + 1


def long_bodies(source: str) -> dict[str, int]:
    """Return name and length of each function whose body is too long."""
    functions = (
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return {f.name: body_lines(f) for f in functions if body_lines(f) > MAX_BODY_LINES}


def test_the_package_has_files():
    assert PACKAGE / "clip.py" in FILES


@pytest.mark.parametrize("path", FILES, ids=in_package)
def test_a_file_says_one_thing(path):
    source = path.read_text("utf-8")
    assert len(source.splitlines()) <= MAX_FILE_LINES
    assert long_bodies(source) == {}
    assert ast.get_docstring(ast.parse(source))


def lines_of(folder: Path) -> int:
    return sum(len(path.read_text("utf-8").splitlines()) for path in folder.rglob("*.py"))


def test_the_package_stays_small_and_tested():
    sources = [path.read_text("utf-8") for path in FILES]
    file_lines = [len(source.splitlines()) for source in sources]
    bodies = [
        body_lines(node)
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    source_lines, test_lines = sum(file_lines), lines_of(Path(__file__).parent)
    p95 = statistics.quantiles(bodies, n=20)[-1]
    print(
        f"{len(FILES)} files, median {statistics.median(file_lines)} lines; body p95 {p95} lines; "
        f"src {source_lines}, tests {test_lines} lines ({test_lines / source_lines:.2f} of src)"
    )
    assert statistics.median(file_lines) <= MAX_MEDIAN_FILE_LINES
    assert p95 <= MAX_P95_BODY_LINES
    assert source_lines <= MAX_SOURCE_LINES
    assert test_lines >= MIN_TEST_SHARE * source_lines


def test_a_planted_long_body_is_caught():
    body = '    """Docstrings do not count."""\n' + "    pass\n" * (MAX_BODY_LINES + 1)
    assert long_bodies(f"def long():\n{body}") == {"long": MAX_BODY_LINES + 1}
    assert long_bodies(f"def fits():\n{body.removesuffix('    pass' + chr(10))}") == {}


def test_a_function_goes_to_the_noun_it_serves():
    names = {part.removesuffix(".py") for path in FILES for part in in_package(path).split("/")}
    assert names & NAMES_OF_NO_NOUN == set()


def heavy_modules_after(code: str) -> set[str]:
    """Return which heavy libraries a fresh interpreter has loaded after running the code."""
    script = f"{code}\nimport sys\nprint('LOADED', *sorted({HEAVY!r} & sys.modules.keys()))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    return set(run.stdout.splitlines()[-1].split()[1:])


def test_importing_echoseg_loads_nothing_heavy():
    assert heavy_modules_after("import echoseg") == set()


def test_the_help_page_loads_nothing_heavy():
    code = """
import sys
from echoseg.cli import main
sys.argv = ["echoseg", "--help"]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    assert heavy_modules_after(code) == set()


def test_a_heavy_library_would_be_seen():
    assert heavy_modules_after("import scipy") == {"scipy"}
