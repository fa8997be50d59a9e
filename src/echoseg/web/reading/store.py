"""Readings in the database: edits are only ever added, and a pointer says which one is shown."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from echoseg.web.accounts import Reader
from echoseg.web.records import DecisionRow, EditRow, ReadRow
from echoseg.web.refusal import Refusal

STALE = "This reading has changed since it was shown; it is shown anew."


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The edits of a reading.

    Attributes:
        parents: Parent of each edit by its number; 0: the network's result.
        head: The edit that is shown; 0: the network's result.
    """

    parents: dict[int, int]
    head: int

    def chain(self, revision: int) -> list[int]:
        """Edits from the first to one."""
        edits = []
        while revision:
            edits.append(revision)
            revision = self.parents[revision]
        return edits[::-1]

    def newest_child(self, revision: int) -> int | None:
        """The edit that redo shows; None where there is none."""
        return max(
            (one for one, parent in self.parents.items() if parent == revision), default=None
        )


def reads_of(session: Session, clip: str, *, lock: bool = False) -> dict[int, ReadRow]:
    """The readings of a clip by their slot; one that has no edit yet is not there."""
    chosen = select(ReadRow).where(ReadRow.clip == clip)
    return {row.slot: row for row in session.scalars(chosen.with_for_update() if lock else chosen)}


def begin_read(session: Session, clip: str, slot: int, reader: str) -> ReadRow:
    """A new reading."""
    row = ReadRow(clip=clip, slot=slot, reader=reader, begun_s=time.time())
    session.add(row)
    session.flush()
    return row


def line_of(session: Session, row: ReadRow | None) -> Line:
    """The edits of a reading, without their masks."""
    if row is None:
        return Line(parents={}, head=0)
    edits = session.execute(select(EditRow.id, EditRow.parent).where(EditRow.read == row.id))
    return Line(parents={one: parent or 0 for one, parent in edits}, head=row.head or 0)


def masks_of(session: Session, edits: Sequence[int]) -> list[tuple[int, bytes, str]]:
    """Number, changed masks and parameters of some edits, in their order."""
    chosen = select(EditRow.id, EditRow.frames, EditRow.parameters)
    rows = session.execute(chosen.where(EditRow.id.in_(edits)))
    known = {one: (one, frames, parameters) for one, frames, parameters in rows}
    return [known[one] for one in edits]


def check_current(row: ReadRow | None, revision: int) -> None:
    """Refuse a change of a revision that is not shown any more, or of a signed reading.

    Raises:
        Refusal: With 409.
    """
    if row is not None and row.decision:
        raise Refusal(409, "This reading is signed; reopen it, with a reason, to change it.")
    if ((row.head or 0) if row is not None else 0) != revision:
        raise Refusal(409, STALE)


def add_edit(session: Session, row: ReadRow, reader: Reader, **fields: Any) -> EditRow:
    """Add an edit after the one that is shown, and show it."""
    edit = EditRow(read=row.id, parent=row.head, account=reader.name, time_s=time.time(), **fields)
    session.add(edit)
    session.flush()
    row.head = edit.id
    return edit


def history_of(session: Session, row: ReadRow | None) -> list[dict[str, Any]]:
    """All edits and decisions of a reading, the first one first."""
    if row is None:
        return []
    edits = session.scalars(select(EditRow).where(EditRow.read == row.id)).all()
    signatures = session.scalars(select(DecisionRow).where(DecisionRow.read == row.id)).all()
    rows: list[tuple[EditRow | DecisionRow, int, int, str]] = [
        (one, one.id, one.parent or 0, one.operation) for one in edits
    ]
    rows += [(one, one.head or 0, one.head or 0, one.decision) for one in signatures]
    return [
        {
            "revision": revision,
            "parent": parent,
            "account": one.account,
            "time": one.time_s,
            "reason": one.reason,
            "operation": operation,
        }
        for one, revision, parent, operation in sorted(rows, key=lambda row: row[0].time_s)
    ]
