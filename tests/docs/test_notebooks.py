"""The notebooks of examples/ run from top to bottom, offline, and come to the right answers."""

import os
import re
import subprocess
import sys

import pytest

from scripts.docs_pages import EXAMPLES, notebook_page

NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MAX_CPU_S = 120  # 60 on a core of its own: a busy neighbor on the same core doubles it
RUN = """
import sys
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=280, kernel_name="python3").execute()
nbformat.write(notebook, "executed.ipynb")
"""

resource = pytest.importorskip("resource", reason="CPU time of a child is not to be had")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")


def numbers(text, pattern):
    match = re.search(pattern, text)
    assert match, f"{pattern} is not in:\n{text}"
    return [float(value) for value in match.groups()]


def check_analyze_a_clip(text):
    assert "Clip(30 frames, 320 x 240, " in text
    assert "stale_scale - " in text  # the clip's scale is refused, hence no volumes
    assert "EDV: None ml" in text
    assert "EF not reliable" in text and "warning: part_of_beat" in text
    assert "(30, 240, 320) uint8 ['0: BACKGROUND', '1: LV_CAVITY'" in text
    edv, esv = numbers(text, r"EDV (\d+) ml, ESV (\d+) ml")
    assert 0 < esv < edv
    assert "'frames.csv'" in text and "'masks.nii.gz'" in text and "'report.html'" in text


def check_train_on_your_own_data(text):
    assert "8 clips: 6 train, 2 validation" in text
    before, after = (
        numbers(text, rf"{row} Evaluation\('MSSNet', 2 clips: lv_endo Dice (\S+),")
        for row in ("before", "after")
    )
    assert after[0] > before[0] + 0.3
    assert "PosixPath('run/best.safetensors')" in text or "WindowsPath" in text


def check_compare_readers(text):
    rows = re.findall(r"^(reader\d) (\S+) (\S+)$", text, re.MULTILINE)
    scores = {reader: (float(dice), float(bias)) for reader, dice, bias in rows}
    assert scores["reader1"] == (1, 0)  # masks against themselves
    # a wider cavity at ES alone: half as many wrong frames, and a lower EF than of both
    assert scores["reader3"][0] < scores["reader2"][0] < 1
    assert scores["reader2"][1] < scores["reader3"][1] < 0
    bias, low, high, sd = numbers(text, r"bias (\S+) \[(\S+) to (\S+)\] points, SD (\S+)")
    assert bias == scores["reader2"][1] and low < bias < high < 0
    assert numbers(text, r"limits of agreement (\S+) to (\S+) points") == pytest.approx(
        [bias - 1.96 * sd, bias + 1.96 * sd], abs=0.2
    )
    # (1.960 + 0.842)^2 49 = 384.6
    assert numbers(text, r"bias of 1 points: (\d+) patients") == [385]
    assert numbers(text, r"could show a bias of (\S+) points") == pytest.approx(
        [2.802 * sd / 4], abs=0.1
    )
    assert numbers(text, r"Dice, LV: (\S+) \[")[0] == pytest.approx(
        scores["reader3"][0] - scores["reader2"][0], abs=1e-4
    )


def check_add_a_network(text):
    assert "other_package:SmallNet" in text
    assert "torch.Size([1, 3, 4, 100, 90])" in text


CHECKS = {
    name.removeprefix("check_"): check for name, check in globals().items() if "check_" in name
}


def test_every_notebook_has_a_check():
    assert {path.stem for path in NOTEBOOKS} == CHECKS.keys()


def texts(path):
    """What the cells of an executed notebook show, as text."""
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", ()):
            yield output.get("text") or output.get("data", {}).get("text/plain") or ""


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path):
    environment = {"MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
    environment["IPYTHONDIR"] = str(tmp_path / "ipython")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", RUN, path],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    CHECKS[path.stem]("\n".join(texts(tmp_path / "executed.ipynb")))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{path.stem}: {cpu_s:.0f} s of CPU")
    assert cpu_s < MAX_CPU_S


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_stored_without_outputs(path):
    import nbformat

    cells = nbformat.read(path, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_site_shows_every_cell(path):
    import nbformat

    page = notebook_page(path)
    cells = nbformat.read(path, as_version=4).cells
    assert all(cell.source in page for cell in cells)
    assert page.count("```python") == sum(cell.cell_type == "code" for cell in cells)
    assert page.startswith("# ") and f"({path.name})" in page
    assert "not a medical device" in page
