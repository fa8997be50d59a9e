"""The plugin of napari: its own tests, in the environment of napari, on a screen in memory."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "integrations" / "napari-echoseg"
PYTHON = os.environ.get("ECHOSEG_NAPARI", "")


@pytest.mark.timeout(3000)
@pytest.mark.slow
def test_the_plugin_passes_its_tests_in_a_real_viewer():
    if not (PYTHON and Path(PYTHON).exists()):
        pytest.skip("needs napari in an environment of its own: ECHOSEG_NAPARI=PYTHON (guide)")
    if not shutil.which("xvfb-run"):
        pytest.skip("needs a screen in memory: apt-get install xvfb")
    command = ["xvfb-run", "-a", PYTHON, "-m", "pytest", "tests", "-p", "no:cacheprovider"]
    run = subprocess.run(command, cwd=PLUGIN, capture_output=True, text=True)
    print(run.stdout[-6000:], run.stderr[-3000:])
    assert run.returncode == 0
    assert " passed" in run.stdout and " skipped" not in run.stdout
