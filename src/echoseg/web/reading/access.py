"""Who may see and change which reading, so that a second read is blinded.

Slot 1 is the first read; any reader may correct it. Slot 2 is the second one: its reader never
opened the first read of this clip, and until the second is signed sees nothing of it; nor does
anyone else see the second. Who opened a first read is kept (`SeenRow`).

Where each clip is read twice (`PageSettings.double_read`), only its own reader sees a first read
until the second one is signed: who else opens the clip begins the second.
"""

from dataclasses import dataclass
from typing import Literal

from sqlalchemy.orm import Session

from echoseg.web.accounts import Reader
from echoseg.web.records import EditRow, ReadRow, SeenRow
from echoseg.web.refusal import Refusal

FIRST, SECOND = 1, 2
Slot = Literal[1, 2]
Reads = dict[int, ReadRow]
"""The readings of a clip by their slot."""
_BLINDED = "You read this clip as the second reader: the first read is shown once yours is signed."
_NOT_YOURS = "The second read of this clip is another reader's; it is shown once it is signed."
_TWICE = (
    "Another reader reads this clip first, and each is read twice: load the page again to do the "
    "blinded second read."
)
_NOT_BLINDED = (
    "You have seen the first read of this clip, so that a second one by you would not be blinded; "
    "let another reader do it."
)


@dataclass(frozen=True, kw_only=True)
class Access:
    """What readers may see and change.

    Attributes:
        double_read: Whether each clip is read twice.
    """

    double_read: bool

    def slot(self, session: Session, reads: Reads, reader: Reader) -> Slot:
        """The read of a clip that a reader opens: the second where the first is hidden."""
        return SECOND if self._hidden_because(session, reads, reader) else FIRST

    def check_may_see(self, session: Session, reads: Reads, slot: int, reader: Reader) -> None:
        """Refuse to show a reading that is hidden from a reader.

        Args:
            session: The transaction.
            reads: The readings of the clip.
            slot: The one that is asked for.
            reader: Who asks.

        Raises:
            Refusal: With 403; with 409, if there is no first read to do the second of.
        """
        if slot == FIRST:
            if why := self._hidden_because(session, reads, reader):
                raise Refusal(403, why)
            return
        second = reads.get(SECOND)
        is_own = second is not None and second.reader == reader.name
        if second is None:
            _check_may_begin(session, reads.get(FIRST), reader)
        elif not second.decision and not is_own:
            raise Refusal(403, _NOT_YOURS)
        elif not is_own and _is_first_open(reads.get(FIRST), reader):
            raise Refusal(403, "Sign the first read before the second one is shown to you.")

    def check_may_change(self, session: Session, reads: Reads, slot: int, reader: Reader) -> None:
        """Refuse a change of a reading by a reader; arguments and errors as of `check_may_see`."""
        self.check_may_see(session, reads, slot, reader)
        second = reads.get(SECOND)
        if slot == SECOND and second is not None and second.reader != reader.name:
            raise Refusal(403, "Only its own reader may change a second read.")
        if slot == FIRST and second is not None and second.reader == reader.name:
            raise Refusal(403, "You are the second reader of this clip; another one corrects it.")

    def is_hidden(self, second: str | None) -> bool:
        """Whether the worklist shows the network's result in place of the first read.

        Args:
            second: Decision of the second read, empty while it goes on; None where there is none.
        """
        return self.double_read if second is None else not second

    def _hidden_because(self, session: Session, reads: Reads, reader: Reader) -> str:
        """Why a reader may not see the first read of a clip; empty if they may."""
        first, second = reads.get(FIRST), reads.get(SECOND)
        if second is not None:
            return _BLINDED if second.reader == reader.name and not second.decision else ""
        if not self.double_read or first is None or _has_seen(session, first, reader):
            return ""
        return _TWICE


def note_seen(session: Session, clip: str, row: ReadRow | None, reader: Reader) -> None:
    """Keep that a reader saw a first read with edits."""
    if row is not None and session.get(SeenRow, (clip, reader.name)) is None:
        session.add(SeenRow(clip=clip, account=reader.name))


def _check_may_begin(session: Session, first: ReadRow | None, reader: Reader) -> None:
    if first is None:
        raise Refusal(409, "The first read of this clip has not begun; begin with it.")
    if _has_seen(session, first, reader):
        raise Refusal(403, _NOT_BLINDED)


def _has_seen(session: Session, first: ReadRow, reader: Reader) -> bool:
    """Whether a first read is a reader's own, or was shown to them."""
    edits = session.query(EditRow.id).filter_by(read=first.id, account=reader.name)
    is_own = first.reader == reader.name or edits.first() is not None
    return is_own or session.get(SeenRow, (first.clip, reader.name)) is not None


def _is_first_open(first: ReadRow | None, reader: Reader) -> bool:
    return first is not None and first.reader == reader.name and not first.decision
