"""The network's result of a clip, as a reading begins with it."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from echoseg.clip import Clip, View
from echoseg.data.images import read_labels
from echoseg.errors import ModelError
from echoseg.inference.clip_measurement import usable_spacing_mm
from echoseg.inference.ef_statement import EfStatement
from echoseg.io.arbitration import restate
from echoseg.io.frames import OpenOptions
from echoseg.measure.frame import measure_each
from echoseg.preprocess.sector import BURNED_IN, Sector, find_sector
from echoseg.quality.conformal import Calibration, load_calibration
from echoseg.report.schema import Report, ef_statement
from echoseg.web.analysis import MASKS, RESULT, read_result
from echoseg.web.api import FrameContours
from echoseg.web.cine import Cine, read_cine, read_frames
from echoseg.web.curves import Curves
from echoseg.web.reading.contours import remember
from echoseg.web.reading.state import Parameters, State
from echoseg.web.records import ClipRow, ClipState
from echoseg.web.refusal import Refusal
from echoseg.weights.card import ModelCard, find_checkpoint, read_card


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedClip:
    """A clip of the worklist with its result.

    Attributes:
        id: Its id.
        sha256: Hash of its content.
        folder: Its folder.
        cine: What is known of the clip.
        report: The network's report.
        masks: The network's label maps, `(T, H, W)` uint8.
        card: The network; None where its weights are not on this machine any more.
        calibration: Of its EF interval.
        curves: The curves of its masks, of all frames; empty where they are to be fitted.
    """

    id: str
    sha256: str
    folder: Path
    cine: Cine
    report: Report
    masks: np.ndarray
    card: ModelCard | None
    calibration: Calibration | None
    curves: tuple[FrameContours, ...] = ()

    @cached_property
    def frames(self) -> np.ndarray:
        """Grey frames `T H W` uint8, for optical flow and the sector; JPEG lost a little."""
        return read_frames(self.folder, self.cine)

    @cached_property
    def sector(self) -> Sector | None:
        """The ultrasound sector; None where nothing moves."""
        return find_sector(self.cine.clip(self.frames))

    @cached_property
    def network_ef(self) -> EfStatement:
        """What the network's own result states of the EF."""
        return ef_statement(self.report)

    @cached_property
    def first(self) -> State:
        """The network's result as revision 0."""
        parameters = Parameters()
        spacing_mm = self.spacing_mm(parameters)
        frames = measure_each(self.masks, spacing_mm)
        if spacing_mm == self.cine.spacing_mm:  # which the worker measured with
            for frame, one in zip(frames, self.curves, strict=False):
                remember(frame, one.contours)
        return State(revision=0, frames=frames, parameters=parameters)

    def depth_sector(self, parameters: Parameters) -> Sector | None:
        """The sector, where the depth it gives by the pixel spacing is to be checked."""
        is_off = any(one.code == "implausible_depth" for one in self.report.warnings)
        return self.sector if is_off or parameters.spacing_mm is not None else None

    def spacing_mm(self, parameters: Parameters) -> tuple[float, float] | None:
        """Pixel spacing that frames are measured with."""
        return usable_spacing_mm(self.clip(parameters), self.depth_sector(parameters))

    def clip(self, parameters: Parameters, frames: np.ndarray | None = None) -> Clip:
        """The clip as a reader states it, black without frames.

        Raises:
            EchosegError: If a value is implausible.
        """
        text = tuple(one for one in self.report.warnings if one.code == BURNED_IN)
        view = None if parameters.view is None else View(parameters.view)
        stated = OpenOptions(
            fps=parameters.frame_rate_hz, spacing_mm=parameters.spacing_mm, view=view
        )
        clip = restate(self.cine.clip(frames), stated)
        return replace(clip, warnings=clip.warnings + text)


def open_clip(row: ClipRow, folder: Path) -> OpenedClip:
    """Open the result of a clip.

    Args:
        row: Its row.
        folder: Its folder.

    Raises:
        Refusal: With 409, if it is not analyzed.
        OutputError: If its folder is damaged.
    """
    cine, report = read_cine(folder), read_result(folder)
    if row.state != ClipState.READY or cine is None or report is None:
        raise Refusal(409, "This clip is not analyzed yet; wait until it is ready.")
    shape = (cine.num_frames, cine.rows, cine.columns)
    masks = read_labels(folder / RESULT / MASKS, shape)
    card, curves = _card_of(report), Curves.read(folder)
    is_whole = curves.masks_sha256 == report.files.get(MASKS) and len(curves.frames) == len(masks)
    return OpenedClip(
        id=row.id,
        sha256=row.sha256,
        folder=folder,
        cine=cine,
        report=report,
        masks=masks,
        card=card,
        calibration=card and load_calibration(card.path, card.sha256),
        curves=curves.frames if is_whole else (),
    )


def _card_of(report: Report) -> ModelCard | None:
    """The card of the network of a report, by its name; None where the weights are others now."""
    if report.model is None:
        return None
    try:
        card = read_card(find_checkpoint(report.model.name))
    except ModelError:
        return None
    return card if card.sha256 == report.model.sha256 else None
