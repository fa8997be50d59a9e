"""STOW-RS, metrics and health of a node, over real HTTP; what is refused and why."""

import contextlib
import io
import socket
import ssl

import pydicom
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from echoseg.errors import ConfigError, FormatError, TooLargeError
from echoseg.node import dicomweb
from echoseg.node.dicomweb import Web
from echoseg.node.jobs import Counts
from echoseg.node.metrics import metrics_text
from echoseg.node.parts import PartReader
from echoseg.node.queue import Queue
from echoseg.node.records import State
from echoseg.node.settings import NodeSettings
from echoseg.node.store import Store
from echoseg.private import Pseudonyms
from node_makers import CAPTURE, dataset, make_certificates
from worklist_makers import wait_for

KIND = 'multipart/related; type="application/dicom"; boundary=BOUND'
FAILED, STORED, OTHERS = "00081198", "00081199", "0008119A"


@pytest.fixture
def run(tmp_path):
    """Start a service with settings; gives it, its queue and its URL."""
    running = []

    def start(checks=None, **settings):
        own = NodeSettings(folder=tmp_path / "node", min_free_gb=0, web_port=0, **settings)
        own.folder.mkdir(exist_ok=True)
        queue = Queue(own)
        store = Store(own, queue, Pseudonyms(own.key_file))
        web = Web(own, store, queue, checks or {})
        web.start()
        running.append((web, queue))
        return queue, f"http://127.0.0.1:{web.port}"

    yield start
    for web, queue in running:
        web.stop()
        queue.close()


def _file(**elements):
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset(**elements), enforce_file_format=True)
    return stream.getvalue()


def _body(*files):
    parts = (b"--BOUND\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in files)
    return b"".join(parts) + b"--BOUND--\r\n"


def _post(url, *files, path="/studies", **headers):
    return requests.post(
        url + path, data=_body(*files), headers={"Content-Type": KIND, **headers}, timeout=30
    )


def test_a_client_library_stores_a_study(run, tmp_path):
    queue, url = run()
    sent = [dataset(number=number) for number in (1, 2)]
    for one in sent:
        one.preamble = bytes(128)  # or the library writes no file
    answer = DICOMwebClient(url).store_instances(sent)
    assert len(answer.ReferencedSOPSequence) == 2
    assert "FailedSOPSequence" not in answer
    held = queue.find("1.2.3.1")
    read = pydicom.dcmread(tmp_path / "node" / held.path)
    assert read.PixelData == sent[0].PixelData
    assert held.sender == "web"
    assert queue.counts().instances == 2


def test_the_same_again_is_stored_and_is_no_work(run):
    queue, url = run()
    assert _post(url, _file(number=1)).status_code == 200
    assert _post(url, _file(number=1)).status_code == 200
    assert queue.counts().instances == 1


@pytest.mark.parametrize(
    ("elements", "reason"),
    [({"Rows": 0}, 0xC001), ({"Manufacturer": "echoseg", "SOPClassUID": CAPTURE}, 0xC003),
     ({"NumberOfFrames": 10**9}, 0xC002)],
)  # fmt: skip
def test_what_is_no_clip_is_refused_with_its_reason(run, elements, reason):
    queue, url = run()
    answer = _post(url, _file(**elements))
    assert answer.status_code == 409
    (item,) = answer.json()[FAILED]["Value"]
    assert item["00081197"]["Value"] == [reason]
    assert item["00081155"]["Value"] == ["1.2.3.1"]
    assert queue.counts().instances == 0


def test_good_ones_beside_a_bad_one_are_stored(run):
    queue, url = run()
    answer = _post(url, _file(number=1), b"no DICOM", _file(number=2))
    assert answer.status_code == 202
    content = answer.json()
    assert len(content[STORED]["Value"]) == 2
    assert content[OTHERS]["Value"][0]["00081197"]["Value"] == [0xC000]
    assert "Planted" not in answer.text
    assert queue.counts().instances == 2


def test_an_instance_of_another_study_than_the_address_is_refused(run):
    _, url = run()
    assert _post(url, _file(study="1.9.1"), path="/studies/1.9.1").status_code == 200
    answer = _post(url, _file(number=2, study="1.9.1"), path="/studies/1.9.2")
    assert answer.status_code == 409
    assert answer.json()[FAILED]["Value"][0]["00081197"]["Value"] == [0xA900]


def test_limits_of_size_and_space(run):
    queue, url = run(max_instance_mb=0.001)
    assert _post(url, _file(PixelData=bytes(2000))).status_code == 413
    assert queue.counts().instances == 0
    _, url = run(quota_gb=1e-9)
    assert _post(url, _file()).status_code == 503  # again later


@pytest.mark.parametrize("kind", ["application/dicom", "multipart/related", "text/plain", ""])
def test_a_request_that_is_no_multipart_is_refused(run, kind):
    _, url = run()
    answer = requests.post(f"{url}/studies", b"x", headers={"Content-Type": kind}, timeout=30)
    assert answer.status_code == 400
    assert "multipart/related" in answer.text


def test_a_body_that_is_cut_keeps_what_was_whole(run):
    queue, url = run()
    body = _body(_file(number=1), _file(number=2))[:-200]
    answer = requests.post(f"{url}/studies", body, headers={"Content-Type": KIND}, timeout=30)
    assert answer.status_code == 202
    assert queue.counts().instances == 1


def test_a_peer_that_hangs_up_or_falls_silent_leaves_one_line_in_the_log(run, caplog, monkeypatch):
    queue, url = run()
    whole = _body(_file())
    monkeypatch.setattr(dicomweb, "_PIECE_TIMEOUT_S", 0.5)
    head = f"POST /studies HTTP/1.1\r\nHost: x\r\nContent-Type: {KIND}\r\n"
    head += f"Content-Length: {len(whole)}\r\n\r\n"
    caplog.set_level("INFO")
    for hangs_up, reason in ((True, "the sender hung up"), (False, "nothing was sent for 0.5 s")):
        caplog.clear()
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), 10) as peer:
            peer.sendall(head.encode() + whole[:-100])
            if not hangs_up:
                assert peer.recv(100).startswith(b"HTTP/1.1 400")
        wait_for(lambda reason=reason: reason in caplog.text)
        assert [
            one.name for one in caplog.records if one.exc_info or one.levelname == "ERROR"
        ] == []
    assert queue.counts().instances == 0


def test_pages_of_a_browser_and_strangers_are_refused(run):
    _, url = run()
    assert _post(url, _file(), Origin="http://evil.example").status_code == 403
    _, url = run(allowed_peers={"CART": "10.1.2.3"})
    assert _post(url, _file()).status_code == 403
    for headers in ({}, {"X-Forwarded-For": "10.1.2.3"}):
        answer = requests.get(f"{url}/metrics", headers=headers, timeout=30)
        assert answer.status_code == 403


def test_health_readiness_and_metrics(run):
    _, url = run(checks={"worker": lambda: False, "disk": lambda: True})
    assert requests.get(f"{url}/health", timeout=30).status_code == 200
    ready = requests.get(f"{url}/ready", timeout=30)
    assert (ready.status_code, ready.json()) == (503, {"worker": False, "disk": True})
    _post(url, _file())
    text = requests.get(f"{url}/metrics", timeout=30).text
    assert 'echoseg_node_studies{state="received"} 1' in text
    assert "echoseg_node_instances 1" in text
    assert requests.get(f"{url}/docs", timeout=30).status_code == 404


def test_metrics_are_numbers_with_names_that_prometheus_takes():
    zero = {state: 0 for state in State}
    counts = Counts(studies=zero | {State.QUEUED: 2}, deliveries=zero, instances=3, num_bytes=7,
                    oldest_waiting_s=100.0)  # fmt: skip
    lines = metrics_text(counts, now_s=160.0).splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values['echoseg_node_studies{state="queued"}'] == "2"
    assert float(values["echoseg_node_oldest_waiting_seconds"]) == 60
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {name.split("{")[0] for name in values} == named
    assert all(float(value) >= 0 for value in values.values())


def test_a_port_in_use_is_said(run, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = NodeSettings(folder=tmp_path, web_port=other.getsockname()[1])
        with pytest.raises(ConfigError, match="web_port"):
            Web(settings, None, None, {}).start()


def test_with_tls_only_who_has_a_certificate_connects(run, tmp_path):
    make_certificates(tmp_path)
    files = {name: tmp_path / f"node.{end}" for name, end in (("cert", "pem"), ("key", "key"))}
    _, url = run(tls={**files, "ca": tmp_path / "ca.pem"})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(tmp_path / "ca.pem")
    context.check_hostname = False
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert b"200 OK" not in _get_health(context, url)
    context.load_cert_chain(tmp_path / "peer.pem", tmp_path / "peer.key")
    assert b"200 OK" in _get_health(context, url)


def _get_health(context, url):
    """What the service answers; nothing where it ends the connection."""
    port = int(url.split(":")[2])
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as raw:
        with context.wrap_socket(raw) as tls:
            tls.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return tls.recv(100)
    return b""


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_parts_do_not_depend_on_how_bytes_come(size):
    contents = [b"\r\n--BOUN\r\n--", bytes(range(256)) * 3, b""]
    body = _body(*contents)
    reader = PartReader(KIND, 1000)
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    assert [bytes(one) for piece in pieces for one in reader.feed(piece)] == contents
    assert reader.is_complete


def test_parts_too_large_and_bodies_of_another_kind_are_refused():
    with pytest.raises(TooLargeError):
        list(PartReader(KIND, 10).feed(_body(bytes(11))))
    with pytest.raises(FormatError):
        list(PartReader(KIND, 10).feed(b"hello"))
