"""The app of MONAI Label in a real server: masks to the pixel, EF of corrected ones."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests

import echoseg.weights
from echoseg import analyze, load_clip
from echoseg.inference.analysis import analyze_masks
from echoseg.io.nifti import write_clip

APP = Path(__file__).parents[2] / "integrations" / "monailabel"
PYTHON = os.environ.get("ECHOSEG_MONAILABEL", "")
START_S, RUN_S = 280, 250
pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PYTHON and Path(PYTHON).exists()),
        reason="needs MONAI Label in an environment of its own: ECHOSEG_MONAILABEL=PYTHON "
        "(docs/guides/monailabel.md)",
    ),
]


def free_port():
    with contextlib.closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(url, process):
    for _ in range(START_S):
        assert process.poll() is None, "the server ended"
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(url, timeout=60)
        time.sleep(1)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory):
    """The simulated clip as NIfTI, turned and moved in space as scanners do."""
    path = tmp_path_factory.mktemp("studies") / "simulated.nii.gz"
    shipped = Path(echoseg.weights.__file__).with_name("simulated_a4c.dcm")
    write_clip(path, load_clip(shipped))
    image = nib.load(path)
    affine = image.affine @ np.diag([-1, -1, 1, 1])
    affine[:3, 3] = 10, -20, 5
    moved = nib.Nifti1Image(np.asarray(image.dataobj), affine, image.header)
    nib.save(moved, path)
    content = path.read_bytes()
    path.with_name("broken.nii.gz").write_bytes(content[: len(content) // 2])
    shutil.copy(shipped, path.with_name("cine.dcm"))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory, clip_path):
    """A server with the app, and no way to any other machine."""
    root = tmp_path_factory.mktemp("app")
    app = shutil.copytree(APP, root / "echoseg", ignore=shutil.ignore_patterns(".gitignore"))
    command = root / "echoseg.sh"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m echoseg "$@"\n')
    command.chmod(0o755)
    port, log = free_port(), (root / "log.txt").open("w")
    started = [PYTHON, "-m", "monailabel.main", "start_server", "--app", str(app)]
    started += ["--studies", str(clip_path.parent), "--host", "127.0.0.1", "--port", str(port)]
    proxies = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    environment = os.environ | proxies | {"no_proxy": "127.0.0.1"}
    process = subprocess.Popen(
        [*started, "--conf", "echoseg", str(command)],
        stdout=log, stderr=log, cwd=root, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{port}/info/", process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        log.close()


@pytest.fixture(scope="module")
def expected(clip_path):
    return analyze(clip_path)


def infer(server, image, *, output="image", **params):
    url = f"{server}/infer/echoseg?image={image}&output={output}"
    return requests.post(url, data={"params": json.dumps(params)}, timeout=RUN_S)


def put_label(server, image, masks, like, path):
    nib.save(nib.Nifti1Image(masks.transpose(2, 1, 0), like.affine, like.header), path)
    with path.open("rb") as file:
        url = f"{server}/datastore/label?image={image}&tag=final"
        return requests.put(url, files={"label": (path.name, file)}, timeout=RUN_S)


def test_the_server_lists_the_task_and_the_clips(server):
    about = requests.get(f"{server}/info/", timeout=60).json()
    assert about["labels"] == {"LV cavity": 1, "LV myocardium": 2, "left atrium": 3}
    assert about["models"]["echoseg"]["type"] == "segmentation"
    assert "not a medical device" in about["description"]
    store = requests.get(f"{server}/datastore/?output=all", timeout=60).json()
    assert set(store["objects"]) == {"simulated", "broken", "cine"}


def test_masks_are_those_of_echoseg_and_lie_on_the_image(server, clip_path, expected, tmp_path):
    answer = infer(server, "simulated")
    assert answer.status_code == 200, answer.text
    path = tmp_path / "label.nii.gz"
    path.write_bytes(answer.content)
    label, image = nib.load(path), nib.load(clip_path)
    assert np.array_equal(np.asarray(label.dataobj).transpose(2, 1, 0), expected.masks)
    assert np.allclose(label.affine, image.affine, atol=1e-5)
    values = infer(server, "simulated", output="json").json()
    assert values["ef_percent"] == pytest.approx(expected.ef_percent, abs=0.051)
    assert values["ef_interval_percent"] is not None
    assert "not a medical device" in values["disclaimer"]


def test_a_corrected_label_is_measured_as_the_library_measures_it(
    server, clip_path, expected, tmp_path
):
    masks, image = expected.masks.copy(), nib.load(clip_path)
    es_frame = expected.measurement.es_frame
    around = masks[es_frame - 2 : es_frame + 3]
    base = np.nonzero(around == 1)[1].max() - 15
    around[:, base:][around[:, base:] == 1] = 0
    answer = put_label(server, "simulated", masks, image, tmp_path / "edited.nii.gz")
    assert answer.status_code == 200, answer.text
    own = analyze_masks(load_clip(clip_path), masks, corrected=True)
    result = answer.json()["echoseg"]
    assert result["ef_percent"] == round(own.measurement.ef_percent, 1)
    assert result["ef_percent"] != round(expected.measurement.ef_percent, 1)
    assert "The masks were corrected by reader." in result["notes"]
    store = requests.get(f"{server}/datastore/?output=train", timeout=60).json()
    assert len(store) == 1 and store[0]["label"].endswith("labels/final/simulated.nii.gz")


def test_labels_that_cannot_be_measured_are_kept_and_the_reason_is_given(
    server, clip_path, expected, tmp_path
):
    image = nib.load(clip_path)
    smaller = put_label(server, "simulated", expected.masks[:, 5:], image, tmp_path / "a.nii.gz")
    assert "masks must have the clip's shape" in smaller.json()["echoseg"]["error"]
    empty = put_label(server, "simulated", expected.masks * 0, image, tmp_path / "b.nii.gz")
    result = empty.json()["echoseg"]
    assert result["ef_percent"] is None and result["refusal"]


def test_bad_requests_get_a_sentence_and_no_file(server):
    assert infer(server, "nothing").status_code == 404
    broken = infer(server, "broken")
    assert broken.status_code == 422 and "broken" in broken.json()["detail"]
    for params, text in (
        ({"view": "PLAX"}, "view must be one of"),
        ({"spacing_mm": 0.3}, "spacing_mm must be 2 numbers"),
        ({"fps": "fast"}, "fps must be 1 number"),
        ({"fps": -5}, "fps"),
        ({"result_extension": "../../x"}, "result_extension must be one of"),
    ):
        answer = infer(server, "simulated", **params)
        assert answer.status_code == 422 and text in answer.json()["detail"], (params, answer.text)
    late = infer(server, "simulated", timeout=0.05)
    assert late.status_code == 504 and "was ended" in late.json()["detail"]


def test_an_app_without_the_command_does_not_start(tmp_path, clip_path):
    app = shutil.copytree(APP, tmp_path / "echoseg")
    call = f"EchosegApp({str(app)!r}, {str(tmp_path)!r}, {{'echoseg': '/none'}})"
    code = f"from main import EchosegApp; {call}"
    run = subprocess.run([PYTHON, "-c", code], cwd=app, capture_output=True, text=True)
    assert run.returncode and "--conf echoseg PATH" in run.stderr + run.stdout
