"""Studies are fetched from a real Orthanc by C-GET, C-MOVE and DICOMweb; refusals are sentences."""

import io
import time
from types import SimpleNamespace

import pydicom
import pytest
from pydantic import ValidationError
from pydicom.dataset import Dataset

from echoseg.errors import ConfigError, OutputError
from echoseg.node.commitment import Commitment
from echoseg.node.fetch import Fetched, StudyQuery, _retrieve, fetch
from echoseg.node.queue import Queue
from echoseg.node.scp import Scp
from echoseg.node.settings import NodeSettings, Target
from echoseg.node.store import Store
from echoseg.private import Pseudonyms
from node_makers import dataset, free_port
from orthanc_server import orthanc

JPEG, SR_CLASS = "1.2.840.10008.1.2.4.50", "1.2.840.10008.5.1.4.1.1.88.33"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory):
    """An Orthanc that knows the node, with two studies, and the node's port."""
    port = free_port()
    peers = {"node": ["ECHOSEG", "127.0.0.1", port]}
    folder = tmp_path_factory.mktemp("pacs")
    with orthanc(folder, DicomModalities=peers, TranscodeDicomProtocol=False) as server:
        sent = [
            dataset(number=1, StudyDate="20260102"),
            dataset(number=2, StudyDate="20260102", syntax=JPEG),
            dataset(
                number=3,
                StudyDate="20260102",
                SOPClassUID=SR_CLASS,
                Modality="SR",
                SeriesInstanceUID="1.9.1.2",
            ),
            dataset(number=4, StudyDate="20260301", study="1.9.2", PatientID="OTHER"),
        ]
        for one in sent:
            stream = io.BytesIO()
            one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID
            pydicom.dcmwrite(stream, one, enforce_file_format=True)
            server.send(stream.getvalue())
        yield server, port


@pytest.fixture
def node(tmp_path, pacs):
    settings = NodeSettings(folder=tmp_path, min_free_gb=0, port=pacs[1])
    queue = Queue(settings)
    yield settings, Store(settings, queue, Pseudonyms(settings.key_file)), queue
    queue.close()


def _peer(server):
    return Target.parse(f"{server.aet}@127.0.0.1:{server.port}")


@pytest.mark.parametrize("kind", ["get", "web"])
def test_clips_of_a_study_come_as_they_are_stored(pacs, node, kind):
    server = pacs[0]
    settings, store, queue = node
    source = _peer(server) if kind == "get" else Target.parse(server.dicomweb)
    result = fetch(settings, store, source, StudyQuery(study_uid="1.9.1"))
    assert (result.studies, result.new, result.refused) == (1, 2, 0)
    assert queue.find("1.2.3.2").transfer_syntax == JPEG
    assert queue.find("1.2.3.3") is None  # a report is no clip
    read = pydicom.dcmread(settings.folder / queue.find("1.2.3.1").path)
    assert read.PixelData == dataset(number=1).PixelData
    again = fetch(settings, store, source, StudyQuery(study_uid="1.9.1"))
    assert (again.new, again.known) == (0, 2)


@pytest.mark.parametrize(
    ("query", "number"),
    [({"patient_id": "OTHER"}, 1), ({"date": "20260101-"}, 3), ({"date": "20260101-20260201"}, 2),
     ({"study_uid": "1.9.7"}, 0)],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["get", "web"])
def test_studies_are_found_by_patient_and_date(pacs, node, query, number, kind):
    settings, store, queue = node
    source = _peer(pacs[0]) if kind == "get" else Target.parse(pacs[0].dicomweb)
    assert fetch(settings, store, source, StudyQuery(**query)).new == number
    assert queue.counts().instances == number


def test_the_pacs_moves_a_study_to_the_node(pacs, node):
    settings, store, queue = node
    scp = Scp(settings, store, Commitment(settings, queue, store))
    scp.start()
    try:
        result = fetch(settings, store, _peer(pacs[0]), StudyQuery(study_uid="1.9.1"), move=True)
        until = time.monotonic() + 20
        while queue.counts().instances < 2 and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        scp.stop()
    assert queue.counts().instances == 2
    assert result.studies == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of pynetdicom
def test_a_source_that_is_not_there_or_cannot_is_named(node):
    settings, store, _ = node
    query = StudyQuery(study_uid="1.2")
    nobody = f"PACS@127.0.0.1:{free_port()}"
    with pytest.raises(OutputError, match="cannot be reached"):
        fetch(settings, store, Target.parse(nobody), query)
    web = Target.parse(f"http://127.0.0.1:{free_port()}/dicom-web")
    with pytest.raises(OutputError, match="check its address"):
        fetch(settings, store, web, query)
    with pytest.raises(ConfigError, match="move"):
        fetch(settings, store, web, query, move=True)


@pytest.mark.parametrize(
    "fields", [{}, {"patient_id": "*"}, {"date": "yesterday"}, {"study_uid": "1.2*"}]
)
def test_a_query_names_studies_and_no_wildcard(fields):
    with pytest.raises(ValidationError):
        StudyQuery(**fields)


def test_what_the_store_refused_of_one_series_hides_no_failure_of_another():
    """A C-GET counts what our own store refused among what failed; each series counts its own."""

    def answers(failed, completed, refused):
        final = Dataset()
        final.Status, final.NumberOfFailedSuboperations = 0xB000, failed
        final.NumberOfCompletedSuboperations = completed
        result.refused += refused
        yield final, None

    result = Fetched()
    for failed, completed, refused in ((3, 0, 3), (3, 10, 0), (4, 1, 1)):
        assoc = SimpleNamespace(send_c_get=lambda *_, n=(failed, completed, refused): answers(*n))
        _retrieve(assoc, Target.parse("A@h:1"), NodeSettings(), Dataset(), result, move=False)
    assert (result.refused, result.failed) == (4, 6)
