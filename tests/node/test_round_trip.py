"""Orthanc sends a study to `echoseg node` by its own rules, and gets SR, SEG and PDF back."""

import io
import json
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import generate_uid

from node_makers import free_port
from orthanc_server import orthanc

DEPLOY = Path(__file__).parents[2] / "deploy" / "orthanc"
RESULTS = {"SR", "SEG", "DOC"}
MAX_WAIT_S = 240


def clips():
    """The simulated clip, and its first half as another clip of the same study."""
    with resources.as_file(resources.files("echoseg.weights") / "simulated_a4c.dcm") as path:
        whole, half = pydicom.dcmread(path), pydicom.dcmread(path)
    from pydicom.encaps import encapsulate, generate_frames

    count = int(half.NumberOfFrames) // 2
    frames = list(generate_frames(half.PixelData, number_of_frames=2 * count))[:count]
    half.PixelData, half.NumberOfFrames = encapsulate(frames), count
    half.SOPInstanceUID = half.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=["half"]
    )
    return [whole, half]


def as_file(dataset):
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def run_node(folder, port, target):
    config = folder / "node.toml"
    config.write_text("quiet_s = 2\nmin_free_gb = 0\n[allowed_peers]\nORTHANC = '127.0.0.1'\n")
    command = [sys.executable, "-m", "echoseg", "node", "--folder", str(folder / "node")]
    command += ["--port", str(port), "--push", target, "--config", str(config)]
    with (folder / "node.log").open("w") as log:
        return subprocess.Popen(command, stderr=log, stdout=log)


def wait_for(condition, node, log):
    until = time.monotonic() + MAX_WAIT_S
    while not condition():
        assert node.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_study_of_orthanc_comes_back_measured(tmp_path):
    sent = clips()
    port = free_port()
    rules = json.loads((DEPLOY / "orthanc.json").read_text())
    modalities = rules["DicomModalities"]
    modalities["echoseg"]["Port"] = port
    scripts = [str(DEPLOY / "route.lua")]
    with orthanc(tmp_path, LuaScripts=scripts, DicomModalities=modalities) as server:
        node = run_node(tmp_path, port, f"ORTHANC@127.0.0.1:{server.port}")
        log = tmp_path / "node.log"
        try:
            wait_for(lambda: "listening" in log.read_text(), node, log)
            for dataset in sent:
                server.send(as_file(dataset))
            wait_for(lambda: set(server.series()) >= RESULTS, node, log)
            received = log.read_text().count('"instance received"')
            held = server.series()
            objects = {kind: server.file(held[kind][0]) for kind in RESULTS}
        finally:
            node.terminate()
            assert node.wait(60) == 0
    assert received == len(sent)  # the results were not sent to the node again
    results = {kind: pydicom.dcmread(io.BytesIO(data)) for kind, data in objects.items()}
    for result in results.values():
        assert result.StudyInstanceUID == sent[0].StudyInstanceUID
        assert result.PatientID == sent[0].PatientID
    used = results["SEG"].ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert used.ReferencedSOPInstanceUID == sent[0].SOPInstanceUID  # the clip of more beats
    assert "18043-0" in results["SR"].to_json()
