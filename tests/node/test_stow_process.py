"""A real `echoseg node` takes a study by STOW-RS and sends results by STOW-RS, with a login."""

import os
import signal
import subprocess
import sys
import time
from importlib import resources

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from node_makers import free_port
from web_service import service

TOKEN = "geheim-4711"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_study_comes_and_goes_over_the_web(tmp_path):
    with resources.as_file(resources.files("echoseg.weights") / "simulated_a4c.dcm") as path:
        clip = pydicom.dcmread(path)
    bodies, web_port = [], free_port()
    url = f"http://127.0.0.1:{web_port}"
    with service(bodies=bodies) as (target, logins):
        (tmp_path / "node.toml").write_text(
            f"quiet_s = 0.5\nmin_free_gb = 0\nweb_port = {web_port}\nsimplified_sr = true\n"
            f'push = ["{target}"]\n[login."{target}"]\nenv = "PACS_TOKEN"\n'
        )
        command = [sys.executable, "-m", "echoseg", "node", "--port", str(free_port())]
        command += ["--config", str(tmp_path / "node.toml"), "--folder", str(tmp_path / "node")]
        with (tmp_path / "log").open("w") as log:
            node = subprocess.Popen(
                command, stderr=log, stdout=log, env={**os.environ, "PACS_TOKEN": TOKEN}
            )
        try:
            wait(lambda: "listening for HTTP" in (tmp_path / "log").read_text(), node, tmp_path)
            assert requests.get(f"{url}/ready", timeout=30).json() == {"parts": True}
            DICOMwebClient(url).store_instances([clip])
            wait(lambda: len(bodies) >= 4, node, tmp_path)
            wait(lambda: 'studies{state="pushed"} 1' in metrics(url), node, tmp_path)
        finally:
            node.send_signal(signal.SIGTERM)
            assert node.wait(60) == 0
    assert logins == [f"Bearer {TOKEN}"] * 4
    sent = b"".join(bodies)
    for class_uid in (".88.72", ".66.4", ".104.1", ".7.4"):
        assert f"1.2.840.10008.5.1.4.1.1{class_uid}".encode() in sent
    for path in [tmp_path / "log", *(tmp_path / "node").rglob("*")]:
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def metrics(url):
    return requests.get(f"{url}/metrics", timeout=30).text


def wait(condition, node, folder, limit_s=240):
    until = time.monotonic() + limit_s
    while not condition():
        text = (folder / "log").read_text()
        assert node.poll() is None and time.monotonic() < until, text
        time.sleep(0.2)
