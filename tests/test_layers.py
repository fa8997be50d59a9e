"""Imports go one way: a module imports from rows below its own and from its own unit."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "echoseg"

# bottom row first; a unit is a file or a folder directly under src/echoseg
ROWS: list[tuple[str, ...]] = [
    ("errors", "build_info"),
    ("box", "clip", "frame_store", "nn", "files", "plugins"),
    ("untrusted",),
    (
        "parallel",
        "audit",
        "database",
        "preprocess",
        "private",
        "remote",
        "measure",
        "metrics",
        "losses",
        "weights",
    ),
    ("phantom", "models"),
    ("io",),
    ("quality", "deidentify"),
    ("data",),
    ("inference",),
    ("report",),
    ("evaluation", "dicom", "exchange"),
    ("node", "train", "mcp_server"),
    ("__init__",),
    ("web",),
    ("cli",),
    ("__main__",),
]
ROW_OF = {unit: row for row, units in enumerate(ROWS) for unit in units}


def unit_of(path: Path, package: Path = PACKAGE) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def imported_modules(path: Path, package: Path = PACKAGE) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted module) of every import in a file, late and type-only ones too."""
    parts = ("echoseg", *path.relative_to(package).with_suffix("").parts)
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parts[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            # `from echoseg import clip` names a unit, `from echoseg.clip import Clip` does not
            names = [alias.name for alias in node.names] if module == "echoseg" else [""]
            yield from ((node.lineno, f"{module}.{name}".strip(".")) for name in names)


def wrong_imports(package: Path = PACKAGE) -> list[str]:
    """Return one line for each import that goes up or sideways."""
    wrong = []
    for path in sorted(package.rglob("*.py")):
        unit = unit_of(path, package)
        for line, module in imported_modules(path, package):
            if module.split(".")[0] != "echoseg":
                continue
            target = [*module.split("."), "__init__"][1]
            target = target if target in ROW_OF else "__init__"
            if target != unit and ROW_OF[target] >= ROW_OF[unit]:
                wrong.append(f"{path.relative_to(package)}:{line} imports {module}")
    return wrong


def test_imports_go_one_way():
    assert wrong_imports() == []


def test_every_unit_has_a_row():
    assert {unit_of(path) for path in PACKAGE.rglob("*.py")} <= ROW_OF.keys()


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("measure/disks.py", "from echoseg.models import MODELS"),
        ("measure/disks.py", "from ..models.memory_unet import MemoryUNet"),
        ("models/unet.py", "import echoseg.io.dicom"),
        ("clip.py", "from echoseg import report"),
        ("clip.py", "from echoseg import analyze"),
        ("nn/blocks.py", "def late():\n    from echoseg.clip import Clip"),
        ("inference/analyzer.py", "from echoseg.cli import main"),
    ],
)
def test_a_planted_wrong_import_is_caught(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{line}\n")
    assert len(wrong_imports(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("measure/disks.py", "from echoseg.measure.measurement import Measurement"),
        ("measure/disks.py", "from .measurement import Measurement"),
        ("measure/disks.py", "from echoseg.clip import Clip"),
        ("cli.py", "from echoseg import report"),
        ("cli.py", "import numpy, echoseg.train.train"),
        ("__main__.py", "import os"),
    ],
)
def test_a_right_import_is_let_through(tmp_path, file, line):
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{line}\n")
    assert wrong_imports(tmp_path) == []


def modules_imported_in(folder: str) -> set[str]:
    return {
        module for path in (PACKAGE / folder).rglob("*.py") for _, module in imported_modules(path)
    }


def test_nn_knows_no_hearts():
    ours = {module for module in modules_imported_in("nn") if module.startswith("echoseg")}
    assert {module for module in ours if not module.startswith("echoseg.nn")} == set()


def test_measure_knows_no_networks():
    assert {module.split(".")[0] for module in modules_imported_in("measure")} & {"torch"} == set()
