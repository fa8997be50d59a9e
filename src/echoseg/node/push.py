"""Results to their targets: by C-STORE, one association for many, or by STOW-RS.

Statuses are those of PS3.4 B.2.3 and PS3.18 I.2.2. An object that the target has already (0111)
counts as stored: the answer to an earlier try was lost.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from echoseg.errors import reason_of
from echoseg.node import classes
from echoseg.node.association import NOT_ACCEPTED, associated
from echoseg.node.jobs import DeliveryJob
from echoseg.node.settings import NodeSettings, Target
from echoseg.node.web_client import WEB_TIMEOUT_S, http_status, web_session

DUPLICATE = 0x0111
_REPORT_S = 2.0
_FINAL_HTTP = (400, 413, 415)
"""The object itself is refused; other answers may change."""
_NO_COMMITMENT = "the target offers no storage commitment"
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
    present = {}
    for job in jobs:
        if context := _context(settings.folder / job.path):
            present[job] = context
        else:
            yield job, Sent("refused", "the file of the result is missing or damaged")
    if present:
        yield from send(settings, target, present)


Offers = Mapping[DeliveryJob, tuple[str, str]]
"""The objects, with SOP class and transfer syntax of each."""


def _context(path: Path) -> tuple[str, str] | None:
    """SOP class and transfer syntax of a file; None where it is missing or damaged."""
    from pydicom.filereader import read_file_meta_info

    try:
        header = read_file_meta_info(path)
        return str(header.MediaStorageSOPClassUID), str(header.TransferSyntaxUID)
    except Exception:  # pydicom raises many types
        return None


def _store(
    settings: NodeSettings, target: Target, offers: Offers
) -> Iterator[tuple[DeliveryJob, Sent]]:
    from pynetdicom import build_context

    contexts = [build_context(*one) for one in sorted(set(offers.values()))[:_MAX_CONTEXTS]]
    with associated(settings, target, contexts) as (assoc, why):
        kind = "failed" if why == NOT_ACCEPTED else "unreachable"
        for job in offers:
            yield job, Sent(kind, why) if why else _store_one(assoc, settings.folder / job.path)


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
    from pynetdicom import build_context, evt

    is_answered = False

    def answered(event: Any) -> Any:
        nonlocal is_answered
        result = on_report(event)
        is_answered = True
        return result

    request = Dataset()
    request.TransactionUID = transaction_uid
    items = []
    for job in jobs:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = job.class_uid, job.instance_uid
        items.append(item)
    request.ReferencedSOPSequence = items
    contexts = [build_context(classes.COMMITMENT)]
    handlers = [(evt.EVT_N_EVENT_REPORT, answered)]
    with associated(settings, target, contexts, handlers=handlers) as (assoc, why):
        if why:
            return _NO_COMMITMENT if why == NOT_ACCEPTED else why
        uids = classes.COMMITMENT, classes.COMMITMENT_INSTANCE
        try:
            answer, _ = assoc.send_n_action(request, 1, *uids)
        except (RuntimeError, ValueError):  # it has ended, or is not accepted
            return _NO_COMMITMENT
        if "Status" not in answer or answer.Status != classes.SUCCESS:
            return f"the target answered {answer.get('Status', 'nothing')}"
        end_s = time.monotonic() + _REPORT_S
        while assoc.is_established and not is_answered and time.monotonic() < end_s:
            time.sleep(0.05)
    return ""


def _stow(
    settings: NodeSettings, target: Target, offers: Offers
) -> Iterator[tuple[DeliveryJob, Sent]]:
    from dicomweb_client.api import DICOMwebClient

    with web_session(settings, target) as session:
        client = DICOMwebClient(target.url, session=session, timeout=WEB_TIMEOUT_S)
        client.set_http_retry_params(retry=False)
        lost = None
        for job in offers:
            sent = lost or _stow_one(client, settings.folder / job.path)
            lost = sent if sent.kind == "unreachable" else None  # the others need not wait too
            yield job, sent


def _stow_one(client: Any, path: Path) -> Sent:
    from pydicom import dcmread
    from requests import HTTPError, RequestException

    try:
        answer = client.store_instances([dcmread(path)])
    except HTTPError as error:
        code = http_status(error)
        if code == 409 and _failure(error.response) == DUPLICATE:
            return Sent("stored")
        if code >= 500:
            return Sent("unreachable", f"the target answered HTTP {code}")
        login = "; it asks for a login, see the setting login" if code in (401, 403) else ""
        return Sent(
            "refused" if code in _FINAL_HTTP else "failed",
            f"the target answered HTTP {code}{login}",
        )
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
