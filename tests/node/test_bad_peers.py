"""Peers that do what they should not, with real programs and a real full disk."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pynetdicom import AE

from echoseg.io import load_clip
from echoseg.node import classes
from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from node_makers import MULTIFRAME, SR, dataset, dcmtk_program, free_port

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
NUM_FRAMES = 10_000


def send(port, *datasets):
    ae = AE(ae_title="SCANNER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context(MULTIFRAME, datasets[0].file_meta.TransferSyntaxUID)
    assoc = ae.associate("127.0.0.1", port, ae_title="ECHOSEG")
    try:
        return [assoc.send_c_store(one).get("Status") for one in datasets]
    finally:
        if assoc.is_established:
            assoc.release()


def storescu(port, path, *options):
    program = dcmtk_program("storescu")
    words = [program, "-v", *options, "127.0.0.1", str(port), str(path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_dcmtk_is_refused_by_title_by_class_and_by_content(start, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    node = start()
    port, path = node.scp.port, tmp_path / "clip.dcm"
    pydicom.dcmwrite(path, dataset(1), enforce_file_format=True)
    code, text = storescu(port, path, "-aec", "OTHER")
    assert code and "Called AE Title Not Recognized" in text
    report = dataset(2, SOPClassUID=SR, Modality="SR")
    pydicom.dcmwrite(tmp_path / "sr.dcm", report, enforce_file_format=True)
    code, text = storescu(port, tmp_path / "sr.dcm", "-aec", "ECHOSEG", "-R")
    assert code and "No Acceptable Presentation Contexts" in text
    no_image = dataset(3)
    del no_image.Rows, no_image.Columns, no_image.PixelData
    pydicom.dcmwrite(tmp_path / "none.dcm", no_image, enforce_file_format=True)
    _, text = storescu(port, tmp_path / "none.dcm", "-aec", "ECHOSEG")
    assert "CannotUnderstand" in text
    assert node.files() == []
    code, text = storescu(port, path, "-aec", "ECHOSEG")
    assert code == 0 and len(node.files()) == 1
    for logged in ("it calls another AE title", f'"offered": ["{SR}"]', '"status": "C001"'):
        assert logged in caplog.text
    assert "Planted" not in caplog.text


def test_ten_thousand_frames_are_refused_or_read_within_the_budget(start):
    node = start()
    large = dataset(1, NumberOfFrames=NUM_FRAMES, Rows=600, Columns=800)
    pixels = np.random.default_rng(0).integers(0, 255, (NUM_FRAMES, 16, 16), np.uint8)
    small = dataset(2, NumberOfFrames=NUM_FRAMES, Rows=16, Columns=16, FrameTime=20,
                    PixelData=pixels.tobytes())  # fmt: skip
    assert send(node.scp.port, large, small) == [classes.TOO_LARGE, 0]
    (path,) = node.files()
    assert np.array_equal(load_clip(path).frames, pixels)


def test_an_object_without_readable_pixels_is_taken_and_named_by_the_analysis(start):
    from echoseg.node.analysis import StudyTask, analyze_study, study_settings

    node = start()
    assert send(node.scp.port, dataset(1, PixelData=bytes(3))) == [0]
    (study,) = node.queue.studies()
    settings = study_settings("phantom")
    task = StudyTask(folder=node.settings.folder, name=study.name, settings=settings)
    result = analyze_study(task)
    assert result.objects == () and "1 " in result.reason


# ---- a disk that is really full


@contextlib.contextmanager
def node_on_a_small_disk(folder, num_mb):
    """A node in a process whose folder is a file system of some MB; yields port and folder."""
    if not shutil.which("unshare") or not Path("/proc/self/root").exists():
        pytest.skip("needs unshare and /proc")
    disk, port = folder / "disk", free_port()
    disk.mkdir()
    (folder / "node.toml").write_text("min_free_gb = 0\nquiet_s = 3600\n")
    node = f"{sys.executable} -m echoseg node --config {folder}/node.toml --port {port}"
    mount = f"mount -t tmpfs -o size={num_mb}m none {disk}"
    command = f"{mount} || exit 77; echo mounted >&2; exec {node} --folder {disk}/node"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(["unshare", "-rm", "sh", "-c", command], stderr=log, stdout=log)
    try:
        until = time.monotonic() + 120
        while '"listening"' not in (text := (folder / "log").read_text()):
            if process.poll() is not None and "mounted" not in text:
                pytest.skip("this account may not mount a file system of its own")
            assert process.poll() is None and time.monotonic() < until, text
            time.sleep(0.1)
        yield port, Path(f"/proc/{process.pid}/root{disk}/node")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_full_disk_refuses_leaves_nothing_half_written_and_goes_on(tmp_path):
    large = [dataset(number, PixelData=bytes(10**6)) for number in range(1, 9)]
    small = dataset(99, PixelData=bytes(2000))
    with node_on_a_small_disk(tmp_path, 6) as (port, folder):
        statuses = send(port, *large)
        num_stored = statuses.count(0)
        assert 0 < num_stored < 8
        assert statuses == [0] * num_stored + [classes.OUT_OF_RESOURCES] * (8 - num_stored)
        names = [path.name for path in (folder / "studies").rglob("*") if path.is_file()]
        assert len(names) == num_stored and all(name.endswith(".dcm") for name in names)
        os.truncate(next((folder / "studies").rglob("*.dcm")), 0)  # someone makes space
        assert send(port, small) == [0]
        shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    queue = Queue(NodeSettings(folder=tmp_path / "copy"))
    uids = {str(one.SOPInstanceUID) for one in [*large[:num_stored], small]}
    assert set(queue.received([*(str(one.SOPInstanceUID) for one in large), "1.2.3.99"])) == uids
    queue.close()
    text = (tmp_path / "log").read_text()
    assert text.count('"A700"') == 8 - num_stored
    assert "Planted" not in text
