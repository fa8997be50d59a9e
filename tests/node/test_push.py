"""Results pushed to peers that answer with every kind of status, or do not answer."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from echoseg.node import association, classes
from echoseg.node.push import push, request_commitment
from echoseg.node.settings import NodeSettings, Target
from node_makers import SR, free_port, make_job

NOT_REACHED = "the peer cannot be reached"
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@contextlib.contextmanager
def peer(on_store, **handlers):
    ae = AE(ae_title="PACS")
    ae.add_supported_context(SR)
    ae.add_supported_context(classes.COMMITMENT)
    events = [(evt.EVT_C_STORE, on_store)]
    events += [(getattr(evt, name), handler) for name, handler in handlers.items()]
    port = free_port()
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=events)
    try:
        yield Target.parse(f"PACS@127.0.0.1:{port}")
    finally:
        server.shutdown()


@pytest.fixture
def settings(tmp_path):
    return NodeSettings(folder=tmp_path)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (0x0000, "stored"), (0xB000, "stored"), (0xB007, "stored"), (0x0111, "stored"),
        (0xA700, "failed"), (0x0122, "failed"), (0x0124, "failed"),
        (0xA900, "refused"), (0xC000, "refused"),
    ],
)  # fmt: skip
def test_the_status_of_the_peer_decides(settings, status, kind):
    with peer(lambda event: status) as target:
        ((_, sent),) = push(settings, target, [make_job(settings.folder, 1, target.name)])
    assert sent.kind == kind
    assert kind == "stored" or f"{status:04X}" in sent.reason


def test_one_association_sends_all_and_each_gets_its_own_status(settings):
    peers, uids = set(), []

    def store(event):
        peers.add(event.assoc)
        uids.append(str(event.request.AffectedSOPInstanceUID))
        return 0xC000 if uids[-1] == "2.25.2" else 0

    with peer(store) as target:
        jobs = [make_job(settings.folder, number, target.name) for number in (1, 2, 3)]
        sent = [(job.id, sent.kind) for job, sent in push(settings, target, jobs)]
    assert sent == [(1, "stored"), (2, "refused"), (3, "stored")]
    assert uids == ["2.25.1", "2.25.2", "2.25.3"] and len(peers) == 1


def test_bytes_arrive_as_they_were_written(settings):
    arrived = []
    with peer(lambda event: arrived.append(event.dataset) or 0) as target:
        job = make_job(settings.folder, 1, target.name)
        list(push(settings, target, [job]))
    assert arrived[0].to_json() == dcmread(settings.folder / job.path).to_json()


def test_without_a_peer_it_is_unreachable_and_without_a_file_refused(settings):
    target = Target.parse(f"PACS@127.0.0.1:{free_port()}")
    job = make_job(settings.folder, 1, target.name)
    lost = job.model_copy(update={"id": 2, "path": "none.dcm"})
    damaged = job.model_copy(update={"id": 3, "path": "damaged.dcm"})
    (settings.folder / "damaged.dcm").write_bytes(bytes(200))
    kinds = {job.id: sent.kind for job, sent in push(settings, target, [job, lost, damaged])}
    assert kinds == {1: "unreachable", 2: "refused", 3: "refused"}


def test_a_peer_that_ends_the_association_leaves_the_rest_unreachable(settings, monkeypatch):
    monkeypatch.setattr(association, "_TIMEOUT_S", 3.0)  # the library may miss the end

    def store(event):
        event.assoc.abort()
        return 0

    with peer(store) as target:
        jobs = [make_job(settings.folder, number, target.name) for number in (1, 2)]
        assert {sent.kind for _, sent in push(settings, target, jobs)} == {"unreachable"}


def test_a_class_that_the_peer_does_not_take_is_tried_again(settings):
    with peer(lambda event: 0) as target:
        one = make_job(settings.folder, 1, target.name)
        other = make_job(settings.folder, 2, target.name, "1.2.840.10008.5.1.4.1.1.66.4")
        kinds = [sent.kind for _, sent in push(settings, target, [one, other])]
    assert kinds == ["stored", "failed"]


def test_a_peer_that_takes_nothing_of_what_is_offered_is_not_waited_for(settings):
    capture = make_job(settings.folder, 1, "t", class_uid="1.2.840.10008.5.1.4.1.1.7.4")
    with peer(lambda event: 0) as target:
        ((_, sent),) = push(settings, target, [capture])
    assert sent.kind == "failed"
    assert "does not accept" in sent.reason


@contextlib.contextmanager
def web(code, body=None):
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps(body).encode() if body else b""
            self.send_response(code)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Target.parse(f"http://127.0.0.1:{server.server_address[1]}/dicom-web"), requests
    finally:
        server.shutdown()
        server.server_close()


def failed_with(reason):
    item = {"00081197": {"vr": "US", "Value": [reason]}}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (200, None, "stored"),
        (200, failed_with(0xA700), "failed"),
        (409, failed_with(0x0111), "stored"),
        (409, failed_with(0xC000), "failed"),
        (401, None, "failed"),
        (400, None, "refused"),
        (503, None, "unreachable"),
    ],
)
def test_the_answer_of_a_web_service_decides(settings, code, body, kind):
    with web(code, body) as (target, requests):
        job = make_job(settings.folder, 1, target.name)
        ((_, sent),) = push(settings, target, [job])
    assert sent.kind == kind
    assert len(requests) == 1 and b"2.25.1" in requests[0]


def test_a_web_service_that_does_not_answer_is_asked_once(settings):
    target = Target.parse(f"http://127.0.0.1:{free_port()}/dicom-web")
    jobs = [make_job(settings.folder, number, target.name) for number in (1, 2)]
    assert {sent.kind for _, sent in push(settings, target, jobs)} == {"unreachable"}


def test_commitment_names_what_was_stored_and_takes_the_answer(settings):
    asked, answered = [], []

    def action(event):
        asked.append(event.action_information)
        report = Dataset()
        report.TransactionUID = event.action_information.TransactionUID
        report.ReferencedSOPSequence = event.action_information.ReferencedSOPSequence
        threading.Timer(
            0.1,
            event.assoc.send_n_event_report,
            (report, 1, classes.COMMITMENT, classes.COMMITMENT_INSTANCE),
        ).start()
        return 0, None

    def on_report(event):
        answered.append(event.event_information)
        return 0, None

    with peer(lambda event: 0, EVT_N_ACTION=action) as target:
        jobs = [make_job(settings.folder, number, target.name) for number in (1, 2)]
        assert request_commitment(settings, target, jobs, "2.25.9", on_report) == ""
    uids = [i.ReferencedSOPInstanceUID for i in asked[0].ReferencedSOPSequence]
    assert uids == ["2.25.1", "2.25.2"] and asked[0].TransactionUID == "2.25.9"
    assert [one.TransactionUID for one in answered] == ["2.25.9"]


def test_a_peer_without_commitment_is_told_so(settings):
    with peer(lambda event: 0, EVT_N_ACTION=lambda event: (0x0110, None)) as target:
        job = make_job(settings.folder, 1, target.name)
        assert "272" in request_commitment(settings, target, [job], "2.25.9", lambda event: 0)
    assert (
        request_commitment(settings, target, [job], "2.25.9", lambda e: 0)
        == "the peer cannot be reached"
    )
