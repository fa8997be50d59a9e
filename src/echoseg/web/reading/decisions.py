"""Signatures: a reading is accepted, rejected with a reason, or reopened with one.

A signed reading takes no more edits. Reopening it takes the signature back, which stays in the
history; two signed reads of a clip, of which one is reopened, are not independent any more.
"""

import json
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, aliased

from echoseg.inference.analysis import Analysis
from echoseg.report.schema import Report
from echoseg.web.accounts import Reader
from echoseg.web.analysis import read_result, row_values
from echoseg.web.api import DecisionRequest
from echoseg.web.reading.access import FIRST, SECOND, Access
from echoseg.web.reading.store import STALE, reads_of
from echoseg.web.records import ClipRow, DecisionRow, ReadRow
from echoseg.web.refusal import Refusal

REOPENED = "reopened"
_NETWORK_COLUMNS = {"view", "ef_kind", "ef_percent", "ef_low_percent", "ef_high_percent"}


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


def network_summary(report: Report) -> dict[str, Any]:
    """What the worklist shows of the network's result: columns of `ClipRow`."""
    values = row_values(report).model_dump(include=_NETWORK_COLUMNS)
    return values | {"is_corrected": False, "decision": ""}


def show_in_worklist(session: Session, clip: str, network: dict[str, Any], first: str) -> None:
    """Set what the worklist shows of a clip.

    Args:
        session: The transaction.
        clip: Its id.
        network: What it shows of the network's result.
        first: The summary of the first read; empty: it is not shown.
    """
    values = network | json.loads(first or "{}")
    session.execute(update(ClipRow).where(ClipRow.id == clip).values(**values))


def show_all_in_worklist(session: Session, access: Access, folder: Path) -> None:
    """Show what may be seen now of each clip, after the server was started with other settings.

    Args:
        session: The transaction.
        access: Who may see which reading now.
        folder: Where the folders of clips are.
    """
    second = aliased(ReadRow)
    chosen = select(ReadRow.summary, second.decision, ClipRow).join(
        ClipRow, ReadRow.clip == ClipRow.id
    )
    chosen = chosen.outerjoin(second, (second.clip == ReadRow.clip) & (second.slot == SECOND))
    chosen = chosen.where(ReadRow.slot == FIRST, ReadRow.summary != "")
    for summary, decision, row in session.execute(chosen).all():
        is_hidden, own = access.is_hidden(decision), json.loads(summary)
        due = {"is_corrected": False, "decision": ""} if is_hidden else own
        is_same = (row.is_corrected, row.decision) == (due["is_corrected"], due["decision"])
        if not is_same and (report := read_result(folder / row.id)) is not None:
            first = "" if is_hidden else summary
            show_in_worklist(session, row.id, network_summary(report), first)


def signed_pairs(session: Session) -> list[tuple[ReadRow, ReadRow]]:
    """First and second reads of the same clip, both accepted and independent."""
    chosen = select(ReadRow).where(ReadRow.decision == "accepted", ReadRow.is_independent)
    reads = {(row.clip, row.slot): row for row in session.scalars(chosen)}
    return [
        (row, reads[clip, SECOND])
        for (clip, slot), row in sorted(reads.items())
        if slot == FIRST and (clip, SECOND) in reads
    ]
