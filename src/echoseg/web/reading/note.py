"""What a report says of its reader: who read the clip, what was decided, what was the network's."""

from datetime import UTC, datetime

from echoseg.inference.reading import Reading
from echoseg.web.reading.opened import OpenedClip
from echoseg.web.reading.state import State
from echoseg.web.records import ReadRow


def report_note(opened: OpenedClip, state: State, row: ReadRow | None) -> Reading | None:
    """The reading in a report; None where no person has read the clip.

    Args:
        opened: The network's result.
        state: The reading as it is shown.
        row: Its row.
    """
    if row is None:
        return None
    model, signed = opened.report.model, row.signed_s
    return Reading(
        reader=row.signed_by or row.reader,
        read_on=datetime.fromtimestamp(signed, UTC).date().isoformat() if signed else "",
        decision=row.decision,  # type: ignore[arg-type]  # the column holds these texts only
        reason=row.reason,
        is_corrected=state.parameters.are_numbers_changed,
        network_ef=opened.network_ef,
        network=model.name if model else "",
        network_sha256=model.sha256 if model else "",
    )
