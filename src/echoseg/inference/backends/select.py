"""Backends by name, and `auto`: the fastest one in full precision.

`auto` times each installed backend for part of a second on the demo clip, leaves out those whose
logits differ from torch's (`backends.verify`), and caches the result for this machine, these
weights and these versions. Where ONNX Runtime, onnx or onnxscript is missing, which write and check
the file that the others run, it is torch, at once. bfloat16 runs only by name, as it may change an
EF by more than is checked on the demo clip; so does `torch-compile`: compiling takes a minute.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from echoseg.errors import ConfigError, EchosegError, OutputError
from echoseg.inference.backends import cache
from echoseg.inference.backends.base import INSTALL, InferenceSession
from echoseg.inference.backends.verify import check, compare, demo_frames
from echoseg.weights.card import ModelCard, find_checkpoint, read_card

TIMING_S = 1.0
"""Time to measure all backends together; loading and checking them comes before."""
_MIN_FRAMES = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """Properties of a backend.

    Attributes:
        reduced_precision: Whether it computes in bfloat16.
        automatic: Whether `auto` considers it.
        from_file: Whether it runs an exported file, without torch.
    """

    reduced_precision: bool = False
    automatic: bool = True
    from_file: bool = False


BACKENDS: dict[str, Backend] = {
    "torch": Backend(),
    "torch-bf16": Backend(reduced_precision=True, automatic=False),
    "torch-compile": Backend(automatic=False),
    "torch-compile-bf16": Backend(reduced_precision=True, automatic=False),
    "onnx": Backend(from_file=True),
    "openvino": Backend(from_file=True),
    "openvino-bf16": Backend(reduced_precision=True, automatic=False, from_file=True),
}
AUTO = "auto"
_LIBRARIES = {"onnx": "onnxruntime", "openvino": "openvino"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Result of `auto`.

    Attributes:
        backend: Key of `BACKENDS`, the fastest.
        frames_per_s: Rate of each backend that was timed.
        excluded: Why the others were not timed.
        time_s: Seconds that it took to find out; 0 from the cache, and where there is no choice.
        cacheable: False when a full or read-only disk kept a backend from being tried.
    """

    backend: str
    frames_per_s: dict[str, float] = field(default_factory=dict)
    excluded: dict[str, str] = field(default_factory=dict)
    time_s: float = field(default=0.0, compare=False)
    cacheable: bool = True

    def describe(self) -> str:
        """What was chosen and why, in one line."""
        if len(self.frames_per_s) < 2:
            why = next(iter(self.excluded.values()), f"for others {INSTALL}")
            return f"{self.backend} ({why})"
        rates = sorted(self.frames_per_s.items(), key=lambda rate: -rate[1])
        listed = ", ".join(f"{name} {rate:.0f}" for name, rate in rates)
        return f"{self.backend} (frames/s here: {listed}; all give the same masks)"


def check_backend(backend: str) -> None:
    """Check the name of a backend, that what it runs on is installed, and the processor.

    Raises:
        ConfigError: If it is neither `auto` nor a key of `BACKENDS`, not installed, or computes in
            bfloat16 where the processor does not.
    """
    if backend != AUTO and backend not in BACKENDS:
        raise ConfigError(
            f"backend must be {AUTO} or one of {', '.join(BACKENDS)}, got {backend!r}"
        )
    library = _LIBRARIES.get(backend.partition("-")[0], "torch")
    if find_spec(library) is None:
        raise ConfigError(f"backend {backend} needs {library}; {INSTALL}")
    if backend != AUTO and BACKENDS[backend].reduced_precision and not _has_bf16(backend):
        raise ConfigError(
            f"backend {backend} needs a processor that computes in bfloat16 (AVX-512 or AMX); "
            f"use --backend {backend.removesuffix('-bf16')}"
        )


def _has_bf16(backend: str) -> bool:
    """Whether what the backend runs on computes in bfloat16 on this processor."""
    if BACKENDS[backend].from_file:
        from echoseg.inference.backends.exported import openvino_core

        return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    from echoseg.nn.fused import has_bf16

    return has_bf16()


def choose_device(device: str = "auto") -> str:
    """Torch device for `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        EchosegError: If the device is unknown or not on this machine.
    """
    if device == "cpu":
        return device
    import torch

    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, is_available in available.items() if is_available)
    if device not in available:
        raise ConfigError(f"device must be auto, cpu, cuda or mps, got {device!r}")
    if not available[device]:
        raise ConfigError(
            f"device {device} is not available to torch on this machine; use --device auto"
        )
    return device


def open_session(
    model: str, backend: str = "torch", *, device: str = "cpu", num_threads: int = 1
) -> InferenceSession:
    """Load a network for inference frame by frame.

    Args:
        model: Name of a shipped checkpoint, or path of one.
        backend: Key of `BACKENDS`, or `auto`. All but `torch` run on the CPU, and are compared with
            it once per machine; later those that run an exported file do not import torch.
        device: `auto`, `cpu`, `cuda` or `mps`; for `torch`. `auto` prefers a GPU.
        num_threads: Of the backend; torch's own threads are those of the process.

    Raises:
        ConfigError: If the backend is unknown, not installed, or not for that device or processor.
        ModelError: If the checkpoint is damaged, or the backend gives other masks.
        EchosegError: If the device is not available.
    """
    check_backend(backend)
    card = read_card(find_checkpoint(model))
    if backend == "torch" or (backend == AUTO and choose_device(device) != "cpu"):
        return _open_torch(model, card, "torch", choose_device(device))
    if device not in ("auto", "cpu"):
        raise ConfigError(f"backend {backend} runs on the CPU; leave --device {device} out")
    if backend == AUTO:
        backend = select_backend(model, num_threads=num_threads).backend
    elif backend != "onnx":  # whose file was compared when it was written
        return _open_checked(model, card, backend, num_threads)
    return _open(model, card, backend, num_threads)


def select_backend(
    model: str, *, num_threads: int = 1, begin: Callable[[], None] = lambda: None
) -> Choice:
    """Find the fastest backend on this machine, from the cache or by measuring now.

    Args:
        model: Name of a shipped checkpoint, or path of one.
        num_threads: Of the backends.
        begin: Called before measuring, which takes some 20 s.

    Raises:
        ModelError: If the checkpoint cannot be loaded, or looks ahead.
    """
    if not has_runtime():
        return Choice(backend="torch")
    start = time.perf_counter()
    card = read_card(find_checkpoint(model))
    key = cache.machine_key(card.sha256, card.image_size, num_threads)
    if (cached := _cached(key)) is not None:
        return cached
    begin()
    choice = _measure(model, card, num_threads)
    if choice.cacheable:
        cache.cache_put(key, {"model": card.name, **asdict(choice)})
    return replace(choice, time_s=time.perf_counter() - start)


def has_runtime() -> bool:
    """Whether an exported file can be written, checked and run here, as by `echoseg[runtime]`."""
    return all(map(find_spec, ("onnx", "onnxscript", "onnxruntime")))


def _cached(key: str) -> Choice | None:
    """The cached choice; None where there is none, or none that can be used."""
    try:
        choice = TypeAdapter(Choice).validate_python(cache.cache_get(key))
    except ValidationError:
        return None
    return choice if choice.backend in BACKENDS else None


def _measure(model: str, card: ModelCard, num_threads: int) -> Choice:
    frames = demo_frames(card.image_size)
    reference = _open(model, card, "torch", num_threads)
    sessions, excluded, cacheable = {"torch": reference}, {}, True
    for name, backend in BACKENDS.items():
        if name == "torch" or not backend.automatic:
            continue
        try:
            session = _open(model, card, name, num_threads)
            agreement = compare(reference, session, frames)
            check(agreement, reduced_precision=backend.reduced_precision)
            sessions[name] = session
        except EchosegError as error:
            excluded[name] = str(error)
            cacheable = cacheable and not isinstance(error, OutputError)
    if len(sessions) == 1:
        return Choice(backend="torch", excluded=excluded, cacheable=cacheable)
    rates = {
        name: round(rate_hz(session, frames, TIMING_S / len(sessions)), 1)
        for name, session in sessions.items()
    }
    return Choice(
        backend=max(rates, key=lambda name: rates[name]),
        frames_per_s=rates,
        excluded=excluded,
        cacheable=cacheable,
    )


def rate_hz(session: InferenceSession, frames: Sequence[np.ndarray], seconds: float) -> float:
    """Frames per second, one after another: the median of at least six."""
    state, times = session.first_state(), []
    end_s = time.perf_counter() + seconds
    while len(times) < _MIN_FRAMES or time.perf_counter() < end_s:
        start = time.perf_counter()
        _, state = session.step(frames[len(times) % len(frames)], state)
        times.append(time.perf_counter() - start)
    return 1 / statistics.median(times)


def _open_checked(model: str, card: ModelCard, backend: str, num_threads: int) -> InferenceSession:
    """Open a backend; refuse one that computes something else than torch, cached per machine."""
    session, size_px = _open(model, card, backend, num_threads), card.image_size
    key = f"{backend} {cache.machine_key(card.sha256, size_px, num_threads)}"
    if (cache.cache_get(key) or {}).get("same") is not True:
        agreement = compare(_open(model, card, "torch", num_threads), session, demo_frames(size_px))
        check(agreement, reduced_precision=BACKENDS[backend].reduced_precision)
        cache.cache_put(key, {"model": card.name, "same": True})
    return session


def _open(model: str, card: ModelCard, backend: str, num_threads: int) -> InferenceSession:
    if not BACKENDS[backend].from_file:
        return _open_torch(model, card, backend, "cpu")
    from echoseg.inference.backends.exported import OnnxSession, OpenVinoSession

    path = _exported(model, card)
    if backend == "onnx":
        return OnnxSession(path, num_threads=num_threads)
    return OpenVinoSession(path, num_threads=num_threads, bf16=backend.endswith("bf16"))


def _open_torch(model: str, card: ModelCard, backend: str, device: str) -> InferenceSession:
    from echoseg.inference.backends.torch import TorchSession
    from echoseg.models.checkpoint import load_model

    return TorchSession(
        load_model(model, device=device)[0],
        card.image_size,
        bf16=backend.endswith("bf16"),
        compiled="compile" in backend,
    )


def _exported(model: str, card: ModelCard) -> Path:
    """The checkpoint's ONNX file in the cache; written and checked when missing or damaged."""
    path = cache.export_path(card.sha256, card.image_size)
    if cache.has_valid_checksum(path):
        return path
    from echoseg.inference.backends.export import export
    from echoseg.models.checkpoint import load_model

    network, _ = load_model(model)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a damaged one
        export(network, card, "onnx", path)
        cache.write_checksum(path)
    except (OSError, OutputError) as error:
        reason = error.__cause__ or error
        raise OutputError(
            f"{path.parent} cannot be written ({getattr(reason, 'strerror', None) or reason}); "
            "set ECHOSEG_CACHE_DIR to a writable folder, or use --backend torch"
        ) from error
    return path
