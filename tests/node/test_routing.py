"""A real Orthanc sends a study to the node by the rules of `deploy/orthanc`, as it is stored."""

import io
import json
import time
from pathlib import Path

import pydicom

from echoseg.node.commitment import Commitment
from echoseg.node.queue import Queue
from echoseg.node.scp import Scp
from echoseg.node.settings import NodeSettings
from echoseg.node.store import Store
from echoseg.private import Pseudonyms
from node_makers import CAPTURE, dataset
from orthanc_server import orthanc

DEPLOY = Path(__file__).parents[2] / "deploy" / "orthanc"
JPEG, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"


def _file(**elements):
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset(**elements), enforce_file_format=True)
    return stream.getvalue()


def test_orthanc_routes_clips_and_keeps_results(tmp_path):
    settings = NodeSettings(folder=tmp_path / "node", min_free_gb=0, port=0)
    settings.folder.mkdir()
    queue = Queue(settings)
    store = Store(settings, queue, Pseudonyms(settings.key_file))
    scp = Scp(settings, store, Commitment(settings, queue, store))
    scp.start()
    rules = json.loads((DEPLOY / "orthanc.json").read_text())
    rules["DicomModalities"]["echoseg"]["Port"] = scp.port
    chosen = {name: rules[name] for name in ("DicomModalities", "DicomAet")}
    try:
        with orthanc(tmp_path, LuaScripts=[str(DEPLOY / "route.lua")], **chosen) as server:
            server.send(_file(number=9, Manufacturer="echoseg", SOPClassUID=CAPTURE))
            server.send(_file(number=8, Modality="SR"))
            for number, syntax in enumerate(("1.2.840.10008.1.2.1", JPEG, RLE), start=1):
                server.send(_file(number=number, syntax=syntax))
            until = time.monotonic() + 30
            while queue.counts().instances < 3 and time.monotonic() < until:
                time.sleep(0.1)
            time.sleep(0.5)
    finally:
        scp.stop()
    assert queue.counts().instances == 3
    assert queue.find("1.2.3.2").transfer_syntax == JPEG
    assert queue.find("1.2.3.3").transfer_syntax == RLE
    assert queue.find("1.2.3.9") is None
    queue.close()
