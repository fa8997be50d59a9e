"""Log of a node: one JSON object per line, without what identifies a patient.

Studies and instances are named by keyed hashes, peers by AE title and address.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("echoseg.node")


def log_event(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Log what happened.

    Args:
        event: What, a few words that are always the same.
        level: One of `logging`.
        **fields: Numbers, names by keyed hash, AE titles, reasons in our own words.
    """
    if LOGGER.isEnabledFor(level):
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": now, "level": logging.getLevelName(level).lower(), "event": event}
        LOGGER.log(level, json.dumps(line | fields, default=str))
