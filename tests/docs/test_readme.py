"""Every line of the README, and every Python line of the guides, runs as it is printed.

The files that the lines name are small stand-ins; training is cut to a few small steps.
"""

import functools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import echoseg
from dataset_makers import make_camus
from scripts.make_demo_clip import OUTPUT

ROOT = Path(__file__).parents[2]
PYTHON_PAGES = ("README.md", "docs/quickstart.md", "docs/guides/data.md", "docs/guides/training.md")
SMALL = {
    "num_steps": 2,
    "image_size": 32,
    "num_labeled": 1,
    "num_unlabeled": 1,
    "accelerator": "cpu",
    "precision": "32-true",
}
OWN_PACKAGE = '''
from torch.nn.functional import cross_entropy


def boundary_loss(logits, masks):
    """Logits (N, K, H, W), masks (N, H, W) with 255 where unknown."""
    return cross_entropy(logits, masks, ignore_index=255)
'''


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with all that the lines name: clip.dcm, CAMUS and my_package."""
    shutil.copy(OUTPUT, tmp_path / "clip.dcm")
    make_camus(tmp_path / "CAMUS")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package/__init__.py").touch()
    (tmp_path / "my_package/losses.py").write_text(OWN_PACKAGE, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON_PAGES)
def test_the_python_lines_run(page, workplace, monkeypatch):
    monkeypatch.setattr(echoseg, "train", functools.partial(echoseg.train, **SMALL))
    lines = blocks(page, "python")
    assert lines
    exec(compile("\n".join(lines), page, "exec"), {})


@pytest.mark.slow
@pytest.mark.parametrize("line", blocks("README.md", "console")[0].splitlines())
def test_the_console_lines_run(line, workplace):
    program, command, *rest = line.split()
    assert program == "echoseg"
    small = []
    if command == "train":  # the stand-in has one patient, 5 % of which is nobody
        small = [f"--set={field}={value}" for field, value in SMALL.items()]
        small.append("--labeled-fraction=1")
    done = subprocess.run(
        [sys.executable, "-m", "echoseg", command, *rest, *small], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_python_part_of_the_readme_is_short():
    (lines,) = blocks("README.md", "python")
    code = [line for line in lines.splitlines() if line and not line.startswith("import")]
    assert len(code) == 6


def test_the_readme_is_short():
    text = re.sub(r"```.*?```", "", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    assert len(re.findall(r"\w[\w.%'-]*", text)) < 650
