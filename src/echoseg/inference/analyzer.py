"""The main job: a clip in, masks and measurements out.

Frames are cropped to the ultrasound sector, what lies outside it is blanked, and the crop is
letterboxed (never squeezed) into the network's square; logits are brought back to the clip's own
grid before the argmax. Stray pieces are then taken away, once, before anything is measured or
drawn: the masks that are drawn and stored are those that were measured.
"""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from echoseg.clip import Clip, Label
from echoseg.errors import ConfigError, EchosegError, MeasurementError
from echoseg.inference.analysis import REFERENCE_BACKEND, Analysis
from echoseg.inference.backends.base import InferenceSession, each_frame
from echoseg.inference.backends.select import AUTO, check_name, open_session, select_backend
from echoseg.measure.clean import clean_masks
from echoseg.measure.measure import measure_masks
from echoseg.measure.measurement import Measurement
from echoseg.models.checkpoint import load_model
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.preprocess.sector import Sector, find_sector, sector_gain
from echoseg.quality.conformal import load_calibration
from echoseg.quality.reliability import ClipReliability
from echoseg.weights.card import DEFAULT_MODEL

if TYPE_CHECKING:  # torch takes a second to import
    import torch

    from echoseg.preprocess.letterbox import Letterbox

Progress = Callable[[int, int], None]
"""Called with (frames done, frames in all)."""


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
        self.network, self.model_card = load_model(model, device=self.device)
        self.calibration = load_calibration(self.model_card.path, self.model_card.sha256)
        self.view_check = load_view_net(view_weights(self.model_card.path))
        self.load_time_s = time.perf_counter() - start

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
        reliability = self._reliability(clip, sector, masks, measurement)
        times["reliability"] = time.perf_counter() - start
        start = time.perf_counter()
        predicted_view = predict_view(clip.frames, sector, *self.view_check)
        times["view"] = time.perf_counter() - start
        return Analysis(
            clip=clip,
            masks=masks,
            measurement=measurement,
            model=self.model_card,
            timing_s=times,
            reliability=reliability,
            predicted_view=predicted_view,
            runtime=self.stepper.name if self.stepper else REFERENCE_BACKEND,
        )

    def _reliability(
        self, clip: Clip, sector: Sector, masks: np.ndarray, found: Measurement
    ) -> ClipReliability | None:
        """Return how far the EF may be believed, by the ED and ES it was read from."""
        if found.ef_percent is None or found.ed_frame is None or found.es_frame is None:
            return None
        import torch

        from echoseg.quality.assess import assess_reliability

        ends = [found.ed_frame, found.es_frame]
        _, squares = self.squares(clip, sector, ends)
        return assess_reliability(
            self.network,
            torch.cat(list(squares)),
            clip.frames[ends],
            masks[ends],
            ef_percent=found.ef_percent,
            sector=sector.mask,
            calibration=self.calibration,
            lv_areas_px=(masks == Label.LV_CAVITY).sum((1, 2)),
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

        letterbox = letterbox_for(sector.box, self.model_card.image_size)
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
