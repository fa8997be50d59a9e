"""Signatures: a reading is accepted, rejected with a reason, or reopened with one.

A signed reading takes no more edits. Reopening it takes the signature back, which stays in the
history; two signed reads of a clip, of which one is reopened, are not independent any more.
"""

import json
import time
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from echoseg.inference.analysis import Analysis
from echoseg.web.accounts import Reader
from echoseg.web.api import DecisionRequest
from echoseg.web.reading.access import FIRST, SECOND
from echoseg.web.reading.store import STALE, reads_of
from echoseg.web.records import ClipRow, DecisionRow, ReadRow
from echoseg.web.refusal import Refusal

REOPENED = "reopened"


def check(row: ReadRow | None, head: int, request: DecisionRequest) -> None:
    """Refuse a decision that cannot be made.

    Raises:
        Refusal: With 409, if a newer revision is shown, or the reading is signed, or to be reopened
            is not; with 422, where a reason is missing.
    """
    is_signed = row is not None and bool(row.decision)
    if head != request.revision:
        raise Refusal(409, STALE)
    if request.decision == REOPENED and not is_signed:
        raise Refusal(409, "This reading is not signed, so it need not be reopened.")
    if request.decision != REOPENED and is_signed:
        raise Refusal(409, "This reading is signed; reopen it, with a reason, to decide anew.")
    if request.decision != "accepted" and not request.reason.strip():
        raise Refusal(422, "A reason is needed to reject a reading or to reopen it.")


def decide(
    session: Session, row: ReadRow, reader: Reader, request: DecisionRequest, analysis: Analysis
) -> None:
    """Write a decision of a reading, with its numbers."""
    other = reads_of(session, row.clip).get(FIRST + SECOND - row.slot)
    is_signing, now_s = request.decision != REOPENED, time.time()
    has_numbers = request.decision == "accepted" and bool(analysis.ef.value)
    numbers: dict[str, Any] = {
        "ef_percent": analysis.ef.ef_percent if has_numbers else None,
        "edv_ml": analysis.edv_ml if has_numbers else None,
        "esv_ml": analysis.esv_ml if has_numbers else None,
    }
    if not is_signing and other is not None and other.decision:
        row.is_independent = other.is_independent = False
    row.decision = request.decision if is_signing else ""
    row.reason = request.reason
    row.signed_s = now_s if is_signing else 0.0
    row.signed_by = reader.name if is_signing else ""
    for name, value in numbers.items():
        setattr(row, name, value)
    session.add(
        DecisionRow(
            read=row.id,
            head=row.head,
            account=reader.name,
            time_s=now_s,
            decision=request.decision,
            reason=request.reason,
            **numbers,
        )
    )


def row_summary(analysis: Analysis, *, is_corrected: bool, decision: str) -> dict[str, Any]:
    """What the worklist shows of a reading: columns of `ClipRow`."""
    ef = analysis.ef
    return {
        "ef_kind": ef.kind,
        "ef_percent": ef.ef_percent,
        "ef_low_percent": ef.interval.low_percent if ef.interval else None,
        "ef_high_percent": ef.interval.high_percent if ef.interval else None,
        "view": str(analysis.clip.view),
        "is_corrected": is_corrected,
        "decision": decision,
    }


def show_in_worklist(
    session: Session, reads: dict[int, ReadRow], clip: str, network: dict[str, Any]
) -> None:
    """Set what the worklist shows of a clip: its first read, unless a second one is going on.

    Args:
        session: The transaction.
        reads: The readings of the clip.
        clip: Its id.
        network: What it shows of the network's result.
    """
    first, second = reads.get(FIRST), reads.get(SECOND)
    is_hidden = second is not None and not second.decision
    values = network
    if first is not None and first.summary and not is_hidden:
        values = network | json.loads(first.summary)
    session.execute(update(ClipRow).where(ClipRow.id == clip).values(**values))


def signed_pairs(session: Session) -> list[tuple[ReadRow, ReadRow]]:
    """First and second reads of the same clip, both accepted and independent."""
    chosen = select(ReadRow).where(ReadRow.decision == "accepted", ReadRow.is_independent)
    reads = {(row.clip, row.slot): row for row in session.scalars(chosen)}
    return [
        (row, reads[clip, SECOND])
        for (clip, slot), row in sorted(reads.items())
        if slot == FIRST and (clip, SECOND) in reads
    ]
