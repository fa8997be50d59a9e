"""Storage commitment, PS3.4 J: answers to peers about what they sent, and theirs about our results.

A peer asks by N-ACTION and gets an N-EVENT-REPORT on the same association; where it has ended that,
on a new one to the address of the target of the same AE title.
"""

import logging
import threading
from typing import Any

from echoseg.errors import EchosegError, reason_of
from echoseg.node import classes
from echoseg.node.association import associated
from echoseg.node.log import log_event
from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from echoseg.node.store import Store

_INVALID_ARGUMENT, _NO_SUCH_ACTION, _PROCESSING_FAILURE = 0x0115, 0x0123, 0x0110
_NO_SUCH_INSTANCE, _CLASS_CONFLICT, _NO_RESOURCES = 0x0112, 0x0119, 0x0213
"""Failure reasons, PS3.3 C.14.1.1; 0213 is resource limitation."""
_MAX_REFERENCES = 10_000


class Commitment:
    """Both sides of storage commitment.

    Args:
        settings: AE title, targets and TLS.
        queue: What was received and sent.
        store: Its files.
    """

    def __init__(self, settings: NodeSettings, queue: Queue, store: Store) -> None:
        self._settings, self._queue, self._store = settings, queue, store

    def on_request(self, event: Any) -> tuple[int, None]:
        """Take an N-ACTION; its answer follows in an N-EVENT-REPORT."""
        if event.request.ActionTypeID != 1:
            return _NO_SUCH_ACTION, None
        try:
            request = event.action_information
            uid = str(request.TransactionUID)
            references = [
                (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
                for item in request.ReferencedSOPSequence
            ]
        except Exception:  # pydicom raises many types
            return _INVALID_ARGUMENT, None
        if not uid or not 0 < len(references) <= _MAX_REFERENCES:
            return _INVALID_ARGUMENT, None
        run = threading.Thread(
            target=self._report, args=(event.assoc, uid, references), name="commitment", daemon=True
        )
        run.start()
        return classes.SUCCESS, None

    def _report(self, assoc: Any, uid: str, references: list[tuple[str, str]]) -> None:
        peer = str(assoc.requestor.ae_title).strip()
        try:
            report, is_complete = self._answer(uid, references)
            is_sent = _send(assoc, report, is_complete) or self._call_back(
                peer, report, is_complete
            )
        except Exception as error:  # the thread has no one else to report to
            log_event("commitment failed", logging.ERROR, peer=peer, reason=reason_of(error))
            return
        level = logging.INFO if is_sent else logging.WARNING
        log_event("commitment answered", level, peer=peer, instances=len(references),
                  complete=is_complete, sent=is_sent)  # fmt: skip

    def _answer(self, uid: str, references: list[tuple[str, str]]) -> tuple[Any, bool]:
        """The report on a request, and whether it has no failures."""
        from pydicom.dataset import Dataset

        try:
            instances = self._queue.received([instance for _, instance in references])
            missing_reason = _NO_SUCH_INSTANCE
        except EchosegError:  # the database is not there now: nothing can be promised
            instances, missing_reason = {}, _NO_RESOURCES
        stored, failed = [], []
        for class_uid, instance_uid in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, instance_uid
            instance = instances.get(instance_uid)
            if instance is None or not (self._store.folder / instance.path).is_file():
                item.FailureReason = missing_reason
            elif instance.class_uid != class_uid:
                item.FailureReason = _CLASS_CONFLICT
            (failed if "FailureReason" in item else stored).append(item)
        report = Dataset()
        report.TransactionUID = uid
        if stored:
            report.ReferencedSOPSequence = stored
        if failed:
            report.FailedSOPSequence = failed
        return report, not failed

    def _call_back(self, peer: str, report: Any, is_complete: bool) -> bool:
        """Report on a new association, where the address of the peer is known."""
        from pynetdicom import build_context, build_role

        target = next((one for one in self._settings.push if one.aet == peer), None)
        if target is None:
            return False
        contexts = [build_context(classes.COMMITMENT)]
        roles = [build_role(classes.COMMITMENT, scp_role=True)]
        with associated(self._settings, target, contexts, roles=roles) as (assoc, _):
            return _send(assoc, report, is_complete)

    def on_report(self, event: Any) -> tuple[int, None]:
        """Take the answer of a target about our results."""
        try:
            report = event.event_information
            uid = str(report.TransactionUID)
            stored = {
                str(i.ReferencedSOPInstanceUID) for i in report.get("ReferencedSOPSequence", [])
            }
        except Exception:  # pydicom raises many types
            return _INVALID_ARGUMENT, None
        try:
            number = self._queue.deliveries.committed(uid, stored)
        except EchosegError:
            return _PROCESSING_FAILURE, None
        peer = str(event.assoc.requestor.ae_title).strip()
        log_event("results committed", peer=peer, results=number, stored=len(stored))
        return (classes.SUCCESS if number else _INVALID_ARGUMENT), None


def _send(assoc: Any, report: Any, is_complete: bool) -> bool:
    """Send a report on an association; False where that is not possible."""
    if not assoc.is_established:
        return False
    try:
        status, _ = assoc.send_n_event_report(
            report, 1 if is_complete else 2, classes.COMMITMENT, classes.COMMITMENT_INSTANCE
        )
    except (RuntimeError, ValueError, OSError):  # ended meanwhile, or not accepted by the peer
        return False
    return "Status" in status and status.Status == classes.SUCCESS
