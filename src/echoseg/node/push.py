"""Results to their targets: by C-STORE, one association for many, or by STOW-RS.

Statuses are those of PS3.4 B.2.3 and PS3.18 I.2.2. An object that the target has already (0111)
counts as stored: the answer to an earlier try was lost.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from echoseg.errors import reason_of
from echoseg.node import classes
from echoseg.node.jobs import DeliveryJob
from echoseg.node.settings import NodeSettings, Target
from echoseg.node.tls import tls_arguments

DUPLICATE = 0x0111
NOT_ACCEPTED = "the target does not accept objects of this class and transfer syntax"
_TIMEOUT_S, _CONNECT_S, _REPORT_S = 60.0, 15.0, 2.0
_FINAL_HTTP = (400, 413, 415)
"""The object itself is refused; other answers may change."""
_MAX_CONTEXTS = 128
"""Of an association, PS3.8 9.3.2.2."""


class Sent(NamedTuple):
    """What became of an object.

    Attributes:
        kind: `stored`; `failed`, try again and count it; `refused`, do not
            try again; `unreachable`, try again for as long as it takes.
        reason: Why it is not stored.
    """

    kind: Literal["stored", "failed", "refused", "unreachable"]
    reason: str = ""


def push(
    settings: NodeSettings, target: Target, jobs: Sequence[DeliveryJob]
) -> Iterator[tuple[DeliveryJob, Sent]]:
    """Send objects to a target, and yield what became of each as soon as the target has answered.

    Args:
        settings: AE title, folder and TLS.
        target: Where to.
        jobs: The objects; a file that is missing fails.
    """
    send = _stow if target.is_web else _store
    present = []
    for job in jobs:
        if (settings.folder / job.path).is_file():
            present.append(job)
        else:
            yield job, Sent("refused", "the file of the result is missing")
    yield from send(settings, target, present)


def _store(
    settings: NodeSettings, target: Target, jobs: Sequence[DeliveryJob]
) -> Iterator[tuple[DeliveryJob, Sent]]:
    contexts = sorted({_context(settings.folder / job.path) for job in jobs})[:_MAX_CONTEXTS]
    if not contexts:
        return
    assoc = _associate(settings, target, [(uid, [syntax]) for uid, syntax in contexts])
    if not assoc.is_established:
        yield from ((job, _not_connected(assoc)) for job in jobs)
        return
    try:
        for job in jobs:
            yield job, _store_one(assoc, settings.folder / job.path)
    finally:
        if assoc.is_established:
            assoc.release()


def _not_connected(assoc: Any) -> Sent:
    if assoc.rejected_contexts:  # the peer answered, and takes nothing of what was offered
        return Sent("failed", NOT_ACCEPTED)
    return Sent(
        "unreachable",
        "the target rejected the association" if assoc.is_rejected else "no connection",
    )


def _store_one(assoc: Any, path: Path) -> Sent:
    if not assoc.is_established:
        return Sent("unreachable", "the target ended the association")
    try:
        answer = assoc.send_c_store(path)
    except ValueError:
        return Sent("failed", NOT_ACCEPTED)
    except Exception as error:  # of the library, or of the file
        return Sent("failed", reason_of(error))
    if "Status" not in answer:
        return Sent("unreachable", "the target did not answer")
    status = int(answer.Status)
    # Success, and warnings: the object is stored, elements of it may be changed
    if status in (0, 1, DUPLICATE) or status >> 12 == 0xB:
        return Sent("stored")
    reason = f"the target answered {status:04X}"
    is_final = status >> 8 == 0xA9 or status >> 12 == 0xC
    return Sent("refused" if is_final else "failed", reason)


def _context(path: Path) -> tuple[str, str]:
    from pydicom.filereader import read_file_meta_info

    header = read_file_meta_info(path)
    return str(header.MediaStorageSOPClassUID), str(header.TransferSyntaxUID)


def _associate(
    settings: NodeSettings,
    target: Target,
    contexts: Sequence[tuple[str, list[str]]],
    handlers: Sequence[Any] = (),
) -> Any:
    from pynetdicom import AE

    ae = AE(ae_title=settings.aet)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = _TIMEOUT_S
    ae.connection_timeout = _CONNECT_S
    for uid, syntaxes in contexts:
        ae.add_requested_context(uid, syntaxes)
    return ae.associate(
        target.host,
        target.port,
        ae_title=target.aet,
        evt_handlers=list(handlers),
        tls_args=tls_arguments(settings.tls),  # type: ignore[arg-type]
    )


def request_commitment(
    settings: NodeSettings,
    target: Target,
    jobs: Sequence[DeliveryJob],
    transaction_uid: str,
    on_report: Callable[[Any], Any],
) -> str:
    """Ask a DICOM target to commit itself to objects that it has stored, PS3.4 J.3.2.

    Its answer comes within seconds on the same association, or later on one of its own.

    Args:
        settings: AE title and TLS.
        target: The peer.
        jobs: The objects.
        transaction_uid: UID of the request, noted before.
        on_report: Handler of the answer on this association.

    Returns:
        Why it could not be asked; empty where it was.
    """
    from pydicom.dataset import Dataset
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
    from pynetdicom import evt

    is_answered = False

    def answered(event: Any) -> Any:
        nonlocal is_answered
        result = on_report(event)
        is_answered = True
        return result

    syntaxes = [str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)]
    handlers = [(evt.EVT_N_EVENT_REPORT, answered)]
    assoc = _associate(settings, target, [(classes.COMMITMENT, syntaxes)], handlers)
    if not assoc.is_established:
        return "no connection"
    request = Dataset()
    request.TransactionUID = transaction_uid
    items = []
    for job in jobs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = job.class_uid, job.instance_uid
        items.append(item)
    request.ReferencedSOPSequence = items
    try:
        answer, _ = assoc.send_n_action(request, 1, classes.COMMITMENT, classes.COMMITMENT_INSTANCE)
        if "Status" not in answer or answer.Status != classes.SUCCESS:
            return f"the target answered {answer.get('Status', 'nothing')}"
        end_s = time.monotonic() + _REPORT_S
        while assoc.is_established and not is_answered and time.monotonic() < end_s:
            time.sleep(0.05)
    except ValueError:
        return "the target offers no storage commitment"
    finally:
        if assoc.is_established:
            assoc.release()
    return ""


def _stow(
    settings: NodeSettings, target: Target, jobs: Sequence[DeliveryJob]
) -> Iterator[tuple[DeliveryJob, Sent]]:
    import requests
    from dicomweb_client.api import DICOMwebClient

    with requests.Session() as session:
        if settings.tls:
            session.verify = str(settings.tls.ca)
            session.cert = str(settings.tls.cert), str(settings.tls.key)
        client = DICOMwebClient(target.url, session=session, timeout=_TIMEOUT_S)
        client.set_http_retry_params(retry=False)
        lost = None
        for job in jobs:
            sent = lost or _stow_one(client, settings.folder / job.path)
            lost = sent if sent.kind == "unreachable" else None  # the others need not wait too
            yield job, sent


def _stow_one(client: Any, path: Path) -> Sent:
    from pydicom import dcmread
    from requests import HTTPError, RequestException

    try:
        answer = client.store_instances([dcmread(path)])
    except HTTPError as error:
        code = error.response.status_code if error.response is not None else 0
        if code == 409 and _failure(error.response) == DUPLICATE:
            return Sent("stored")
        if code >= 500:
            return Sent("unreachable", f"the target answered HTTP {code}")
        return Sent("refused" if code in _FINAL_HTTP else "failed", f"HTTP {code} of the target")
    except RequestException as error:
        return Sent("unreachable", f"no answer ({type(error).__name__})")
    except Exception as error:  # of the library, or of the file
        return Sent("failed", reason_of(error))
    failed = answer.get("FailedSOPSequence")
    if failed and failed[0].get("FailureReason") != DUPLICATE:
        return Sent("failed", f"the target answered {failed[0].get('FailureReason', 0):04X}")
    return Sent("stored")


def _failure(response: Any) -> int:
    """The failure reason (0008,1197) in the JSON body of an answer; 0 where there is none."""
    try:
        return int(response.json()["00081198"]["Value"][0]["00081197"]["Value"][0])
    except (ValueError, LookupError, TypeError):
        return 0
