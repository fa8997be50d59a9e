"""The DICOM services, with pynetdicom as the peer: statuses, cuts, limits, TLS, commitment."""

import errno
import logging
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from echoseg.errors import ConfigError, OutputError
from echoseg.node import classes, store
from echoseg.node.records import State
from echoseg.node.scp import is_allowed
from echoseg.node.settings import NodeSettings
from echoseg.node.tls import client_context
from node_makers import CAPTURE, MULTIFRAME, dataset, free_port, make_certificates, tls_files

# pynetdicom's threads may end in an error, and its sockets stay open, when a peer is cut
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]
SYNTAXES = list(classes.TRANSFER_SYNTAXES)


@contextmanager
def associated(node, syntax=SYNTAXES[0], aet="SCANNER", called="ECHOSEG", **options):
    ae = AE(ae_title=aet)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
    ae.add_requested_context(classes.VERIFICATION)
    for class_uid in (MULTIFRAME, CAPTURE):
        ae.add_requested_context(class_uid, syntax)
    ae.add_requested_context(classes.COMMITMENT)
    assoc = ae.associate("127.0.0.1", node.scp.port, ae_title=called, **options)
    try:
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()


def send(node, *datasets, **options):
    syntax = datasets[0].file_meta.TransferSyntaxUID
    with associated(node, syntax, **options) as assoc:
        return [assoc.send_c_store(one).get("Status") for one in datasets]


def test_echo_and_store(start):
    node = start()
    with associated(node) as assoc:
        assert assoc.send_c_echo().Status == 0
        assert assoc.send_c_store(dataset(1)).Status == 0
        (path,) = node.files()  # on disk before the association ends
    assert dcmread(path).PatientName == "Planted^Name"
    assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
    (study,) = node.queue.studies()
    assert (study.state, study.revision) == (State.RECEIVED, 1)
    assert node.queue.find("1.2.3.1").sender == "SCANNER"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_transfer_syntax_is_stored_as_it_came(start, syntax):
    node = start()
    one = dataset(1, syntax=syntax)
    assert send(node, one) == [0]
    stored = dcmread(node.files()[0])
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert (stored.PixelData, stored.Rows) == (one.PixelData, 4)


def test_every_class_is_accepted_and_others_are_not(start):
    node = start()
    ae = AE()
    others = ["1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.66.4",
              "1.2.840.10008.5.1.4.1.1.2"]  # fmt: skip
    for uid in [*classes.STORAGE_CLASSES, *others]:
        ae.add_requested_context(uid)
    assoc = ae.associate("127.0.0.1", node.scp.port, ae_title="ECHOSEG")
    accepted = {str(one.abstract_syntax) for one in assoc.accepted_contexts}
    assoc.release()
    assert accepted == set(classes.STORAGE_CLASSES)


# 5,000 sequences of undefined length in one another
TOO_DEEP = b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 5000


@pytest.mark.parametrize(
    ("one", "status"),
    [
        (dataset(1, Rows=None, Columns=None), classes.NO_PICTURES),
        (dataset(1, Rows=0), classes.NO_PICTURES),
        (dataset(1, StudyInstanceUID=""), classes.UNREADABLE),
        (dataset(1, study="Miller^Anna"), classes.UNREADABLE),
        (dataset(1, NumberOfFrames=2_000_000, Rows=600, Columns=800), classes.TOO_LARGE),
        (dataset(1, Rows=65535, Columns=65535), classes.TOO_LARGE),
        (dataset(1, Manufacturer="echoseg", SOPClassUID=CAPTURE), classes.OWN_RESULT),
        (dataset(1, PixelData=bytes(300_000)), classes.TOO_LARGE),
    ],
)  # fmt: skip
def test_what_cannot_be_a_clip_is_refused_with_its_status(start, one, status):
    node = start(max_instance_mb=0.2)
    assert send(node, one, dataset(2)) == [status, 0]  # the association goes on
    assert len(node.files()) == 1
    assert node.queue.find("1.2.3.1") is None


def test_other_uids_than_those_of_the_request_are_refused(start):
    node = start()
    one = dataset(1)
    with associated(node) as assoc:
        original = assoc.dimse.send_msg

        def with_other_uid(message, context_id):
            if hasattr(message, "AffectedSOPInstanceUID"):
                message.AffectedSOPInstanceUID = "1.2.3.99"
            return original(message, context_id)

        assoc.dimse.send_msg = with_other_uid
        assert assoc.send_c_store(one).Status == classes.MISMATCH
    assert node.files() == []


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"Miller^Anna " * 9, TOO_DEEP])
def test_broken_data_sets_are_refused(start, content):
    node = start()
    with associated(node) as assoc:
        original = assoc.dimse.send_msg

        def with_other_content(message, context_id):
            if getattr(message, "DataSet", None) is not None:
                message.DataSet.seek(0)
                message.DataSet.truncate()
                message.DataSet.write(content)
                message.DataSet.seek(0)
            return original(message, context_id)

        assoc.dimse.send_msg = with_other_content
        assoc.dimse_timeout = 5
        status = assoc.send_c_store(dataset(1))
        assert "Status" not in status or status.Status == classes.UNREADABLE
    assert send(node, dataset(2)) == [0]
    assert len(node.files()) == 1


def test_a_repeated_instance_is_stored_once_and_other_bytes_are_refused(start):
    node = start()
    other = dataset(1, PixelData=bytes(32))
    assert send(node, dataset(1), dataset(1), other, dataset(1)) == [0, 0, classes.OTHER_CONTENT, 0]
    (path,) = node.files()
    assert dcmread(path).PixelData == bytes(range(32))
    assert node.queue.studies()[0].revision == 1


def test_a_file_that_is_gone_is_stored_again(start):
    node = start()
    send(node, dataset(1))
    node.files()[0].unlink()
    assert send(node, dataset(1)) == [0]
    assert len(node.files()) == 1


def test_quota_and_free_space_are_kept(start):
    node = start(quota_gb=2e-6)
    large = [dataset(number, PixelData=bytes(900)) for number in (1, 2)]
    assert send(node, *large) == [0, classes.OUT_OF_RESOURCES]
    assert len(node.files()) == node.queue.counts().instances == 1
    full = start(min_free_gb=1e9)
    assert send(full, dataset(3)) == [classes.OUT_OF_RESOURCES]


def test_a_full_disk_is_out_of_resources_and_leaves_nothing(start, monkeypatch):
    node = start()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.os, "fsync", full)
        assert send(node, dataset(1)) == [classes.OUT_OF_RESOURCES]
    assert (node.files(), node.queue.find("1.2.3.1")) == ([], None)
    assert send(node, dataset(1)) == [0]


def test_a_database_that_fails_is_out_of_resources(start, monkeypatch):
    node = start()

    def broken(*_):
        raise OutputError("the database of the node cannot be used")

    with monkeypatch.context() as patch:
        patch.setattr(node.queue, "receive", broken)
        assert send(node, dataset(1)) == [classes.OUT_OF_RESOURCES]
    assert node.queue.find("1.2.3.1") is None
    assert node.store.recover() in (0, 1)
    assert send(node, dataset(1)) == [0]


def test_an_unexpected_error_has_a_status_too(start, monkeypatch):
    node = start()
    monkeypatch.setattr(node.store, "receive", lambda _: 1 / 0)
    assert send(node, dataset(1)) == [classes.UNEXPECTED]


def test_a_cut_association_stores_nothing_and_harms_nothing(start):
    node = start()
    large = dataset(1, PixelData=bytes(4_000_000))
    with associated(node) as assoc:
        sock, sent = assoc.dul.socket.socket, []
        original = sock.send

        class Cut:
            def __getattr__(self, name):
                return getattr(sock, name)

            def send(self, data):
                sent.append(len(data))
                if sum(sent) > 500_000:
                    sock.shutdown(socket.SHUT_RDWR)
                    raise ConnectionResetError
                return original(data)

            sendall = send

        assoc.dul.socket.socket = Cut()
        assert "Status" not in assoc.send_c_store(large)
    assert node.files() == []
    assert send(node, large) == [0]


def test_a_message_without_end_is_cut(start):
    node = start(max_instance_mb=0.1)
    with associated(node) as assoc:
        assert "Status" not in assoc.send_c_store(dataset(1, PixelData=bytes(3_000_000)))
    assert send(node, dataset(2)) == [0]


@pytest.mark.parametrize(
    ("options", "titles", "results"),
    [
        ({}, {"aet": "ANY"}, True),
        ({}, {"called": "OTHER"}, False),
        ({"allowed_peers": {"SCANNER": "127.0.0.1"}}, {}, True),
        ({"allowed_peers": {"SCANNER": "127.0.0.0/8"}}, {"aet": "OTHER"}, False),
        ({"allowed_peers": {"SCANNER": "10.0.0.1", "B": "127.0.0.1"}}, {}, False),
        ({"allowed_peers": {"SCANNER": "10.0.0.1"}}, {}, False),
        ({"any_peer": True}, {}, True),
    ],
)
def test_titles_and_addresses_are_checked(start, options, titles, results):
    node = start(**options)
    with associated(node, **titles) as assoc:
        assert assoc.is_established == results
    if "called" in titles:
        assert assoc.acceptor.primitive.diagnostic == 7  # called AE title not recognized
    assert send(start(folder=node.settings.folder / "b"), dataset(1)) == [0]


def test_without_a_list_only_this_machine_may_connect():
    assert is_allowed(NodeSettings(), "A", "127.0.0.1")
    assert not is_allowed(NodeSettings(), "A", "10.0.0.1")
    settings = NodeSettings(host="0.0.0.0", allowed_peers={"A": "10.0.0.0/24"})
    assert is_allowed(settings, "A", "::ffff:10.0.0.9")
    assert not is_allowed(settings, "A", "10.0.1.9")
    assert not is_allowed(settings, "B", "10.0.0.9")


def test_four_associations_at_once(start):
    node = start()

    def sender(which):
        own = [dataset(f"{which}.{n}", study=f"1.9.{which + 1}") for n in range(10)]
        return send(node, *own, dataset("77", study="1.9.77"))

    with ThreadPoolExecutor(4) as pool:
        statuses = [status for part in pool.map(sender, range(4)) for status in part]
    assert statuses == [0] * 44
    assert len(node.files()) == node.queue.counts().instances == 41


def test_too_many_associations_are_rejected(start):
    node = start(max_associations=1)
    with associated(node) as first, associated(node) as second:
        assert first.is_established and not second.is_established
        assert first.send_c_echo().Status == 0


def test_a_port_in_use_is_one_sentence(start, tmp_path):
    node = start()
    with pytest.raises(ConfigError, match="choose another port"):
        start(port=node.scp.port, folder=tmp_path / "other")


def test_a_silent_peer_keeps_nobody_waiting(start):
    node = start()
    with socket.create_connection(("127.0.0.1", node.scp.port)):
        assert send(node, dataset(1)) == [0]


def test_nothing_in_the_log_names_a_patient_or_a_file(start, caplog):
    caplog.set_level(logging.DEBUG)
    node = start()
    other = dataset(1, PixelData=bytes(32))
    send(
        node,
        dataset(1),
        dataset(1),
        other,
        dataset(3, Rows=0),
        dataset(4, Manufacturer="echoseg", SOPClassUID=CAPTURE),
    )
    text = caplog.text
    assert "instance received" in text and "instance refused" in text
    for word in ("Planted", "PLANTED", "1.2.3.1", "1.9.1", str(node.settings.folder)):
        assert word not in text


# ---- transport security


def test_tls_round_trip(start, tmp_path):
    make_certificates(tmp_path)
    tls = tls_files(tmp_path)
    node = start(tls=tls)
    with socket.create_connection(("127.0.0.1", node.scp.port)):  # no handshake: others go on
        peer = node.settings.tls.model_copy(
            update={"cert": tmp_path / "peer.pem", "key": tmp_path / "peer.key"}
        )
        assert send(node, dataset(1), tls_args=(client_context(peer), "127.0.0.1")) == [0]
    stranger = peer.model_copy(update={"cert": tmp_path / "x.pem", "key": tmp_path / "x.key"})
    with associated(node, tls_args=(client_context(stranger), "127.0.0.1")) as assoc:
        assert not assoc.is_established
    with associated(node) as assoc:  # in clear
        assert not assoc.is_established
    for wrong in ({"cert": tmp_path / "none.pem"}, {"key": tmp_path / "x.key"}):
        with pytest.raises(ConfigError, match="tls must name a certificate"):
            start(tls=tls | wrong, folder=tmp_path / "other")


# ---- storage commitment


def request(*references, uid="2.25.5"):
    one = Dataset()
    one.TransactionUID = uid
    one.ReferencedSOPSequence = []
    for class_uid, instance_uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
        one.ReferencedSOPSequence.append(item)
    return one


class Peer:
    """Notes reports; listens where it has a port."""

    def __init__(self):
        self.reports, self.arrived = [], threading.Event()
        self.handlers = [(evt.EVT_N_EVENT_REPORT, self.note)]

    def note(self, event):
        self.reports.append((event.request.EventTypeID, event.event_information))
        self.arrived.set()
        return 0x0000, None


def test_commitment_names_what_is_held_and_what_is_not(start):
    node, peer = start(), Peer()
    send(node, dataset(1), dataset(2))
    with associated(node, evt_handlers=peer.handlers) as assoc:
        for content in (
            [(MULTIFRAME, "1.2.3.1"), (MULTIFRAME, "1.2.3.2")],
            [
                (MULTIFRAME, "1.2.3.1"),
                (MULTIFRAME, "1.2.3.9"),
                ("1.2.840.10008.5.1.4.1.1.7", "1.2.3.2"),
            ],
        ):
            peer.arrived.clear()
            status, _ = assoc.send_n_action(
                request(*content), 1, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
            )
            assert status.Status == 0
            assert peer.arrived.wait(20)
            time.sleep(0.2)
    (kind, full), (failed_kind, part) = peer.reports
    assert (kind, failed_kind) == (1, 2)
    assert full.TransactionUID == "2.25.5" and "FailedSOPSequence" not in full
    uids = [[i.ReferencedSOPInstanceUID for i in r.ReferencedSOPSequence] for r in (full, part)]
    assert uids == [["1.2.3.1", "1.2.3.2"], ["1.2.3.1"]]
    failed = [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in part.FailedSOPSequence]
    assert failed == [("1.2.3.9", 0x0112), ("1.2.3.2", 0x0119)]


def test_a_peer_that_has_left_is_called_back(start):
    port, peer = free_port(), Peer()
    node = start(push=(f"SCANNER@127.0.0.1:{port}",))
    send(node, dataset(1))
    ae = AE(ae_title="SCANNER")
    ae.add_supported_context(classes.COMMITMENT, scu_role=True, scp_role=True)
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=peer.handlers)
    try:
        with associated(node) as assoc:
            assoc.send_n_action(
                request((MULTIFRAME, "1.2.3.1")), 1, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
            )
            assoc.abort()
        assert peer.arrived.wait(20)
    finally:
        server.shutdown()
    assert peer.reports[0][0] == 1


@pytest.mark.parametrize("content", [Dataset(), request()])
def test_a_request_without_content_is_refused(start, content):
    node = start()
    content.PatientID = "x"
    with associated(node) as assoc:
        status, _ = assoc.send_n_action(content, 1, classes.COMMITMENT, classes.COMMITMENT_INSTANCE)
        assert status.Status == 0x0115
        status, _ = assoc.send_n_action(
            request((MULTIFRAME, "1.2.3.1")), 2, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
        )
        assert status.Status == 0x0123
