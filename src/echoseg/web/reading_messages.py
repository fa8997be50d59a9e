"""What the page and its server say of several readings together, in JSON."""

from typing import Annotated

from pydantic import Field

from echoseg.inference.ef_statement import EfStatement
from echoseg.web.api import Message


class ReaderAgreement(Message):
    """Agreement of first and second reads of one quantity; first minus second, in its unit.

    Attributes:
        n: Number of clips that both accepted, each without seeing the other's read.
        icc: ICC(2,1); None below 2 clips.
        icc_low: Ends of its 95 % interval.
        icc_high: Ends of its 95 % interval.
        bias: Mean of the differences.
        sd: Their standard deviation.
        limit_low: Limits of agreement, bias -+ 1.96 SD.
        limit_high: Limits of agreement.
    """

    n: int
    icc: float | None = None
    icc_low: float | None = None
    icc_high: float | None = None
    bias: float | None = None
    sd: float | None = None
    limit_low: float | None = None
    limit_high: float | None = None


class AgreementAnswer(Message):
    """Inter-reader statistics of the clips of the page that were read twice."""

    ef_percent: ReaderAgreement
    edv_ml: ReaderAgreement
    esv_ml: ReaderAgreement
    num_reopened: int
    """Pairs that are left out: one was reopened after both were signed."""


class TrainingRequest(Message):
    """Write corrected clips as training data to a folder of the server's machine."""

    folder: Annotated[str, Field(min_length=1, max_length=4096)]


class TrainingAnswer(Message):
    """Where training data lie, how many clips, and how many corrected ones are not accepted."""

    folder: str
    num_clips: int
    num_unsigned: int


class Biplane(Message):
    """The A4C and A2C of a study together, as they are read now.

    Attributes:
        clips: Ids of the clips, A4C before A2C; those whose EF is the most reliable. One where the
            study has one plane only, none where it has neither.
        ef: What may be stated of the biplane EF.
        edv_ml: End-diastolic volume.
        esv_ml: End-systolic volume.
        warnings: Sentences to be read before the numbers.
    """

    clips: tuple[str, ...]
    ef: EfStatement
    edv_ml: float | None = None
    esv_ml: float | None = None
    warnings: tuple[str, ...] = ()
