"""The main job: a clip in, masks and measurements out.

Frames are cropped to the ultrasound sector, what lies outside it is blanked, and the crop is
letterboxed (never squeezed) into the network's square; logits are brought back to the clip's own
grid before the argmax. Stray pieces are then taken away, once, before anything is measured or
drawn: the masks that are drawn and stored are those that were measured.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.clip import Annotation, Clip, ClipWarning, Label, View
from echoseg.errors import ConfigError, EchosegError, MeasurementError
from echoseg.inference.backends.base import InferenceSession, each_frame
from echoseg.inference.backends.select import AUTO, check_name, open_session, select_backend
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import check_masks, measure_masks
from echoseg.measure.measurement import Measurement
from echoseg.models.checkpoint import DEFAULT_MODEL, Checkpoint, load_checkpoint
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.sector import Sector, find_sector, sector_gain
from echoseg.quality.conformal import load_calibration

if TYPE_CHECKING:  # torch takes a second to import
    import torch

    from echoseg.preprocess.letterbox import Letterbox
    from echoseg.quality.assess import ClipReliability
    from echoseg.quality.view_classifier import ViewPrediction

PLAIN = "torch f32"
"""The runtime that all others are checked against."""
SUPPORTED_VIEWS = (View.A4C,)
"""Views that the networks were trained on."""
APICAL_VIEWS = (View.A4C, View.A2C, View.ALAX)
"""Views that show the long axis from annulus to apex."""

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """Which network made the masks.

    Attributes:
        name: Name under which `echoseg models` lists it, or the file's stem.
        sha256: Hash of the weights file, hex.
        licence: SPDX name of the weights' licence.
        notice: One line to be printed at every run; empty when none is needed.
    """

    name: str
    sha256: str
    licence: str
    notice: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Analysis:
    """Masks and measurements of one clip.

    Attributes:
        clip: What was analysed.
        masks: Label map on the clip's own grid, `T H W` uint8, values of `anatomy.Label`; one
            cavity and one atrium a frame, just as they were measured.
        measurement: Numbers read off the masks.
        model: Which network made the masks; None where they were given.
        timing_s: Seconds spent by stage.
        trust: How far the EF may be believed; None without an EF or without a network.
        seen: Which view the pictures show; None without a network.
        runtime: What ran the network, and in which precision.
    """

    clip: Clip
    masks: np.ndarray
    measurement: Measurement
    model: ModelCard | None
    timing_s: dict[str, float] = field(default_factory=dict)
    trust: "ClipReliability | None" = None
    seen: "ViewPrediction | None" = None
    runtime: str = PLAIN

    @property
    def warnings(self) -> tuple[ClipWarning, ...]:
        """Everything a reader of the numbers must know, what forbids to trust them first."""
        view = _view_warnings(self.clip.view) if self.model else _apical_warnings(self.clip.view)
        trust = self.trust.warnings if self.trust else ()
        if self.seen is not None:
            view = self.seen.warnings(self.clip.view, SUPPORTED_VIEWS) + view
        return trust + view + self.clip.warnings + self.measurement.warnings

    @property
    def notes(self) -> tuple[ClipWarning, ...]:
        """How the numbers were read, where nothing is amiss."""
        told = ()
        if self.runtime != PLAIN:
            message = f"the network ran on {self.runtime}; its masks were checked against torch's"
            told = (ClipWarning(code="runtime", message=message),)
        return self.measurement.notes + told


def _view_warnings(view: View) -> tuple[ClipWarning, ...]:
    """Return a warning unless the view is one that the networks know."""
    if view in SUPPORTED_VIEWS:
        return ()
    known = ", ".join(SUPPORTED_VIEWS)
    if view == View.UNKNOWN:
        message = (
            f"nobody says the view, and the check of it is rough: the networks know {known} "
            "(apical four-chamber) alone, and on any other view masks and numbers mean nothing. "
            f"Pass --view {known} once you have seen that it is"
        )
        return (ClipWarning(code="view_unknown", message=message),)
    message = (
        f"the view is {view}, which the networks have never seen: they know {known} (apical four-"
        "chamber) alone, so masks and numbers are not to be trusted. Give an "
        f"{known} clip"
    )
    return (ClipWarning(code="view_not_learnt", message=message),)


def _apical_warnings(view: View) -> tuple[ClipWarning, ...]:
    """Return a warning where masks that were given are not known to be of an apical view."""
    if view in APICAL_VIEWS:
        return ()
    message = (
        f"the view is {view}: disks along the long axis give a volume in apical views alone "
        f"({', '.join(APICAL_VIEWS)}). Pass --view once you know it is one"
    )
    return (ClipWarning(code="view_not_apical", message=message),)


def choose_device(device: str = "auto") -> str:
    """Return the torch device for `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        EchosegError: If the device is unknown or not on this machine.
    """
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, is_there in present.items() if is_there)
    if device not in present:
        raise EchosegError(f"device must be auto, cpu, cuda or mps, got {device!r}")
    if not present[device]:
        raise EchosegError(
            f"device {device} is not available to torch on this machine; use --device auto"
        )
    return device


class Analyzer:
    """A loaded model that analyses one clip after another.

    Args:
        model: Name of a shipped checkpoint or path of one.
        device: `auto`, `cpu`, `cuda` or `mps`.
        runtime: Key of `runtime.choose.RUNTIMES`, or `auto`: the fastest on this machine. All but
            `torch` run on the CPU, with as many threads as torch has.

    Raises:
        ModelError: If the checkpoint cannot be loaded, or the runtime gives other masks.
        ConfigError: If the runtime is unknown, not installed or not of that device.
        EchosegError: If the device is not there.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, device: str = "auto", runtime: str = "torch"
    ) -> None:
        from echoseg.quality.view_net import load_view_net, view_weights

        start = time.perf_counter()
        self.stepper = _stepper(model, device, runtime)
        self.device = choose_device(device) if self.stepper is None else "cpu"
        self.network: Any
        self.network, self.checkpoint = load_checkpoint(model, device=self.device)
        self.calibration = load_calibration(self.checkpoint.path, self.checkpoint.sha256)
        self.view_check = load_view_net(view_weights(self.checkpoint.path))
        self.load_time_s = time.perf_counter() - start

    @property
    def model_card(self) -> ModelCard:
        """Which network this is."""
        return model_card(self.checkpoint)

    def analyze(
        self, clip: Clip, *, smoothing: bool = True, progress: Progress | None = None
    ) -> Analysis:
        """Return masks and measurements of a clip; `smoothing` as in `measure_masks`.

        Raises:
            MeasurementError: If nothing in the picture moves, so that there is no ultrasound
                sector to look at.
        """
        from echoseg.quality.view_classifier import predict_view

        times = {"load_model": self.load_time_s}
        start = time.perf_counter()
        sector = find_sector(clip)
        if sector is None:
            raise MeasurementError(
                f"no ultrasound sector found in {clip.source or 'the clip'}: no region of the "
                f"picture changes over its {clip.num_frames} frames; give a moving echo clip"
            )
        times["find_sector"] = time.perf_counter() - start
        start = time.perf_counter()
        masks = clean_masks(self.segment(clip, sector, progress=progress))
        times["segment"] = time.perf_counter() - start
        start = time.perf_counter()
        measurement = measure_masks(
            masks,
            spacing_mm=clip.spacing_mm,
            times_s=clip.times_s,
            r_wave_times_s=clip.r_wave_times_s,
            smoothing=smoothing,
        )
        times["measure"] = time.perf_counter() - start
        start = time.perf_counter()
        trust = self._trust(clip, sector, masks, measurement)
        times["trust"] = time.perf_counter() - start
        start = time.perf_counter()
        seen = predict_view(clip.frames, sector, *self.view_check)
        times["view"] = time.perf_counter() - start
        return Analysis(
            clip=clip,
            masks=masks,
            measurement=measurement,
            model=self.model_card,
            timing_s=times,
            trust=trust,
            seen=seen,
            runtime=self.stepper.name if self.stepper else PLAIN,
        )

    def _trust(
        self, clip: Clip, sector: Sector, masks: np.ndarray, found: Measurement
    ) -> "ClipReliability | None":
        """Return how far the EF may be believed, by the ED and ES it was read from."""
        if found.ef_percent is None or found.ed_frame is None or found.es_frame is None:
            return None
        import torch

        from echoseg.quality.assess import clip_trust

        ends = [found.ed_frame, found.es_frame]
        _, squares = self.squares(clip, sector, ends)
        return clip_trust(
            self.network,
            torch.cat(list(squares)),
            clip.frames[ends],
            masks[ends],
            ef_percent=found.ef_percent,
            sector=sector.mask,
            calibration=self.calibration,
        )

    def segment(
        self, clip: Clip, sector: Sector, *, progress: Progress | None = None
    ) -> np.ndarray:
        """Return the network's own label map `T H W` uint8 on the clip's grid, not cleaned."""
        if self.stepper is not None:
            return _stepped(self.stepper, clip, sector, progress)
        import torch

        from echoseg.models.windows import each_frame
        from echoseg.preprocess.letterbox_torch import unletterbox

        masks = np.zeros(clip.frames.shape, np.uint8)
        letterbox, squares = self.squares(clip, sector)
        with torch.inference_mode():
            for index, logits in enumerate(each_frame(self.network, squares)):
                masks[index] = unletterbox(logits.float().cpu(), letterbox, clip.size)[0].numpy()
                if progress is not None:
                    progress(index + 1, clip.num_frames)
        return masks

    def squares(
        self, clip: Clip, sector: Sector, chosen: list[int] | None = None
    ) -> "tuple[Letterbox, Iterator[torch.Tensor]]":
        """Return the network's view of a clip: the letterbox, and frames `1 1 S S` in [0, 1].

        `chosen` are the frames asked for, all by default.
        """
        import torch

        from echoseg.preprocess.letterbox import letterbox_for
        from echoseg.preprocess.letterbox_torch import letterbox_frames

        letterbox = letterbox_for(sector.box, self.checkpoint.card.image_size)
        gain = sector_gain(clip, sector)

        def frames() -> Iterator[torch.Tensor]:
            for frame in clip.frames if chosen is None else clip.frames[chosen]:
                grey = np.where(sector.mask, frame, 0).astype(np.float32) / 255
                square = letterbox_frames(torch.from_numpy(grey)[None] * gain, letterbox).clamp(
                    0, 1
                )
                yield square[:, None].to(self.device)

        return letterbox, frames()


def _stepper(model: str, device: str, runtime: str) -> InferenceSession | None:
    """Return the runtime asked for; None for plain torch, which the Analyzer runs itself."""
    check_name(runtime)
    if runtime == "torch" or (runtime == AUTO and choose_device(device) != "cpu"):
        return None
    if device not in ("auto", "cpu"):
        raise ConfigError(f"runtime {runtime} runs on the CPU; leave --device {device} out")
    import torch

    num_threads = torch.get_num_threads()
    name = select_backend(model, num_threads=num_threads).runtime if runtime == AUTO else runtime
    return None if name == "torch" else open_session(model, name, num_threads=num_threads)


def _stepped(
    stepper: InferenceSession, clip: Clip, sector: Sector, progress: Progress | None
) -> np.ndarray:
    """Return the label map `T H W` uint8 that a stepper gives, on the clip's grid."""
    lens = FrameTransform(clip.size, stepper.size_px, sector=sector, gain=sector_gain(clip, sector))
    masks = np.zeros(clip.frames.shape, np.uint8)
    for index, logits in enumerate(each_frame(stepper, map(lens.show, clip.frames))):
        masks[index] = lens.read(logits)
        if progress is not None:
            progress(index + 1, clip.num_frames)
    return masks


def model_card(checkpoint: Checkpoint) -> ModelCard:
    """Return what a report says of a checkpoint."""
    return ModelCard(
        name=checkpoint.name,
        sha256=checkpoint.sha256,
        licence=checkpoint.card.licence,
        notice=checkpoint.card.notice,
    )


def analyze_masks(clip: Clip, masks: np.ndarray, *, smoothing: bool = True) -> Analysis:
    """Measure masks `T H W` uint8 that another tool made of a clip; stray pieces are taken away.

    Where no frame has wall or atrium, the masks are taken for tracings of the cavity alone.

    Raises:
        MeasurementError: If `masks` are no label maps.
        ArgumentError: If they are not of the clip's size.
    """
    check_masks(masks)
    Annotation(masks=masks).check_fits(clip)
    start = time.perf_counter()
    kept = clean_masks(masks)
    found = measure_masks(
        kept,
        spacing_mm=clip.spacing_mm,
        times_s=clip.times_s,
        r_wave_times_s=clip.r_wave_times_s,
        smoothing=smoothing,
        cavity_only=not (masks > Label.LV_CAVITY).any(),
    )
    times = {"measure": time.perf_counter() - start}
    return Analysis(clip=clip, masks=kept, measurement=found, model=None, timing_s=times)


def analyze(
    clip: Clip,
    *,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    progress: Progress | None = None,
) -> Analysis:
    """Segment a clip and measure it.

    To analyse many clips, make one `Analyzer` and keep it.

    Args:
        clip: What was filmed, as `open_clip` returns it.
        model: Name of a shipped checkpoint (`camus`, `phantom`) or path of a .safetensors file.
        device: `auto`, `cpu`, `cuda` or `mps`.
        progress: Called with (frames done, frames in all).

    Returns:
        Masks on the clip's own grid and what is read off them. Where no EF can be given,
        `measurement.refusal` says why.

    Raises:
        ModelError: If the checkpoint cannot be loaded.
        MeasurementError: If the clip shows no moving ultrasound sector.
    """
    return Analyzer(model, device).analyze(clip, progress=progress)
