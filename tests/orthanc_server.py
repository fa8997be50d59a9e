"""A real Orthanc with its DICOMweb plug-in, in a folder and on ports of its own."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Orthanc:
    """A running server."""

    url: str
    port: int
    aet: str = "ORTHANC"

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def get(self, path: str) -> Any:
        answer = requests.get(f"{self.url}/{path}", timeout=30)
        answer.raise_for_status()
        return answer.json()

    def send(self, content: bytes) -> None:
        requests.post(f"{self.url}/instances", data=content, timeout=60).raise_for_status()

    def series(self) -> dict[str, list[str]]:
        """Instances of the series of each modality."""
        held: dict[str, list[str]] = {}
        for one in self.get("series?expand"):
            held.setdefault(one["MainDicomTags"]["Modality"], []).extend(one["Instances"])
        return held

    def file(self, instance: str) -> bytes:
        answer = requests.get(f"{self.url}/instances/{instance}/file", timeout=60)
        answer.raise_for_status()
        return answer.content


@contextlib.contextmanager
def orthanc(folder: Path, **settings: Any) -> Iterator[Orthanc]:
    """Run a server until the block ends; the test is skipped where Orthanc is not installed."""
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if program is None or not PLUGIN.exists():
        pytest.skip("needs Debian's packages orthanc and orthanc-dicomweb")
    http, dicom = free_port(), free_port()
    content = {
        "Name": "test",
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "Plugins": [str(PLUGIN)],
        "StableAge": 1,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps({**content, **settings}))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        server = Orthanc(f"http://127.0.0.1:{http}", dicom)
        _wait(server, process, folder / "orthanc.log")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: Orthanc, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            server.get("system")
            return
        time.sleep(0.1)
    raise RuntimeError(log.read_text())
