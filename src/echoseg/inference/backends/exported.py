"""Exported files as backends: ONNX Runtime, OpenVINO, and torch's own format.

Size and first state come from the metadata of the file.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np

from echoseg.errors import ConfigError, ModelError
from echoseg.inference.backends.base import INSTALL, State, each_frame
from echoseg.untrusted import parse_json, reading

METADATA = ("echoseg_size_px", "echoseg_state", "echoseg_first_state")
"""Keys that running a file needs."""


class _FromFile(ABC):
    """What all three share: size and first state from the metadata."""

    name: str

    def __init__(self, path: Path, metadata: dict[str, str], shapes: dict[str, tuple]) -> None:
        with reading(
            path, ModelError, "must have the metadata of `echoseg export`", "export it again"
        ):
            self.size_px = int(metadata["echoseg_size_px"])
            self.state_names: tuple[str, ...] = tuple(parse_json(metadata["echoseg_state"]))
            first = parse_json(metadata["echoseg_first_state"])
            self._first = tuple(
                np.full(shapes[name][0], first[name], shapes[name][1]) for name in self.state_names
            )

    def first_state(self) -> State:
        """The state before the first frame."""
        return self._first

    @abstractmethod
    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Segment one frame."""

    def run(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Segment a clip."""
        return each_frame(self, frames)


_ONNX_TYPES = {"tensor(float)": np.float32, "tensor(bool)": np.bool_, "tensor(int64)": np.int64}


class OnnxSession(_FromFile):
    """An `.onnx` file in ONNX Runtime on the CPU.

    Raises:
        ConfigError: If ONNX Runtime is missing.
        ModelError: If the file is not one that `export` wrote.
    """

    def __init__(self, path: Path, *, num_threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError(f"backend onnx needs ONNX Runtime; {INSTALL}") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own errors share no base but this
            raise ModelError(f"{path} cannot be read as ONNX ({str(error)[:160]})") from error
        metadata = self._session.get_modelmeta().custom_metadata_map
        inputs = {i.name: (i.shape, _ONNX_TYPES[i.type]) for i in self._session.get_inputs()}
        super().__init__(path, metadata, inputs)
        self.name = "onnx f32"

    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Segment one frame."""
        inputs = dict(zip(self.state_names, state, strict=True))
        outputs: Any = self._session.run(None, {"frame": frame, **inputs})
        return outputs[0], tuple(outputs[1:])


def load_openvino() -> Any:
    """Import OpenVINO without its telemetry, which sends an event of the import to Google.

    Raises:
        ConfigError: If it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))  # so that it cannot be imported
    try:
        import openvino
    except ImportError:
        raise ConfigError(f"backend openvino needs OpenVINO; {INSTALL}") from None
    return openvino


@cache
def openvino_core() -> Any:
    """Provide the process's only OpenVINO `Core`, which is never freed.

    Each core's CPU plugin installs an alternate signal stack, and one that is freed leaves the
    thread with the unmapped stack of another (seen in OpenVINO 2026.4.1 with two cores freed in
    the order of their creation): the next signal then ends the process.
    """
    return load_openvino().Core()


class OpenVinoSession(_FromFile):
    """An `.xml` or `.onnx` file in OpenVINO on the CPU.

    Args:
        path: The file.
        num_threads: 0 for all.
        bf16: Compute in bfloat16, on a processor that can.

    Raises:
        ConfigError: If OpenVINO is missing.
        ModelError: If the file is not one that `export` wrote.
    """

    def __init__(self, path: Path, *, num_threads: int = 0, bf16: bool = False) -> None:
        core, self._tensor = openvino_core(), load_openvino().Tensor
        try:
            model = core.read_model(path)
        except RuntimeError as error:
            raise ModelError(f"{path} cannot be read by OpenVINO ({str(error)[:160]})") from error
        metadata = _openvino_metadata(model, path)
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            # pinned, the workers of a cohort would all be put on the same cores
            "ENABLE_CPU_PINNING": False,
        }
        if num_threads:
            options["INFERENCE_NUM_THREADS"] = str(num_threads)
        self._compiled = core.compile_model(model, "CPU", options)
        self._request = self._compiled.create_infer_request()
        # OpenVINO drops an input that a step only writes, so shapes are those of the state after
        parts = parse_json(metadata.get("echoseg_state", "[]"))
        shapes = {
            name: (tuple(part.shape), part.element_type.to_dtype())
            for name, part in zip(parts, self._compiled.outputs[1:], strict=False)
        }
        super().__init__(path, metadata, shapes)
        names = ("frame", *self.state_names)
        inputs, num_outputs = self._compiled.inputs, len(self._compiled.outputs)
        self._inputs = [(one, names.index(name)) for one in inputs for name in {*names} & one.names]
        self._outputs = [self._request.get_output_tensor(index) for index in range(num_outputs)]
        self.name = f"openvino {'bf16' if bf16 else 'f32'}"

    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Segment one frame."""
        values = [np.ascontiguousarray(value) for value in (frame, *state)]
        for entry, index in self._inputs:
            tensor = self._tensor(values[index], shared_memory=True)  # `values` outlives the step
            self._request.set_tensor(entry, tensor)
        self._request.start_async()  # `infer` takes a tenth longer, to look at its arguments
        self._request.wait()
        # the request's buffers are used again for the next frame
        logits, *after = (np.array(output.data) for output in self._outputs)
        return logits, tuple(after)


def _openvino_metadata(model: Any, path: Path) -> dict[str, str]:
    """The metadata of a file, OpenVINO's own or ONNX.

    OpenVINO drops the metadata of an ONNX file, so it is read from the file.
    """
    if path.suffix == ".onnx":
        import onnx

        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    info = model.get_rt_info()
    return {name: str(info[name].astype(str)) for name in METADATA if name in info}


class TorchExportSession(_FromFile):
    """A `.pt2` file of `torch.export`.

    Raises:
        ModelError: If the file is not one that `export` wrote.
    """

    def __init__(self, path: Path) -> None:
        import torch

        metadata: dict[str, Any] = dict.fromkeys(METADATA, "")
        try:
            program = torch.export.load(path, extra_files=metadata)
        except Exception as error:  # zip, pickle and graph errors share no base
            raise ModelError(f"{path} cannot be read as torch-export ({error})") from error
        self._module = program.module()
        values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"]
        state_names = parse_json(metadata["echoseg_state"] or "[]")
        inputs = values[len(values) - len(state_names) :]
        shapes = {
            name: (tuple(value.shape), np.bool_ if value.dtype == torch.bool else np.float32)
            for name, value in zip(state_names, inputs, strict=True)
        }
        super().__init__(path, metadata, shapes)
        self.name = "torch-export f32"

    def step(self, frame: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Segment one frame."""
        import torch

        with torch.inference_mode():
            parts = (torch.from_numpy(part) for part in state)
            logits, *after = self._module(torch.from_numpy(frame), *parts)
        return logits.numpy(), tuple(part.numpy() for part in after)
