"""Export of a checkpoint for other backends: one step, state in and out, and the card.

The file is kept only if it gives what torch gives on the demo clip (`backends.verify`).

Inputs are `frame` (1 1 S S, float32 in [0, 1]) and each part of the state; outputs are `logits`
(1 K S S) and the new state, its names followed by `_after`. The metadata holds the card, the size
and the SHA-256 of the weights; `echoseg_first_state` gives the value that fills each part of the
first state.

- `onnx`: one `.onnx` file, for ONNX Runtime, OpenVINO and others.
- `openvino`: `.xml` with its `.bin` beside it.
- `torch-export`: a `.pt2` of `torch.export`.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from echoseg.errors import ConfigError, EchosegError, ModelError, OutputError
from echoseg.files import Replace, put_owned, work_folder
from echoseg.inference.backends.base import INSTALL, InferenceSession, StateShape, state_of
from echoseg.inference.backends.exported import (
    OnnxSession,
    OpenVinoSession,
    TorchExportSession,
    load_openvino,
    openvino_core,
)
from echoseg.inference.backends.torch import TorchSession
from echoseg.inference.backends.verify import Agreement, check, compare, demo_frames
from echoseg.models.segmenter import Segmenter
from echoseg.weights.card import ModelCard

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
"""Kind of file -> suffix."""


class OneStep(nn.Module):
    """The step of a Segmenter with the parts of its state as arguments."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__()
        self.network = network
        self.state_class: Any = type(network.init_state(1))

    def forward(self, frame: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits and the parts of the new state."""
        logits, after = self.network.step(frame, self.state_class(*state))
        return (logits, *after)


def export(  # what, as what, and where
    network: Segmenter,
    card: ModelCard,
    kind: str,
    path: str | Path,
    *,
    size_px: int | None = None,
    force: Replace = True,
) -> Agreement:
    """Export the step of a network, and check it against torch.

    Args:
        network: A Segmenter that streams, in evaluation mode, on the CPU.
        card: Its card.
        kind: Key of `SUFFIXES`.
        path: File to write, atomically.
        size_px: Side of a frame; the card's by default.
        force: What happens to a file that exists; True replaces one that echoseg wrote.

    Raises:
        ConfigError: If the kind is unknown, the suffix or the size is wrong, or a package is
            missing.
        ModelError: If the network looks ahead, or the file gives other logits.
        OutputError: If the file cannot be written, or as `put_owned`.
    """
    path, size_px = Path(path), card.image_size if size_px is None else size_px
    check_path(kind, path)
    _check(network, path, size_px)
    shape = state_of(network, size_px)
    metadata = {
        "echoseg_card": card.model_dump_json(exclude={"path"}),
        "echoseg_model": card.name,
        "echoseg_sha256": card.sha256,
        "echoseg_size_px": str(size_px),
        "echoseg_state": json.dumps(shape.names),
        "echoseg_first_state": json.dumps(_first_values(shape)),
    }
    frame = torch.zeros(1, 1, size_px, size_px)
    state = tuple(torch.from_numpy(part) for part in shape.first)
    write, reader = _KINDS[kind]
    with _export_errors(path), work_folder(path.parent) as work:
        trial = work / "new" / path.name
        with _quiet():
            step = OneStep(network).eval()
            write(_Program(step, (frame, *state), shape.names, metadata), trial)
        agreement = compare(TorchSession(network, size_px), reader(trial), demo_frames(size_px))
        check(agreement, reduced_precision=False)
        for part, place in zip(files_of(trial), files_of(path), strict=True):
            put_owned(part, place, force)
    return agreement


def files_of(path: Path) -> tuple[Path, ...]:
    """Every file that an export to PATH writes."""
    return (path.with_suffix(".bin"), path) if path.suffix == SUFFIXES["openvino"] else (path,)


def check_path(kind: str, path: Path) -> None:
    """Check the kind of file, and that the suffix belongs to it.

    Raises:
        ConfigError: If not.
    """
    if kind not in SUFFIXES:
        raise ConfigError(f"to must be one of {', '.join(SUFFIXES)}, got {kind!r}")
    if path.suffix != SUFFIXES[kind]:
        raise ConfigError(f"output must end in {SUFFIXES[kind]} for {kind}, got {path.name!r}")


def _check(network: Segmenter, path: Path, size_px: int) -> None:
    if not network.streams:
        raise ModelError(
            f"{type(network).__name__} looks ahead and cannot be exported; give a network that "
            "streams"
        )
    if size_px <= 0:
        raise ConfigError(f"size must be a positive number of pixels, got {size_px}")
    if not path.parent.is_dir():
        raise OutputError(f"output must be in an existing folder, {path.parent} is not; create it")


@contextmanager
def _export_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"output {path} cannot be written ({error.strerror or error}); make room, or choose "
            "another folder"
        ) from error
    except EchosegError:
        raise
    except Exception as error:  # whatever the exporters raise
        raise ModelError(
            f"the network cannot be exported by torch {torch.__version__} "
            f"({type(error).__name__}); use --backend torch, or another version of torch"
        ) from error


def _first_values(shape: StateShape) -> dict[str, float]:
    """The value that fills each part of the first state."""
    values = {}
    for name, part in zip(shape.names, shape.first, strict=True):
        distinct = np.unique(part)
        if len(distinct) != 1:
            raise ModelError(
                f"each part of the first state must hold one value to be exported, {name} holds "
                f"{len(distinct)}; return zeros or ones from init_state"
            )
        values[name] = float(distinct[0])
    return values


class _Program(NamedTuple):
    """What a file holds: the step, inputs to trace it with, names of the state, and metadata."""

    step: nn.Module
    inputs: tuple[torch.Tensor, ...]
    names: tuple[str, ...]
    metadata: dict[str, str]


def _onnx_bytes(program: _Program) -> bytes:
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigError(f"onnx and openvino files need onnx and onnxscript; {INSTALL}") from None
    input_names = ["frame", *program.names]
    with torch.no_grad():
        exported = torch.onnx.export(
            program.step,
            program.inputs,
            dynamo=True,
            input_names=input_names,
            output_names=["logits", *(f"{name}_after" for name in program.names)],
            verbose=False,
        )
    assert exported is not None
    for value, name in zip(exported.model.graph.inputs, input_names, strict=True):
        value.name = name  # torch 2.10 names an input that is an output too by the output
    model = exported.model_proto
    for key, value in program.metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model.SerializeToString()


def _write_onnx(program: _Program, path: Path) -> None:
    path.write_bytes(_onnx_bytes(program))


def _write_openvino(program: _Program, path: Path) -> None:
    model = openvino_core().read_model(_onnx_bytes(program))
    for key, value in program.metadata.items():
        model.set_rt_info(value, key)
    try:
        # in single precision; reduced precision is chosen when the file is loaded
        load_openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # for a full disk it says only "iostream error"
        raise OSError(f"OpenVINO: {error}") from error


def _write_torch(program: _Program, path: Path) -> None:
    with torch.no_grad():
        exported = torch.export.export(program.step, program.inputs)
    content = BytesIO()  # on a full disk, torch's own writer ends the process
    torch.export.save(exported, content, extra_files=dict(program.metadata))
    path.write_bytes(content.getvalue())


_KINDS: dict[str, tuple[Callable[[_Program, Path], None], Callable[[Path], InferenceSession]]] = {
    "onnx": (_write_onnx, OnnxSession),
    "openvino": (_write_openvino, OpenVinoSession),
    "torch-export": (_write_torch, TorchExportSession),
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's messages; the streams stay, as a signal handler writes to them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
