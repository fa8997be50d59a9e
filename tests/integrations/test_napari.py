"""The plugin of napari: its own tests, in the environment of napari, on a screen in memory."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

PLUGIN = Path(__file__).parents[2] / "integrations" / "napari-echoseg"
PYTHON = os.environ.get("ECHOSEG_NAPARI", "")


@pytest.fixture
def screen():
    """The name of a screen in memory."""
    if not shutil.which("Xvfb"):
        pytest.skip("needs a screen in memory: apt-get install xvfb")
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1280x1024x24"]
    with subprocess.Popen(
        [*command, "-nolisten", "tcp"], pass_fds=[writer], stderr=subprocess.DEVNULL
    ) as server:
        os.close(writer)
        with open(reader, encoding="ascii") as pipe:
            number = pipe.readline().strip()  # empty where the server ends
        try:
            assert number, "Xvfb has not started"
            yield f":{number}"
        finally:
            server.terminate()


@pytest.mark.timeout(700)
@pytest.mark.slow
def test_the_plugin_passes_its_tests_in_a_real_viewer(request, tmp_path):
    if not (PYTHON and Path(PYTHON).exists()):
        pytest.skip("needs napari in an environment of its own: ECHOSEG_NAPARI=PYTHON (guide)")
    screen = request.getfixturevalue("screen")
    output = tmp_path / "output.txt"
    with output.open("w") as file:
        run = subprocess.Popen(
            [PYTHON, "-X", "faulthandler", "-m", "pytest", "tests", "-p", "no:cacheprovider"],
            cwd=PLUGIN, env=os.environ | {"DISPLAY": screen}, stdout=file,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            run.wait(600)
        finally:
            if run.poll() is None:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
            print(output.read_text()[-9000:])
    assert run.returncode == 0
    text = output.read_text()
    assert " passed" in text and " skipped" not in text
