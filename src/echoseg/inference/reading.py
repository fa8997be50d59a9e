"""What a reader made of an analysis: who, when, and what the network itself had stated."""

import os
from datetime import UTC, date, datetime
from typing import Literal

from echoseg.inference.ef_statement import EfStatement
from echoseg.measure.measurement import FrozenModel


class Reading(FrozenModel):
    """A reading of a clip by a person; its numbers are those of the report that holds it.

    Attributes:
        reader: Name of the reader, or of the account.
        read_on: Day of the signature, ISO 8601; empty where it is not signed.
        decision: `accepted` or `rejected`; empty where it is not signed.
        reason: The reader's words.
        is_corrected: The reader changed something that the numbers rest on.
        network_ef: What the network's own result states.
        network: Name of that network.
        network_sha256: Hash of its weights.
    """

    reader: str
    read_on: str = ""
    decision: Literal["accepted", "rejected", ""] = ""
    reason: str = ""
    is_corrected: bool = False
    network_ef: EfStatement
    network: str = ""
    network_sha256: str = ""


def today() -> str:
    """The day, ISO 8601; that of SOURCE_DATE_EPOCH where it is set, so that bytes are the same.

    Reference:
        https://reproducible-builds.org/specs/source-date-epoch
    """
    stated = os.environ.get("SOURCE_DATE_EPOCH", "")
    if stated.isdecimal():
        return datetime.fromtimestamp(int(stated), UTC).date().isoformat()
    return date.today().isoformat()
