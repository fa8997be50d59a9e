"""Agreement of first and second reads, and the interval that it gives a reader's EF."""

from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from echoseg.inference.ef_statement import EfStatement
from echoseg.metrics.agreement import LIMITS_SD, agreement, icc_interval
from echoseg.quality.reliability import EfInterval
from echoseg.web.reading.decisions import signed_pairs
from echoseg.web.reading_messages import AgreementAnswer, ReaderAgreement
from echoseg.web.records import ReadRow

MIN_PAIRS = 20
"""Pairs from which a corrected EF has the limits of agreement as its interval."""
QUANTITIES = ("ef_percent", "edv_ml", "esv_ml")


def reader_agreement(session: Session) -> AgreementAnswer:
    """The statistics of all clips that were read twice."""
    pairs = signed_pairs(session)
    two = select(ReadRow.clip).where(ReadRow.decision == "accepted")
    two = two.group_by(ReadRow.clip).having(func.count() == 2)
    num_pairs = len(session.scalars(two).all())
    values: dict[str, Any] = {
        name: compare_reads([(getattr(a, name), getattr(b, name)) for a, b in pairs])
        for name in QUANTITIES
    }
    return AgreementAnswer(num_reopened=num_pairs - len(pairs), **values)


def compare_reads(pairs: list[tuple[float | None, float | None]]) -> ReaderAgreement:
    """The statistics of pairs of values; those with a missing one are left out."""
    known = np.array([pair for pair in pairs if None not in pair], float)
    if not len(known):
        return ReaderAgreement(n=0)
    result, interval = agreement(known[:, 0], known[:, 1]), icc_interval(known)
    low, high = result.limits or (None, None)
    return ReaderAgreement(
        n=result.n,
        icc=result.icc,
        icc_low=interval[0] if interval else None,
        icc_high=interval[1] if interval else None,
        bias=result.bias,
        sd=result.sd,
        limit_low=low,
        limit_high=high,
    )


def with_limits(ef: EfStatement, result: ReaderAgreement) -> EfStatement:
    """A corrected EF with the limits of agreement as its interval, where enough pairs give them."""
    if ef.kind != "plain" or ef.ef_percent is None or result.n < MIN_PAIRS or result.sd is None:
        return ef
    reach = LIMITS_SD * result.sd
    interval = EfInterval(
        low_percent=max(0.0, ef.ef_percent - reach),
        high_percent=min(100.0, ef.ef_percent + reach),
        level_percent=95.0,
        expected_error_points=result.sd,
        source=f"limits of agreement of two readers on {result.n} clips of this page",
    )
    return ef.model_copy(update={"interval": interval})
