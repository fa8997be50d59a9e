"""A checkpoint as a file that other runtimes read: one step, state in and out, and its card.

It is run over the demo clip beside torch (`runtime.check`) and stays only where it says the same.

Inputs are `frame` (1 1 S S, float32 in [0, 1]) and one for each part of the state, outputs
`logits` (1 K S S) and the state after the frame under the same names with `_after`. The metadata
holds the card, the size and the SHA-256 of the weights; `first_state` in it tells which parts begin
as true (`is_first`), all others begin as zeros.

- `onnx`: one `.onnx` file, for ONNX Runtime, OpenVINO and others.
- `openvino`: `.xml` with its `.bin` beside it.
- `torch-export`: a `.pt2` of `torch.export`.
"""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echoseg.errors import ConfigError, ModelError, OutputError
from echoseg.inference.backends.base import NEEDED, InferenceSession, StateShape, state_of
from echoseg.inference.backends.exported import (
    OnnxSession,
    OpenVinoSession,
    TorchExportSession,
    openvino_core,
)
from echoseg.inference.backends.torch import TorchSession
from echoseg.inference.backends.verify import Agreement, check, compare, demo_frames
from echoseg.weights.card import ModelCard

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2"}
"""Kind of file -> how its name ends."""


class OneStep(nn.Module):
    """A Segmenter's step with its state as plain arguments."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.state_class: Any = type(network.init_state(1))

    def forward(self, frame: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return logits and the parts of the state."""
        logits, after = self.network.step(frame, self.state_class(*state))
        return (logits, *after)


def export(
    network: Any, card: ModelCard, kind: str, path: Path, *, size_px: int | None = None
) -> Agreement:
    """Write a network's step; what it says beside torch is checked and returned.

    Args:
        network: A Segmenter that streams, in evaluation mode, on the CPU.
        card: Its card.
        kind: Key of `SUFFIXES`.
        path: File to write, whole or not at all; what is there is replaced.
        size_px: Side of a frame; the card's by default.

    Raises:
        ConfigError: If the kind is unknown, the name's end is another kind's, the size does not
            fit, or a package is missing.
        ModelError: If the network cannot stream, or the file says something else.
        OutputError: If the file cannot be written.
    """
    size_px = card.image_size if size_px is None else size_px
    check_name(kind, path)
    _check(network, path, size_px)
    shape = state_of(network, size_px)
    metadata = {
        "echoseg_card": card.model_dump_json(),
        "echoseg_model": card.name,
        "echoseg_sha256": card.sha256,
        "echoseg_size_px": str(size_px),
        "echoseg_state": json.dumps(shape.names),
        "echoseg_first_state": json.dumps(_first_values(shape)),
    }
    frame = torch.zeros(1, 1, size_px, size_px)
    state = tuple(torch.from_numpy(part) for part in shape.first)
    write, reader = _KINDS[kind]
    trial = path.with_name(f".{path.stem}.partial-{os.getpid()}{path.suffix}")
    try:
        with _disk_told(path), _quiet():
            write(OneStep(network).eval(), (frame, *state), shape, metadata, trial)
        found = compare(TorchSession(network, size_px), reader(trial), demo_frames(size_px))
        check(found, reduced_precision=False)
        with _disk_told(path):
            for part, place in zip(files_of(trial), files_of(path), strict=True):
                part.replace(place)
    finally:
        for left in files_of(trial):
            with suppress(OSError):
                left.unlink(missing_ok=True)
    return found


def files_of(path: Path) -> tuple[Path, ...]:
    """Return every file that an export to PATH writes."""
    return (path.with_suffix(".bin"), path) if path.suffix == SUFFIXES["openvino"] else (path,)


def check_name(kind: str, path: Path) -> None:
    """Refuse what is no kind of file, or a name that ends as another kind's.

    Raises:
        ConfigError: If so.
    """
    if kind not in SUFFIXES:
        raise ConfigError(f"to must be one of {', '.join(SUFFIXES)}, got {kind!r}")
    if path.suffix != SUFFIXES[kind]:
        raise ConfigError(f"output must end in {SUFFIXES[kind]} for {kind}, got {path.name!r}")


def _check(network: Any, path: Path, size_px: int) -> None:
    if not network.streams:
        raise ModelError(
            f"{type(network).__name__} must take frames one by one to be exported, it looks ahead"
        )
    if size_px <= 0 or size_px % network.stride:
        raise ConfigError(
            f"size must be a multiple of the network's stride {network.stride}, got {size_px}"
        )
    if not path.parent.is_dir():
        raise OutputError(f"output must be in a folder that is there, {path.parent} is not")


@contextmanager
def _disk_told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"output {path} cannot be written ({error.strerror or error}); make room, or choose "
            "another place"
        ) from error


def _first_values(shape: StateShape) -> dict[str, float]:
    """Return the one value that each part of the first state is filled with."""
    values = {}
    for name, part in zip(shape.names, shape.first, strict=True):
        filled = np.unique(part)
        if len(filled) != 1:
            raise ModelError(f"the first state must be of one value a part, {name} is not")
        values[name] = float(filled[0])
    return values


def _onnx_bytes(
    step: nn.Module, inputs: tuple[torch.Tensor, ...], shape: StateShape, metadata: dict[str, str]
) -> bytes:
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigError(f"onnx and openvino files need onnx and onnxscript; {NEEDED}") from None
    with torch.no_grad():
        program = torch.onnx.export(
            step,
            inputs,
            dynamo=True,
            input_names=["frame", *shape.names],
            output_names=["logits", *(f"{name}_after" for name in shape.names)],
            verbose=False,
        )
    model = program.model_proto  # type: ignore[union-attr]
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    return model.SerializeToString()


def _write_onnx(
    step: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    shape: StateShape,
    metadata: dict[str, str],
    path: Path,
) -> None:
    path.write_bytes(_onnx_bytes(step, inputs, shape, metadata))


def _write_openvino(
    step: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    shape: StateShape,
    metadata: dict[str, str],
    path: Path,
) -> None:
    try:
        import openvino
    except ImportError:
        raise ConfigError(f"openvino files need OpenVINO; {NEEDED}") from None
    model = openvino_core().read_model(_onnx_bytes(step, inputs, shape, metadata))
    for key, value in metadata.items():
        model.set_rt_info(value, key)
    try:
        # in single precision: what is saved for speed is chosen when it is loaded
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # of the disk it says no more than "iostream error"
        raise OSError(f"OpenVINO: {error}") from error


def _write_torch(
    step: nn.Module,
    inputs: tuple[torch.Tensor, ...],
    shape: StateShape,
    metadata: dict[str, str],
    path: Path,
) -> None:
    with torch.no_grad():
        program = torch.export.export(step, inputs)
    content = BytesIO()  # written to a full disk, torch's own writer ends the process
    torch.export.save(program, content, extra_files=dict(metadata))
    path.write_bytes(content.getvalue())


Writer = Callable[[nn.Module, tuple[torch.Tensor, ...], StateShape, dict[str, str], Path], None]
_KINDS: dict[str, tuple[Writer, Callable[[Path], InferenceSession]]] = {
    "onnx": (_write_onnx, OnnxSession),
    "openvino": (_write_openvino, OpenVinoSession),
    "torch-export": (_write_torch, TorchExportSession),
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter tells of its stages off the terminal.

    The streams stay as they are: a signal's last words go there.
    """
    tellers = [logging.getLogger(name) for name in ("torch.onnx", "onnx_ir", "onnxscript")]
    levels = [teller.level for teller in tellers]
    for teller in tellers:
        teller.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for teller, level in zip(tellers, levels, strict=True):
            teller.setLevel(level)
