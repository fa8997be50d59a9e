"""The result of analysing one clip: masks, measurement, reliability; shown, plotted and saved."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.clip import Annotation, Clip, ClipWarning, Label, View
from echoseg.errors import ArgumentError
from echoseg.files import Replace
from echoseg.inference.clip_measurement import CONTRADICTED_EF, measure_clip
from echoseg.inference.ef_statement import EfStatement, state_ef
from echoseg.inference.reading import Reading, today
from echoseg.measure.clean import clean_masks
from echoseg.measure.geometry import LongAxis
from echoseg.measure.measure import check_masks
from echoseg.measure.measurement import Measurement
from echoseg.measure.messages import CUT_BEAT
from echoseg.measure.stills import measure_ed_es
from echoseg.plugins import resolve
from echoseg.quality.reliability import UNRELIABLE_EF, ClipReliability
from echoseg.quality.view import ViewPrediction, doubtful_view_reason, view_notes, wrong_view_reason
from echoseg.weights.card import ModelCard

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure

REFERENCE_BACKEND = "torch f32"
"""The backend that all others are checked against."""
APICAL_VIEWS = (View.A4C, View.A2C, View.ALAX)
"""Views that show the long axis from annulus to apex."""
UNRELIABLE_CODES = frozenset(
    {
        "do_not_trust",
        "wrong_view",
        "view_doubtful",
        "view_not_learnt",
        "view_unknown",
        "little_motion",
        CONTRADICTED_EF,
        CUT_BEAT,
    }
)
"""Codes of warnings under which an EF is shown as not reliable."""
_NOT_CHECKED = (
    "The reliability of this EF was not checked, neither view nor picture, since the masks are "
    "from another tool: there is no interval and no class."
)
CORRECTED = "corrected_by_reader"
"""Code of the note that a reader corrected the masks."""
CODES_WITH_EF = frozenset({"mean_of_beats", "regularised", "interval_widened"})
"""Codes of notes and warnings about an EF, left out where it is withheld."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Analysis:
    """Masks and measurements of one clip.

    Attributes:
        clip: The clip that was analyzed.
        masks: Label maps on the clip's own grid, `(T, H, W)` uint8, values of `Label`; one cavity
            and one atrium per frame, exactly as measured.
        measurement: Clinical values computed from the masks.
        model: The network that made the masks; None for masks from another tool.
        timing_s: Seconds per stage.
        reliability: How far the EF can be relied on; None without an EF or without a network.
        predicted_view: View predicted from the pictures; None without a network.
        backend: Backend and precision of the network, for instance `torch f32`.
        analyzed_on: Day of the analysis, ISO 8601.
        reading: What a reader made of it; None while it is not read.
        axes_px: Long axis of each mask in pixels, None where it is not known; empty if none is.
    """

    clip: Clip
    masks: np.ndarray
    measurement: Measurement
    model: ModelCard | None
    timing_s: dict[str, float] = field(default_factory=dict)
    reliability: ClipReliability | None = None
    predicted_view: ViewPrediction | None = None
    backend: str = REFERENCE_BACKEND
    analyzed_on: str = field(default_factory=today)
    reading: Reading | None = None
    axes_px: tuple[LongAxis | None, ...] = ()

    @property
    def ef_percent(self) -> float | None:
        """Ejection fraction, mean over the beats; None when there is none, or it is not reliable.

        `ef.reason` says why; `measurement.ef_percent` is what was measured, whatever its worth.
        """
        return self.ef.ef_percent

    @property
    def ef(self) -> EfStatement:
        """What may be stated of the EF: number, interval and class, or why there is none."""
        unsupported = self.model.ef_unsupported_because if self.model else ""
        if unsupported or self.measurement.ef_percent is None:
            return state_ef(None, reason=self.measurement.refusal or unsupported)
        return state_ef(
            self.measurement.ef_percent,
            reliable=self.ef_reliable,
            reason=self.ef_reason,
            interval=self.reliability.interval if self.reliability else None,
            is_part_of_beat=self.measurement.is_part_of_beat,
        )

    @property
    def edv_ml(self) -> float | None:
        """End-diastolic volume; None without a pixel spacing."""
        return self.measurement.edv_ml

    @property
    def esv_ml(self) -> float | None:
        """End-systolic volume; None without a pixel spacing."""
        return self.measurement.esv_ml

    @property
    def warnings(self) -> tuple[ClipWarning, ...]:
        """Everything a reader of the numbers must know, reasons not to rely on them first."""
        view = self._view_warnings()
        reliability = self.reliability.warnings if self.reliability else ()
        warnings = reliability + view + self.clip.warnings + self.measurement.warnings
        if any(warning.code in UNRELIABLE_CODES for warning in warnings):
            return tuple(one for one in warnings if one.code not in CODES_WITH_EF)
        return warnings

    @property
    def notes(self) -> tuple[ClipWarning, ...]:
        """How the numbers were computed, where nothing is wrong."""
        notes = self.measurement.notes
        if self.model is None and self.measurement.ef_percent is not None:
            notes = (ClipWarning(code="reliability_not_checked", message=_NOT_CHECKED), *notes)
        if not self.ef.value:
            notes = tuple(note for note in notes if note.code not in CODES_WITH_EF)
        if self.model and self.predicted_view and not self.wrong_view:
            notes = view_notes(self.clip.view, self.predicted_view, self.model.views) + notes
        if self.backend == REFERENCE_BACKEND:
            return notes
        message = f"The network ran on {self.backend}; its masks were checked against PyTorch's."
        return (*notes, ClipWarning(code="backend", message=message))

    @property
    def wrong_view(self) -> str:
        """Why the clip shows no view that the model supports; empty where it may."""
        if self.model is None:
            return ""
        is_colour = any(warning.code == "colour_doppler" for warning in self.clip.warnings)
        return wrong_view_reason(
            self.clip.view, self.predicted_view, self.model.views, is_colour=is_colour
        )

    def _view_warnings(self) -> tuple[ClipWarning, ...]:
        """A warning where the network, or the method of disks, does not suit the view."""
        view, predicted = self.clip.view, self.predicted_view
        names = " and ".join(self.model.views) if self.model else ", ".join(APICAL_VIEWS)
        if self.model is None:
            if view in APICAL_VIEWS:
                return ()
            code = "view_not_apical"
            message = (
                f"The view is not stated; volumes by disks are valid in apical views only "
                f"({names}). Give --view (view) if the clip shows one."
            )
        elif reason := self.wrong_view:
            code = "wrong_view"
            message = f"{reason[0].upper()}{reason[1:]}. Masks and numbers are not reliable."
        elif predicted and (reason := doubtful_view_reason(view, predicted, self.model.views)):
            code = "view_doubtful"
            message = f"{reason[0].upper()}{reason[1:]}, so masks and numbers are not reliable."
        elif view not in (View.UNKNOWN, *self.model.views):
            code = "view_not_learnt"
            message = (
                f"The view is {view}, but the model was trained on {names} only, so "
                "masks and numbers are not reliable. Use a model that learned it."
            )
        elif view is View.UNKNOWN and (
            predicted is None or not predicted.confirms(view, self.model.views)
        ):
            code = "view_unknown"
            message = (
                "The view is not stated, and the view classifier cannot tell it. The model "
                f"supports {names} only; give --view (view) if you know it."
            )
        else:
            return ()
        return (ClipWarning(code=code, message=message),)

    @property
    def ef_reliable(self) -> bool | None:
        """False if a warning says not to rely on the EF; None if that was not assessed."""
        if self.measurement.ef_percent is None:
            return None
        if any(warning.code in UNRELIABLE_CODES for warning in self.warnings):
            return False
        return True if self.reliability and self.reliability.interval else None

    @property
    def ef_reason(self) -> str:
        """Why the EF is not reliable, in plain sentences; empty where nothing speaks against it."""
        if self.ef_reliable is not False:
            return ""
        reasons = (one.message for one in self.warnings if one.code in UNRELIABLE_CODES)
        return " ".join(dict.fromkeys(one.removeprefix(UNRELIABLE_EF) for one in reasons))

    def plot(self) -> "Figure":
        """Draw the volume curve with ED and ES as a matplotlib figure."""
        return _report("figures.curve:curve_figure")(self)

    def save(self, folder: str | Path, *, force: Replace = False, pdf: bool = False) -> Path:
        """Write masks, overlay video, curve, tables and report, as `echoseg analyze` does.

        Args:
            folder: Result folder of this clip.
            force: Replace a result folder that is as echoseg wrote it; "keep": move it aside.
            pdf: Write `report.pdf` too.

        Returns:
            The absolute path of the folder.

        Raises:
            OutputError: If the folder exists without `force`, holds anything that is not as
                echoseg wrote it, or cannot be written.
        """
        return _report("writer:write_results")(self, Path(folder), force=force, pdf=pdf)

    def to_dict(self) -> dict[str, Any]:
        """The content of `report.json`: JSON types only, rounded, with units in the keys."""
        return _report("schema:build_report")(self).model_dump(mode="json")

    def __repr__(self) -> str:
        """Show EF, volumes, length, view and number of warnings on one line."""
        volumes = (("EDV", self.edv_ml), ("ESV", self.esv_ml)) if self.ef.value else ()
        parts = [self.ef.text]
        parts += [f"{name} {value:.0f} ml" for name, value in volumes if value is not None]
        view = "unknown view" if self.clip.view is View.UNKNOWN else str(self.clip.view)
        count = len(self.warnings)
        parts += [f"{self.clip.num_frames} frames", view, f"{count} warning{'s' * (count != 1)}"]
        return f"Analysis({', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Show the report page, without its video, in a notebook."""
        return _report("figures.page:notebook_html")(self)


def _report(function: str) -> Any:
    """A function of `echoseg.report`, looked up late: the report builds on this module."""
    return resolve(f"echoseg.report.{function}", {}, "report function")


def analyze_masks(
    clip: Clip, masks: np.ndarray, *, smoothing: bool = True, corrected: bool = False
) -> Analysis:
    """Measure masks of a clip that another tool made.

    Stray pieces are removed first. Where no frame has myocardium or atrium, the masks are taken
    for tracings of the cavity alone. Masks of exactly two frames are ED and ES, in that order
    (`measure_ed_es`).

    Args:
        clip: The clip.
        masks: Label maps, `(T, H, W)` uint8.
        smoothing: As in `measure_masks`.
        corrected: A reader corrected the masks; noted in every report.

    Raises:
        MeasurementError: If `masks` are not label maps.
        ArgumentError: If they do not have the clip's shape, or the clip is stated to show a view
            without the ventricle's long axis.
    """
    check_masks(masks)
    if clip.view not in (View.UNKNOWN, *APICAL_VIEWS):
        raise ArgumentError(
            f"--view (view) must be {', '.join(APICAL_VIEWS)} or unknown, got {clip.view}: "
            "volumes by disks need the long axis. State another view only if this one is wrong"
        )
    Annotation(masks=masks).check_fits(clip)
    start = time.perf_counter()
    cleaned = clean_masks(masks)
    cavity_only = not (masks > Label.LV_CAVITY).any()
    if len(masks) == 2:
        measurement = measure_ed_es(*cleaned, spacing_mm=clip.spacing_mm, cavity_only=cavity_only)
    else:
        measurement = measure_clip(clip, cleaned, smoothing=smoothing, cavity_only=cavity_only)
    if corrected:
        note = ClipWarning(code=CORRECTED, message="The masks were corrected by reader.")
        notes = (note, *measurement.notes)
        measurement = measurement.model_copy(update={"notes": notes})
    times = {"measure": time.perf_counter() - start}
    return Analysis(clip=clip, masks=cleaned, measurement=measurement, model=None, timing_s=times)
