"""Who may see and change which reading, so that a second read is blinded.

Slot 1 is the first read; any reader may correct it. Slot 2 is the second one: its reader never
opened the first read of this clip, and until the second is signed sees nothing of it; nor does
anyone else see the second. Who opened a first read is kept (`SeenRow`).
"""

from sqlalchemy.orm import Session

from echoseg.web.accounts import Reader
from echoseg.web.records import EditRow, ReadRow, SeenRow
from echoseg.web.refusal import Refusal

FIRST, SECOND = 1, 2
_BLINDED = "You read this clip as the second reader: the first read is shown once yours is signed."
_NOT_YOURS = "The second read of this clip is another reader's; it is shown once it is signed."
_NOT_BLINDED = (
    "You have seen the first read of this clip, so that a second one by you would not be blinded; "
    "let another reader do it."
)


def check_may_see(
    session: Session, reads: dict[int, ReadRow], clip: str, slot: int, reader: Reader
) -> None:
    """Refuse to show a reading that is hidden from a reader.

    Args:
        session: The transaction.
        reads: The readings of the clip.
        clip: Its id.
        slot: The reading that is asked for.
        reader: Who asks.

    Raises:
        Refusal: With 403.
    """
    second = reads.get(SECOND)
    is_own = second is not None and second.reader == reader.name
    is_open = second is not None and not second.decision
    if slot == FIRST and is_open and is_own:
        raise Refusal(403, _BLINDED)
    if slot == SECOND:
        if second is None:
            _check_may_begin(session, reads.get(FIRST), clip, reader)
        elif is_open and not is_own:
            raise Refusal(403, _NOT_YOURS)
        elif not is_own and _is_first_open(reads.get(FIRST), reader):
            raise Refusal(403, "Sign the first read before the second one is shown to you.")


def check_may_change(
    session: Session, reads: dict[int, ReadRow], clip: str, slot: int, reader: Reader
) -> None:
    """Refuse a change of a reading by a reader; arguments as of `check_may_see`.

    Raises:
        Refusal: With 403.
    """
    check_may_see(session, reads, clip, slot, reader)
    second = reads.get(SECOND)
    if slot == SECOND and second is not None and second.reader != reader.name:
        raise Refusal(403, "Only its own reader may change a second read.")
    if slot == FIRST and second is not None and second.reader == reader.name:
        raise Refusal(403, "You are the second reader of this clip; another reader corrects it.")


def note_seen(session: Session, clip: str, row: ReadRow | None, reader: Reader) -> None:
    """Keep that a reader saw a first read with edits."""
    if row is not None and session.get(SeenRow, (clip, reader.name)) is None:
        session.add(SeenRow(clip=clip, account=reader.name))


def _check_may_begin(session: Session, first: ReadRow | None, clip: str, reader: Reader) -> None:
    if first is None:
        raise Refusal(409, "The first read of this clip has not begun; begin with it.")
    edits = session.query(EditRow.id).filter_by(read=first.id, account=reader.name)
    is_own = first.reader == reader.name or edits.first() is not None
    if is_own or session.get(SeenRow, (clip, reader.name)) is not None:
        raise Refusal(403, _NOT_BLINDED)


def _is_first_open(first: ReadRow | None, reader: Reader) -> bool:
    return first is not None and first.reader == reader.name and not first.decision
