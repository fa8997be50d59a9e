"""What a tool answers: numbers that may be stated, in words too, and nothing about the patient."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from echoseg.files import read_json
from echoseg.report.figures import content
from echoseg.report.schema import DISCLAIMER, Report, ef_statement
from echoseg.report.writer import MARK


class Answer(BaseModel):
    """A result of one clip.

    Attributes:
        statement: The EF as every report states it, such as `EF 56 %` or `EF not reliable`.
        reason: Why it is not reliable, or why there is none; empty otherwise.
        ef_percent: Null where it may not be stated, as are all values of the same masks.
        ef_interval_percent: Calibrated interval.
        ef_grade: Class of the EF, as far as the interval allows.
        edv_ml: End-diastolic volume.
        esv_ml: End-systolic volume.
        heart_rate_bpm: Heart rate.
        num_beats: Whole beats in the means.
        view: The view that the clip or the user states.
        num_frames: Frames of the clip.
        frame_rate_hz: Frame rate.
        warnings: What qualifies the numbers, in sentences.
        result: Folder of masks, report and tables.
        disclaimer: That this is research software.
    """

    model_config = ConfigDict(frozen=True)

    statement: str
    reason: str
    ef_percent: float | None
    ef_interval_percent: tuple[float, float] | None
    ef_grade: str
    edv_ml: float | None
    esv_ml: float | None
    heart_rate_bpm: float | None
    num_beats: int | None
    view: str
    num_frames: int
    frame_rate_hz: float | None
    warnings: list[str]
    result: str
    disclaimer: str = DISCLAIMER


class Explanation(Answer):
    """An `Answer` with what it rests on.

    Attributes:
        facts: Clip, model and software, by name.
        beats: EF, volumes, ED and ES of each beat.
        limits: What to check and what to do, in sentences.
        origin: What made the masks.
    """

    facts: dict[str, str]
    beats: list[dict[str, Any]]
    limits: list[str]
    origin: str


def read_report(folder: Path) -> Report | None:
    """The report of a result folder of one clip; None where there is none.

    Raises:
        OutputError: If it is damaged.
    """
    return read_json(folder / MARK, Report, "analyze the clip again")


def answer(report: Report, folder: Path) -> Answer:
    """The answer of a report."""
    ef, values = ef_statement(report), report.results
    is_stated = ef.ef_percent is not None
    return Answer(
        statement=ef.text,
        reason=ef.reason,
        ef_percent=ef.ef_percent,
        ef_interval_percent=(
            (ef.interval.low_percent, ef.interval.high_percent) if ef.interval else None
        ),
        ef_grade=ef.grade,
        edv_ml=values.edv_ml if is_stated else None,
        esv_ml=values.esv_ml if is_stated else None,
        heart_rate_bpm=values.heart_rate_bpm if is_stated else None,
        num_beats=values.num_beats if is_stated else None,
        view=report.input.view,
        num_frames=report.input.num_frames,
        frame_rate_hz=report.input.frame_rate_hz,
        warnings=[warning.message for warning in report.warnings],
        result=str(folder),
    )


def explanation(report: Report, folder: Path) -> Explanation:
    """The answer of a report, and what it rests on."""
    base = answer(report, folder)
    names = {"Study", "Acquired", "Clip"}  # may identify a patient
    facts = {str(name): str(value) for name, value in content.facts(report) if name not in names}
    is_stated = base.ef_percent is not None
    beats = [beat.model_dump(mode="json") for beat in report.results.beats] if is_stated else []
    alerts = content.alerts(report.warnings, report.results.refusal)
    return Explanation(
        **base.model_dump(),
        facts=facts,
        beats=beats,
        limits=[*alerts, *content.reading_lines(report)],
        origin=content.provenance(report),
    )
