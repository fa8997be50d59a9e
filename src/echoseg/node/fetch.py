"""Fetch studies of a PACS into a node: C-FIND with C-GET or C-MOVE, or QIDO-RS with WADO-RS."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from echoseg.errors import ConfigError, OutputError, reason_of
from echoseg.node import classes
from echoseg.node.association import associated
from echoseg.node.incoming import Incoming, Refused
from echoseg.node.jobs import Receipt
from echoseg.node.log import log_event
from echoseg.node.parts import PartReader
from echoseg.node.settings import NodeSettings, Target
from echoseg.node.store import Store
from echoseg.node.web_client import WEB_TIMEOUT_S, http_status, web_session

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
_NUM_SINGLE = 16
"""Transfer syntaxes that have a context of their own per class, since an association has 128."""
_NO_PICTURES = {"SR", "SEG", "DOC", "PR", "KO", "RWV", "ECG", "FID", "REG", "ANN"}
"""Modalities of series that hold no clips."""
_PIECE_BYTES = 2**16
_MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class StudyQuery(BaseModel):
    """Which studies; at least one field.

    Attributes:
        study_uid: Study Instance UID.
        patient_id: Patient ID.
        date: Study Date, `YYYYMMDD`, or a range `YYYYMMDD-YYYYMMDD` of which one side may be empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    study_uid: str = Field(default="", pattern=r"^([0-9.]{1,64})?$")
    patient_id: str = Field(default="", pattern=r"^[^*?\\]{0,64}$")
    date: str = Field(default="", pattern=r"^(\d{8}|\d{8}-(\d{8})?|-\d{8})?$")

    @model_validator(mode="after")
    def _check_any(self) -> "StudyQuery":
        if not (self.study_uid or self.patient_id or self.date):
            raise ValueError("give a study UID, a patient ID or a date")
        return self

    def keys(self) -> dict[str, str]:
        """The matching keys by keyword, PS3.4 C.2.2.2."""
        keys = {
            "StudyInstanceUID": self.study_uid,
            "PatientID": self.patient_id,
            "StudyDate": self.date,
        }
        return {keyword: value for keyword, value in keys.items() if value}


@dataclass
class Fetched:
    """What a fetch brought.

    Attributes:
        studies: Number of studies that matched.
        new: Instances that are new.
        known: Instances that were there already.
        refused: Instances that the store refused.
        failed: Instances that the source could not send.
    """

    studies: int = 0
    new: int = 0
    known: int = 0
    refused: int = 0
    failed: int = 0

    def take(self, store: Store, incoming: Incoming) -> int:
        """Store an instance; returns its status."""
        try:
            receipt = store.receive(incoming)
        except Refused as refusal:
            log_event("instance refused", status=f"{refusal.status:04X}", reason=str(refusal))
            self.refused += 1
            return refusal.status
        self.new += receipt == Receipt.NEW
        self.known += receipt == Receipt.DUPLICATE
        return classes.SUCCESS


def fetch(
    settings: NodeSettings, store: Store, source: Target, query: StudyQuery, *, move: bool = False
) -> Fetched:
    """Fetch all ultrasound instances of the studies that match.

    Args:
        settings: AE title, limits and TLS of the node.
        store: Where instances go.
        source: A DICOM peer, or the base URL of a DICOMweb service.
        query: Which studies.
        move: Let a peer send to the node (C-MOVE), which must run and be known there by its AE
            title; instances are then counted by the peer. Otherwise they come here (C-GET).

    Raises:
        ConfigError: If `move` is asked of a DICOMweb service.
        OutputError: If the source cannot be reached, or refuses.
    """
    if source.is_web:
        if move:
            raise ConfigError("a DICOMweb service cannot move; leave out --move")
        return _fetch_web(settings, store, source, query)
    return _fetch_peer(settings, store, source, query, move)


def _fetch_peer(
    settings: NodeSettings, store: Store, source: Target, query: StudyQuery, move: bool
) -> Fetched:
    from pynetdicom import evt

    result = Fetched()

    def take(event: Any) -> int:
        request = event.request
        return result.take(
            store,
            Incoming(
                class_uid=str(request.AffectedSOPClassUID),
                instance_uid=str(request.AffectedSOPInstanceUID),
                transfer_syntax=str(event.context.transfer_syntax),
                sender=source.aet,
                dataset=request.DataSet.getbuffer(),
            ),
        )

    contexts, roles = _offer(move)
    handlers = [(evt.EVT_C_STORE, take)]
    with associated(settings, source, contexts, roles=roles, handlers=handlers) as (assoc, why):
        if why:
            raise OutputError(
                f"nothing can be fetched from {source.name}: {why}; check its address, and that it "
                f"knows the AE title {settings.aet}"
            )
        studies = [one.StudyInstanceUID for one in _find(assoc, source, "STUDY", query.keys())]
        result.studies = len(studies)
        for study in studies:
            for one in _find(assoc, source, "SERIES", {"StudyInstanceUID": study}):
                if str(one.get("Modality", "")) not in _NO_PICTURES:
                    keys = _keys("SERIES", StudyInstanceUID=study,
                                 SeriesInstanceUID=one.SeriesInstanceUID)  # fmt: skip
                    _retrieve(assoc, source, settings, keys, result, move)
    return result


def _offer(move: bool) -> tuple[list[Any], list[Any]]:
    """Presentation contexts and roles of a fetch: by C-GET instances come on the association."""
    from pynetdicom import build_context, build_role

    syntaxes = list(classes.TRANSFER_SYNTAXES)
    contexts = [build_context(uid, syntaxes[:2]) for uid in (FIND, MOVE if move else GET)]
    roles = []
    if not move:
        singles = [[one] for one in syntaxes[:_NUM_SINGLE]]
        for uid in classes.STORAGE_CLASSES:
            contexts += [build_context(uid, one) for one in (*singles, syntaxes[_NUM_SINGLE:])]
            roles.append(build_role(uid, scp_role=True))
    return contexts, roles


def _keys(level: str, **values: str) -> Any:
    """A request by the keys of a level, PS3.4 C.6.2."""
    from pydicom.dataset import Dataset

    keys = Dataset()
    keys.QueryRetrieveLevel = level
    for keyword, value in values.items():
        setattr(keys, keyword, value)
    return keys


def _find(assoc: Any, source: Target, level: str, values: dict[str, str]) -> list[Any]:
    """The matches at a level, PS3.4 C.4.1."""
    empty = {"StudyInstanceUID": ""}
    if level == "SERIES":
        empty = {"SeriesInstanceUID": "", "Modality": ""}
    matches = []
    keys = _keys(level, **(empty | values))
    for status, match in _answers(assoc.send_c_find, source, keys, FIND):
        if status.Status in (0xFF00, 0xFF01):
            matches.append(match)
        elif status.Status != classes.SUCCESS:
            raise OutputError(f"{source.name} refused the query with status {status.Status:04X}")
    return matches


def _retrieve(
    assoc: Any, source: Target, settings: NodeSettings, keys: Any, result: Fetched, move: bool
) -> None:
    """Retrieve a series, PS3.4 C.4.2 and C.4.3; Orthanc ends one at what it cannot send."""
    send, arguments, refused = assoc.send_c_get, (keys, GET), result.refused
    if move:
        send, arguments = assoc.send_c_move, (keys, settings.aet, MOVE)
    for status, _ in _answers(send, source, *arguments):
        if status.Status == 0xFF00:
            continue
        failed = int(status.get("NumberOfFailedSuboperations") or 0)
        completed = int(status.get("NumberOfCompletedSuboperations") or 0)
        if status.Status not in (classes.SUCCESS, 0xB000) and not (failed or completed):
            raise OutputError(f"{source.name} refused to send with status {status.Status:04X}")
        result.failed += max(0, failed if move else failed - (result.refused - refused))
        result.new += completed if move else 0


def _answers(send: Any, source: Target, *arguments: Any) -> Iterator[tuple[Any, Any]]:
    try:
        for status, match in send(*arguments):
            if not status:
                raise OutputError(f"{source.name} ended the connection, or did not answer")
            yield status, match
    except (ValueError, RuntimeError) as error:  # it did not accept the service
        raise OutputError(f"{source.name} does not offer this service; try another") from error


def _fetch_web(settings: NodeSettings, store: Store, source: Target, query: StudyQuery) -> Fetched:
    """QIDO-RS and WADO-RS, PS3.18 10.6 and 10.4, instance by instance."""
    from requests import RequestException

    result = Fetched()
    with web_session(settings, source) as session:
        try:
            studies = _search(session, f"{source.url}/studies", query.keys())
            result.studies = len(studies)
            for study in studies:
                uid = _value(study, "0020000D")
                for one in _search(session, f"{source.url}/studies/{uid}/instances", {}):
                    if _value(one, "00080016") in classes.STORAGE_CLASSES:
                        series, instance = _value(one, "0020000E"), _value(one, "00080018")
                        path = f"studies/{uid}/series/{series}/instances/{instance}"
                        _take_instance(settings, store, session, f"{source.url}/{path}", result)
        except (RequestException, ValueError) as error:
            code = http_status(error)
            raise OutputError(
                f"nothing more can be fetched from {source.name} "
                f"({f'it answered HTTP {code}' if code else reason_of(error)}); check its address"
                f"{', and its login in the settings' if code in (401, 403) else ''}"
            ) from error
    return result


def _search(session: Any, url: str, keys: dict[str, str]) -> list[dict[str, Any]]:
    """All matches, page by page."""
    matches: list[dict[str, Any]] = []
    while True:
        answer = session.get(
            url, params={**keys, "limit": 100, "offset": len(matches)}, timeout=WEB_TIMEOUT_S,
            headers={"Accept": "application/dicom+json"},
        )  # fmt: skip
        answer.raise_for_status()
        page = answer.json() if answer.status_code == 200 else []
        if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
            raise ValueError("its answer must be a list of data sets")
        known = {str(one) for one in matches}
        page = [one for one in page if str(one) not in known]  # of servers without paging
        if not page:
            return matches
        matches += page


def _value(dataset: dict[str, Any], tag: str) -> str:
    try:
        return str(dataset[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        raise ValueError(f"its answer lacks the element {tag}") from None


def _take_instance(
    settings: NodeSettings, store: Store, session: Any, url: str, result: Fetched
) -> None:
    answer = session.get(url, headers={"Accept": _MULTIPART}, stream=True, timeout=WEB_TIMEOUT_S)
    with answer:
        if answer.status_code != 200:
            result.failed += 1
            return
        max_bytes = int(settings.max_instance_mb * 1e6)
        reader = PartReader(answer.headers.get("Content-Type", ""), max_bytes)
        for piece in answer.iter_content(_PIECE_BYTES):
            for part in reader.feed(piece):
                try:
                    incoming = Incoming.from_file(memoryview(part), sender="web")
                except Refused:
                    result.refused += 1
                else:
                    result.take(store, incoming)
