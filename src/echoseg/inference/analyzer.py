"""Segments and measures clips with one loaded network.

Frames are cropped to the ultrasound sector, blanked outside it and letterboxed (never stretched)
into the network's square; logits are resampled to the clip's own grid before the argmax. Stray
pieces are removed once, before anything is measured or drawn: stored masks are exactly those that
were measured.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from echoseg.clip import Clip, View
from echoseg.errors import MeasurementError
from echoseg.frame_store import FrameStore, each
from echoseg.inference.analysis import Analysis
from echoseg.inference.backends.base import InferenceSession
from echoseg.inference.backends.select import choose_device as choose_device
from echoseg.inference.backends.select import open_session
from echoseg.inference.clip_measurement import measure_clip, usable_spacing_mm
from echoseg.io import find_view, load_clip
from echoseg.io.arbitration import restate
from echoseg.io.frames import OpenOptions
from echoseg.measure.clean import clean_mask
from echoseg.measure.frame import measure_each
from echoseg.measure.measurement import Measurement, refused
from echoseg.measure.messages import flag_wall
from echoseg.preprocess.burned_in import text_warnings
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.sector import Sector, find_sector, sector_gain
from echoseg.quality.conformal import load_calibration
from echoseg.quality.reliability import ClipReliability
from echoseg.quality.view import predict_view, wrong_view_reason
from echoseg.quality.view_shape import shape_features
from echoseg.weights.card import DEFAULT_MODEL, find_checkpoint, read_card

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MIN_GAIN = 0.01
"""Gain in the network's mean probability from which a clip is segmented mirrored."""
FORCE_VIEW = "Give an apical clip in grey B-mode, or --force-view (force_view) for an unreliable EF"
WRONG_STATEMENT = "If the stated view is wrong, give --view (view)"
Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""
OnMask = Callable[[np.ndarray], None]
"""Called with the label map `H W` uint8 of one frame after another."""


def segment_frames(
    session: InferenceSession,
    frames: np.ndarray,
    transform: FrameTransform,
    progress: Progress | None = None,
    on_mask: OnMask | None = None,
) -> np.ndarray:
    """Segment a clip: frames `T H W` uint8 -> label maps `T H W` uint8, not cleaned."""
    with FrameStore() as masks:
        for logits in session.run(map(transform.apply, each(frames))):
            mask = transform.invert(logits)
            masks.add(mask)
            if on_mask is not None:
                on_mask(mask)
            if progress is not None:
                progress(masks.num_frames, len(frames))
        return masks.frames()


class ViewScores(NamedTuple):
    """What pictures say of a clip's view, as `quality.view.predict_view` takes it."""

    by_pictures: np.ndarray
    mirrored: float
    is_mirrored: bool


class Analyzer:
    """A loaded network that analyzes one clip after another.

    Args:
        model: Name of a shipped checkpoint, or path of one.
        device: `auto`, `cpu`, `cuda` or `mps`.
        backend: Key of `backends.select.BACKENDS`, or `auto`: the fastest on this machine. All but
            `torch` run on the CPU, with as many threads as torch has.

    Raises:
        ModelError: If the checkpoint cannot be loaded, or the backend gives other masks.
        ConfigError: If the backend is unknown, not installed, or not for that device.
        EchosegError: If the device is not available.
    """

    def __init__(
        self, model: str = DEFAULT_MODEL, device: str = "auto", backend: str = "torch"
    ) -> None:
        import torch

        from echoseg.quality.view_net import load_view_net, view_weights

        start = time.perf_counter()
        self.model_card = read_card(find_checkpoint(model))
        self.session = open_session(
            model, backend, device=device, num_threads=torch.get_num_threads()
        )
        self.calibration = load_calibration(self.model_card.path, self.model_card.sha256)
        self.view_net, view_card = load_view_net(view_weights(self.model_card.path))
        self.view_rule = view_card.rule
        self.load_time_s = time.perf_counter() - start

    @cached_property
    def network(self) -> Any:
        """The network in torch, which reliability needs whatever the backend."""
        from echoseg.models.checkpoint import load_model

        if hasattr(self.session, "network"):
            return self.session.network  # type: ignore[attr-defined]
        return load_model(str(self.model_card.path))[0]

    @cached_property
    def _fused(self) -> Any:
        """The same network, faster on a CPU (`nn.fused`)."""
        from echoseg.nn.fused import fuse

        return fuse(self.network)

    def analyze(  # what to take over, how to measure, and who follows
        self,
        clip: Clip,
        *,
        masks: np.ndarray | None = None,
        smoothing: bool = True,
        force_view: bool = False,
        progress: Progress | None = None,
        on_mask: OnMask | None = None,
    ) -> Analysis:
        """Segment and measure a clip.

        A mirrored A4C is segmented mirrored; its masks are in its own orientation.

        Args:
            clip: The clip.
            masks: Those of an earlier analysis of this clip by the same network, `(T, H, W)` uint8,
                which are measured again; None: the clip is segmented.
            smoothing: See `measure_masks`.
            force_view: Give an EF, not a reliable one, where the clip shows another view.
            progress: Called after each frame.
            on_mask: Called with each frame's mask as the analysis will have it, once it is
                segmented; not with given masks.

        Raises:
            MeasurementError: If nothing in the picture moves, so that no ultrasound sector is
                found.
        """
        times, start = {"load_model": self.load_time_s}, time.perf_counter()

        def lap(stage: str) -> None:
            nonlocal start
            times[stage], start = time.perf_counter() - start, time.perf_counter()

        sector = find_sector(clip)
        if sector is None:
            raise MeasurementError(
                f"no ultrasound sector found in {clip.source or 'the clip'}: {_still(clip)}; give "
                "a moving echo clip"
            )
        clip = replace(clip, warnings=clip.warnings + text_warnings(clip, sector))
        lap("find_sector")
        view = self.score_view(clip, sector)
        oriented = (_mirror_clip(clip), sector.mirror()) if view.is_mirrored else (clip, sector)
        lap("view")
        if masks is None:
            follow = on_mask and _cleaned(on_mask, is_mirrored=view.is_mirrored)
            frames, transform = oriented[0].frames, self.transform(*oriented)
            masks = segment_frames(self.session, frames, transform, progress, follow)
            for mask in each(masks):
                mask[:] = clean_mask(mask)
        elif view.is_mirrored:
            masks = masks[..., ::-1].copy()
        lap("segment")
        analysis = self.assess(*oriented, masks, view, smoothing=smoothing, force_view=force_view)
        lap("measure")
        if view.is_mirrored:
            for mask in each(masks):
                mask[:] = mask[:, ::-1].copy()
            analysis = replace(analysis, axes_px=())
        return replace(analysis, clip=clip, masks=masks, timing_s=times)

    def other_view(self, clip: Clip) -> str:
        """Why the pictures alone show no supported view, without segmenting; empty if they may.

        Stricter than `analyze`, where masks of an apical view count too: for sorting a study.
        """
        from echoseg.quality.view_net import score_frames

        is_colour = any(warning.code == "colour_doppler" for warning in clip.warnings)
        predicted = None
        if not is_colour and clip.view is View.UNKNOWN:
            sector = find_sector(clip)
            if sector is None:
                return f"the clip shows no heart: {_still(clip)}"
            scores, mirrored = score_frames(clip.frames, sector, self.view_net)
            predicted = predict_view(
                self.view_rule, scores, None, mirrored=mirrored, is_mirrored=False
            )
        return wrong_view_reason(clip.view, predicted, self.model_card.views, is_colour=is_colour)

    def score_view(self, clip: Clip, sector: Sector) -> ViewScores:
        """Score the view that the frames show, and whether left and right are exchanged."""
        from echoseg.quality.view_net import score_frames

        scores, mirrored = score_frames(clip.frames, sector, self.view_net)
        is_mirrored = scores[0] >= 0.5 and self._is_mirrored(clip, sector, mirrored)
        return ViewScores(scores, mirrored, is_mirrored)

    def assess(
        self,
        clip: Clip,
        sector: Sector,
        masks: np.ndarray,
        view: ViewScores,
        *,
        smoothing: bool = True,
        force_view: bool = False,
    ) -> Analysis:
        """Measure the masks of a clip and assess the EF: all that follows `segment_frames`.

        Args:
            clip: The clip in the orientation it was segmented in.
            sector: Its sector.
            masks: Cleaned label maps, `(T, H, W)` uint8.
            view: Scores of its view.
            smoothing: See `measure_masks`.
            force_view: See `analyze`.
        """
        predicted_view = predict_view(
            self.view_rule,
            view.by_pictures,
            shape_features(masks, sector.box),
            mirrored=view.mirrored,
            is_mirrored=view.is_mirrored,
        )
        frames = measure_each(masks, usable_spacing_mm(clip, sector))
        measurement = measure_clip(clip, frames, sector=sector, smoothing=smoothing)
        measurement = flag_wall(measurement, frames, sector.mask)
        analysis = Analysis(
            clip=clip,
            masks=masks,
            measurement=measurement,
            model=self.model_card,
            predicted_view=predicted_view,
            backend=self.session.name,
            axes_px=tuple(frame.axis_px for frame in frames),
        )
        if analysis.wrong_view and not force_view:
            is_unsupported = clip.view not in (View.UNKNOWN, View.A4C, View.A2C)
            advice = f"{WRONG_STATEMENT}. {FORCE_VIEW}" if is_unsupported else FORCE_VIEW
            measurement = refused(measurement, f"{analysis.wrong_view}. {advice}")
        own_view = predicted_view.interval_view(clip.view, self.model_card.views)
        reliability = self._reliability(analysis, sector, measurement, own_view)
        return replace(analysis, measurement=measurement, reliability=reliability)

    def _is_mirrored(self, clip: Clip, sector: Sector, score: float) -> bool:
        """Whether a clip is to be segmented mirrored: a few frames decide where the score may not.

        The orientation is taken in which the network is surer of what it segments.
        """
        if score < self.view_rule.mirrored_from:
            return False
        frames = np.unique(np.linspace(0, clip.num_frames - 1, 4).round().astype(int))
        part = replace(clip, frames=clip.frames[frames], times_s=None)
        own = self._confidence(part, sector)
        return self._confidence(_mirror_clip(part), sector.mirror()) > own + MIN_GAIN

    def _confidence(self, clip: Clip, sector: Sector) -> float:
        """Mean probability of the label of each pixel that is not background; 0 where none is."""
        transform = self.transform(clip, sector)
        values = []
        for logits in self.session.run(map(transform.apply, clip.frames)):
            odds = np.exp(logits[0] - logits[0].max(0))
            is_heart = logits[0].argmax(0) > 0
            values.append((odds.max(0) / odds.sum(0))[is_heart])
        sure = np.concatenate(values)
        return float(sure.mean()) if len(sure) else 0.0

    def _reliability(
        self, analysis: Analysis, sector: Sector, measurement: Measurement, view: View
    ) -> ClipReliability | None:
        """Reliability of the EF, from its ED and ES, by the view stated or else predicted."""
        ed_frame, es_frame = measurement.ed_frame, measurement.es_frame
        if measurement.ef_percent is None or ed_frame is None or es_frame is None:
            return None
        clip, masks = analysis.clip, analysis.masks
        ends = [ed_frame, es_frame]
        import torch

        from echoseg.quality.assess import Ends, assess_reliability

        stills = np.concatenate([*map(self.transform(clip, sector).apply, clip.frames[ends])])
        inputs = torch.from_numpy(stills).to(next(self.network.parameters()).device)
        return assess_reliability(
            self._fused,
            Ends(inputs, clip.frames[ends], masks[ends], sector.mask),
            masks,
            measurement,
            view=str(view),
            calibration=self.calibration,
        )

    def transform(self, clip: Clip, sector: Sector) -> FrameTransform:
        """The way from a frame of the clip to the network's input, and back."""
        return FrameTransform(
            clip.size, self.session.size_px, sector=sector, gain=sector_gain(clip, sector)
        )


def analyze(  # noqa: PLR0913  # how to read the clip, and how to run the network
    source: "str | Path | bytes | ArrayLike | Clip",
    *,
    spacing_mm: tuple[float, float] | None = None,
    fps: float | None = None,
    view: View | str | None = None,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    force_view: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Analysis:
    """Segment and measure one clip. For many clips, make one `Analyzer` and reuse it.

    Examples:
        >>> echoseg.analyze("clip.dcm")
        Analysis(EF 61 %, EDV 113 ml, ESV 44 ml, 45 frames, A4C, 2 warnings)

    Args:
        source: Path of a clip, the bytes of a file, a `Clip`, or grey levels as an array
            (T, H, W) or (T, H, W, 3).
        spacing_mm: Pixel spacing (row, column) in mm; replaces what the file says.
        fps: Frames per second; replaces what the file says.
        view: The view, such as "A4C"; replaces what the file says.
        model: Name of a shipped checkpoint (`echoseg models` lists them) or a .safetensors file.
        device: `auto`, `cpu`, `cuda` or `mps`.
        force_view: Give an EF, not a reliable one, where the clip shows another view.
        progress: Called with (frames done, frames in total).

    Returns:
        Masks on the clip's own grid and measurements. Where no EF can be given,
        `measurement.refusal` says why.

    Raises:
        FormatError: If the file cannot be read as a clip.
        ModelError: If the checkpoint cannot be loaded.
        MeasurementError: If the clip shows no moving ultrasound sector.
        TypeError: If `source` has another type.
    """
    clip = _as_clip(source, spacing_mm, fps, view)
    return Analyzer(model, device).analyze(clip, force_view=force_view, progress=progress)


def _cleaned(on_mask: OnMask, *, is_mirrored: bool) -> OnMask:
    """What gives the masks of a network as `analyze` returns them, in the clip's orientation."""

    def give(mask: np.ndarray) -> None:
        mask = clean_mask(mask)
        on_mask(mask[:, ::-1].copy() if is_mirrored else mask)

    return give


def _still(clip: Clip) -> str:
    return f"no region of the picture changes over its {clip.num_frames} frames"


def _mirror_clip(clip: Clip) -> Clip:
    """The clip with left and right exchanged."""
    return replace(clip, frames=clip.frames[..., ::-1], sector_box=None, trace_boxes=())


def _as_clip(
    source: object,
    spacing_mm: tuple[float, float] | None,
    fps: float | None,
    view: View | str | None,
) -> Clip:
    """Load a clip, or restate what a `Clip` says of itself.

    Raises:
        EchosegError: If it cannot be read, or a value is out of range.
        TypeError: If `source` has another type.
    """
    if not isinstance(source, Clip):
        try:
            return load_clip(source, spacing_mm=spacing_mm, fps=fps, view=view)  # type: ignore[arg-type]
        except TypeError as error:
            raise TypeError(f"{error}; analyze takes a Clip too") from None
    stated_view = None if view is None else find_view(view)
    return restate(source, OpenOptions(spacing_mm=spacing_mm, fps=fps, view=stated_view))
