"""Other people's networks of single frames in ONNX files.

An adapter says what such a file does not state: labels, grey levels, and the size where it is open.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from echoseg.clip import Annotation, Clip, Label
from echoseg.data import Record
from echoseg.errors import ConfigError, ModelError, reason_of, validation_message
from echoseg.evaluation.predictors import ABOUT, Predicted
from echoseg.evaluation.tiles import by_tiles, nonzero_box, resample
from echoseg.inference.backends.base import INSTALL
from echoseg.preprocess.frame_transform import FrameTransform
from echoseg.untrusted import read_json

Side = Annotated[int, Field(ge=16, le=4096)]


class OnnxAdapter(BaseModel):
    """How an ONNX network is fed and read; a JSON file of the same fields is an adapter too.

    The defaults suit an nnU-Net of CAMUS whose input was rescaled to [0, 1].
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    labels: Annotated[tuple[Label, ...], Field(min_length=1)] = tuple(Label)
    """Label of each output channel, or of each value of an output of labels: 0 background, 1 LV
    cavity, 2 LV myocardium, 3 left atrium; a channel of another structure is background."""
    image_size: tuple[Side, Side] | None = None
    """(rows, columns) of the input in pixels, where the file leaves them open."""
    spacing_mm: Annotated[float, Field(ge=0.05, le=10)] | None = None
    """Size in mm to which pixels are resampled after `values`, in tiles of the input's size, as
    nnU-Net does; see `echoseg.evaluation.tiles`."""
    resize: Literal["stretch", "letterbox"] = "stretch"
    """How a frame is brought to that size; "letterbox" keeps its aspect ratio."""
    values: Literal["0..1", "0..255", "-1..1", "z_score"] = "0..1"
    """Range of the grey levels; "z_score": of each frame, less its mean, by its SD."""
    mean: tuple[float, ...] = ()
    """Of each input channel, subtracted after `values`; empty: none."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """Of each input channel, divided by; empty: 1."""
    threshold: float | None = None
    """Without a channel of the background: above it lies a structure; 0 of logits, .5 of
    probabilities."""
    output: str | None = None
    """Name of the output; the first without it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if Label.BACKGROUND not in self.labels and self.threshold is None:
            raise ValueError(
                "threshold must be given where no channel is the background: 0 of logits, 0.5 of "
                "probabilities"
            )
        if self.spacing_mm is not None and self.resize != "stretch":
            raise ValueError("spacing_mm and resize exclude each other; leave one out")
        if not set(self.labels) - {Label.BACKGROUND}:
            raise ValueError("labels must hold one of 1, 2 and 3")
        return self


@dataclass(frozen=True, slots=True)
class OnnxNetwork:
    """A network of single frames in an ONNX file, run by ONNX Runtime on the CPU, one thread.

    Args:
        path: The `.onnx` file.
        adapter: How it is used; None: `FILE.json` next to `FILE.onnx` where there is one, else the
            defaults of `OnnxAdapter`.

    Raises:
        ConfigError: If ONNX Runtime is missing, or the adapter does not fit the file.
        ModelError: If the file cannot be read, or is not a network of single frames.
    """

    path: Path
    adapter: OnnxAdapter | None = None

    def __post_init__(self) -> None:
        """Read the adapter, and check it against the file."""
        if self.adapter is None:
            adapter_file = self.path.with_suffix(".json")
            adapter = read_adapter(adapter_file) if adapter_file.is_file() else OnnxAdapter()
            object.__setattr__(self, "adapter", adapter)
        _session(self.path, self._adapter.model_dump_json())

    @property
    def _adapter(self) -> OnnxAdapter:
        return self.adapter or OnnxAdapter()

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    @property
    def labels(self) -> tuple[Label, ...]:
        """Labels that it gives."""
        return tuple(sorted({Label.BACKGROUND, *self._adapter.labels}))

    @property
    def protocol(self) -> dict[str, str]:
        """How the masks are made."""
        adapter, session = self._adapter, _session(self.path, self._adapter.model_dump_json())
        rows, columns = session.size
        how = f"{adapter.resize} to {rows} x {columns}"
        if adapter.spacing_mm:
            how = f"resampled to {adapter.spacing_mm:g} mm, in tiles of {rows} x {columns}"
        return {
            "input": f"whole picture, {how}, {adapter.values}",
            "clips": "every frame alone",
            "output": "scores resampled to the picture's own grid (bilinear), then argmax",
            "post_processing": "none; for volumes the largest cavity and atrium, holes filled",
            "batch": "one frame at a time, one thread",
        }

    def about(self) -> dict[str, Any]:
        """Name, hash and size of the file's network."""
        with self.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = max(_session(self.path, self._adapter.model_dump_json()).size)
        return dict(zip(ABOUT, (self.name, sha256, "ONNX", size, ""), strict=True))

    def predict(self, record: Record, clip: Clip, annotation: Annotation) -> Predicted:
        """Segment every frame alone.

        Raises:
            ModelError: If the network fails on a frame, or needs a pixel spacing that is unknown.
        """
        session = _session(self.path, self._adapter.model_dump_json())
        return Predicted(np.stack([session.segment(f, clip.spacing_mm) for f in clip.frames]))


def read_adapter(path: Path) -> OnnxAdapter:
    """The adapter in a JSON file.

    Raises:
        ConfigError: If it is not one.
    """
    try:
        return OnnxAdapter.model_validate(read_json(path))
    except ValidationError as error:
        reason = validation_message(error, fields=OnnxAdapter.model_fields)
    except (OSError, ValueError) as error:
        reason = reason_of(error)
    raise ConfigError(f"{path} must be an ONNX adapter ({reason}); see docs/guides/evaluate.md")


@lru_cache(maxsize=2)
def _session(path: Path, adapter: str) -> "_Session":
    """The loaded file, once in every process."""
    return _Session(path, OnnxAdapter.model_validate_json(adapter))


class _Session:
    """The loaded file, and the layout of its input and output."""

    def __init__(self, path: Path, adapter: OnnxAdapter) -> None:
        self._path, self._adapter = path, adapter
        self._run = _open(path)
        inputs = self._run.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            shapes = ", ".join(f"{entry.name} {entry.shape}" for entry in inputs)
            raise ModelError(
                f"{path}: an ONNX network must have one input of four dimensions, frames of a "
                f"batch, got {shapes}; networks of whole clips are not supported"
            )
        self._input = inputs[0].name
        self._dtype = np.float16 if "float16" in inputs[0].type else np.float32
        shape = inputs[0].shape
        self._channels_last = shape[1] not in (1, 3) and shape[3] in (1, 3)
        channels, *sides = (shape[3], shape[1], shape[2]) if self._channels_last else shape[1:]
        if channels not in (1, 3):
            raise ModelError(f"{path}: the input must have 1 or 3 channels, got {shape}")
        self._channels = int(channels)
        self.size = self._sides(sides)
        for name in ("mean", "std"):
            number = len(getattr(adapter, name))
            if number not in (0, self._channels):
                raise ConfigError(
                    f"{name} of the adapter must have {self._channels} values, got {number}"
                )
        names = [entry.name for entry in self._run.get_outputs()]
        if adapter.output is not None and adapter.output not in names:
            raise ConfigError(
                f"output of the adapter must be one of {', '.join(names)}, got {adapter.output!r}"
            )
        self._output = adapter.output or names[0]

    def _sides(self, sides: list[Any]) -> tuple[int, int]:
        fixed = tuple(side if isinstance(side, int) else None for side in sides)
        size = self._adapter.image_size
        if size is None and None in fixed:
            raise ConfigError(
                f"image_size of the adapter must be given: {self._path} leaves the size open; give "
                "(rows, columns) of its training, such as [256, 256]"
            )
        if size and any(side not in (None, own) for side, own in zip(fixed, size, strict=True)):
            raise ConfigError(
                f"image_size of the adapter must be that of the file, {list(fixed)}, got "
                f"{list(size)}; leave it out"
            )
        rows, columns = size or fixed
        if self._adapter.resize == "letterbox" and rows != columns:
            raise ConfigError(
                f"resize of the adapter must be stretch for a size of {rows} x {columns}; "
                "letterbox needs a square"
            )
        return int(rows), int(columns)  # type: ignore[arg-type]  # open sides were refused

    def segment(
        self, frame: np.ndarray, spacing_mm: tuple[float, float] | None = None
    ) -> np.ndarray:
        """Frame `H W` uint8 and its (row, column) spacing -> label map `H W` uint8.

        Raises:
            ModelError: If the network fails, its output is neither scores nor labels, or the
                adapter's spacing_mm meets a frame without one.
        """
        if self._adapter.spacing_mm is not None:
            masks, box = np.zeros(frame.shape, np.uint8), nonzero_box(frame)
            masks[box] = self._segment_tiles(frame[box], spacing_mm)
            return masks
        shape = frame.shape[0], frame.shape[1]
        values = frame.astype(np.float32) / 255
        if self._adapter.resize == "letterbox":
            transform = FrameTransform(shape, self.size[0])
            return transform.invert(self._scores_of(self._fed(transform.apply(frame)[0, 0]))[None])
        scores = self._scores_of(self._fed(_resize(values[None], self.size)[0]))
        return _resize(scores, shape).argmax(0).astype(np.uint8)

    def _segment_tiles(
        self, frame: np.ndarray, spacing_mm: tuple[float, float] | None
    ) -> np.ndarray:
        """Labels of a frame at the adapter's pixel size, in tiles."""
        shape = frame.shape[0], frame.shape[1]
        size = _size_at(self._adapter.spacing_mm or 1.0, shape, spacing_mm)
        fed = resample(self._fed(frame.astype(np.float32) / 255), size, order=3)
        scores = by_tiles(self._scores_of, fed, self.size)
        return resample(scores, shape, order=1).argmax(0).astype(np.uint8)

    def _scores_of(self, fed: np.ndarray) -> np.ndarray:
        """Scores of the four labels, `4 R C`, of what the network is fed, `C R C`."""
        fed = np.moveaxis(fed, 0, -1) if self._channels_last else fed
        try:
            (output,) = self._run.run([self._output], {self._input: fed[None].astype(self._dtype)})
        except Exception as error:  # ONNX Runtime's own
            raise ModelError(f"{self._path} fails on a frame ({str(error)[:160]})") from error
        return self._scores(np.asarray(output))

    def _fed(self, values: np.ndarray) -> np.ndarray:
        """Grey levels in [0, 1] as the channels that the network is fed, `C H W`."""
        match self._adapter.values:
            case "0..255":
                values = values * 255
            case "-1..1":
                values = values * 2 - 1
            case "z_score":
                values = (values - values.mean()) / max(float(values.std()), 1e-8)
        stacked = np.repeat(values[None], self._channels, 0)
        ones = (1.0,) * self._channels
        mean, std = self._adapter.mean or (0.0,) * self._channels, self._adapter.std or ones
        return (stacked - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))

    def _scores(self, output: np.ndarray) -> np.ndarray:
        """The output as scores of the four labels, `4 R C`; the highest is the label."""
        labels, output = self._adapter.labels, output[0]
        if output.ndim == 3 and len(labels) in (output.shape[0], output.shape[2]):
            is_last = output.shape[0] != len(labels)
            channels = (np.moveaxis(output, -1, 0) if is_last else output).astype(np.float32)
            if Label.BACKGROUND not in labels:
                labels = (Label.BACKGROUND, *labels)
                zeros = np.zeros_like(channels[:1])
                channels = np.concatenate([zeros, channels - (self._adapter.threshold or 0.0)])
        else:
            values = np.squeeze(output)
            is_map = values.ndim == 2 and bool(np.isin(values, range(len(labels))).all())
            if not is_map:
                raise self._unknown(output)
            channels = (np.arange(len(labels))[:, None, None] == values).astype(np.float32)
        if channels.shape[1:] != self.size or not np.isfinite(channels).all():
            raise self._unknown(output)
        scores = np.full((len(Label), *self.size), -np.inf, np.float32)
        for label, channel in zip(labels, channels, strict=True):
            scores[label] = np.maximum(scores[label], channel)
        lowest = channels.min() - 1  # finite, so that it can be interpolated
        return np.maximum(scores, lowest)

    def _unknown(self, output: np.ndarray) -> ModelError:
        return ModelError(
            f"{self._path}: output {self._output} must be {len(self._adapter.labels)} channels of "
            f"finite scores or a map of labels of {self.size[0]} x {self.size[1]} pixels, got "
            f"{output.dtype} {output.shape}; name the label of each channel in labels of the "
            "adapter, or another output"
        )


def _open(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(f"an ONNX network needs ONNX Runtime; {INSTALL}") from None
    if not path.is_file():
        raise ModelError(f"model must be an existing .onnx file, got {str(path)!r}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own errors share no base but this
        is_none = type(error).__name__ in ("InvalidArgument", "InvalidProtobuf")
        is_none |= "does not have a graph" in str(error)  # of an empty file, in ONNX Runtime 1.20
        why = "the file is empty, or no ONNX network" if is_none else str(error)[:160]
        raise ModelError(f"{path} cannot be read as ONNX ({why})") from error


def _size_at(
    target_mm: float, shape: tuple[int, int], spacing_mm: tuple[float, float] | None
) -> tuple[int, int]:
    """Size of a frame at another pixel spacing.

    Raises:
        ModelError: If its own is unknown, or the frame would be too large or too small.
    """
    if spacing_mm is None:
        raise ModelError("spacing_mm of the adapter needs clips with a known pixel spacing")
    rows, columns = (round(n * mm / target_mm) for n, mm in zip(shape, spacing_mm, strict=True))
    if not 16 <= min(rows, columns) <= max(rows, columns) <= 4096:
        raise ModelError(
            f"spacing_mm of the adapter makes frames of {rows} x {columns} pixels; sides must be "
            "16 to 4096"
        )
    return rows, columns


def _resize(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Channels `K H W` at another size: bilinear, with antialiasing where it shrinks."""
    if values.shape[1:] == size:
        return values
    import torch
    from torch.nn.functional import interpolate

    tensor = torch.from_numpy(np.ascontiguousarray(values))[None]
    resized = interpolate(tensor, size, mode="bilinear", antialias=True, align_corners=False)
    return resized[0].numpy()
