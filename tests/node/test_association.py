"""One way to peers: whoever calls one checks its certificate, and says what is wrong."""

import contextlib
import re
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_context

from echoseg.errors import OutputError
from echoseg.node import classes
from echoseg.node.association import NOT_ACCEPTED, associated
from echoseg.node.commitment import Commitment
from echoseg.node.fetch import FIND, StudyQuery, fetch
from echoseg.node.push import push, request_commitment
from echoseg.node.settings import TLS, NodeSettings, Target
from echoseg.node.tls import server_context
from node_makers import SR, free_port, make_certificates, make_job, tls_files

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@contextlib.contextmanager
def peer(folder=None, name="node", classes_taken=(classes.VERIFICATION,)):
    """A DICOM peer, with the certificate of a name where there is a folder of certificates."""
    ae = AE(ae_title="PACS")
    for uid in classes_taken:
        ae.add_supported_context(uid)
    port = free_port()
    context = server_context(TLS(**tls_files(folder, name))) if folder else None
    server = ae.start_server(("127.0.0.1", port), block=False, ssl_context=context)
    try:
        yield Target.parse(f"PACS@127.0.0.1:{port}")
    finally:
        server.shutdown()


def ask(settings, target):
    with associated(settings, target, [build_context(classes.VERIFICATION)]) as (assoc, why):
        assert assoc.is_established == (why == "")
    assert not assoc.is_established  # released
    return why


def test_without_tls_it_says_why_there_is_none(tmp_path):
    settings = NodeSettings(folder=tmp_path)
    with peer() as target:
        assert ask(settings, target) == ""
    assert ask(settings, target) == "the peer cannot be reached"
    with peer(classes_taken=[FIND]) as target:
        assert ask(settings, target) == NOT_ACCEPTED


@pytest.mark.parametrize(
    ("name", "check_host", "problem"),
    [
        ("node", True, ""),
        ("peer", True, "IP address mismatch"),
        ("peer", False, ""),
        ("x", True, "self-signed certificate|unable to get local issuer"),
        ("x", False, "self-signed certificate|unable to get local issuer"),
    ],
)
def test_the_certificate_of_a_peer_must_be_of_our_authorities_and_name_its_host(
    tmp_path, name, check_host, problem
):
    make_certificates(tmp_path)
    settings = NodeSettings(folder=tmp_path, tls=tls_files(tmp_path, check_host=check_host))
    with peer(tmp_path, name) as target:
        why = ask(settings, target)
    assert bool(why) == bool(problem)
    if problem:
        assert why.startswith("the certificate of the peer is not accepted: ")
        assert re.search(problem, why, re.IGNORECASE)


def test_every_part_that_calls_a_peer_checks_its_name(tmp_path):
    make_certificates(tmp_path)
    settings = NodeSettings(folder=tmp_path, tls=tls_files(tmp_path))
    taken = (SR, FIND, classes.COMMITMENT)
    with peer(tmp_path, "peer", taken) as target:
        job = make_job(tmp_path, 1, target.name)
        ((_, sent),) = push(settings, target, [job])
        why = request_commitment(settings, target, [job], "2.25.1", lambda event: 0)
        with pytest.raises(OutputError) as caught:
            fetch(settings, None, target, StudyQuery(study_uid="1.2"))
        own = settings.model_copy(update={"push": (target,)})
        assert not Commitment(own, None, None)._call_back("PACS", Dataset(), True)
    assert sent.kind == "unreachable"
    for reason in (sent.reason, why, str(caught.value)):
        assert "certificate of the peer is not accepted" in reason


def test_no_other_module_asks_for_an_association():
    source = Path(__file__).parents[2] / "src" / "echoseg"
    callers = [path.name for path in source.rglob("*.py") if ".associate(" in path.read_text()]
    assert callers == ["association.py"]
