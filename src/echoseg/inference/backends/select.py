"""Which runtime runs a network: one by name, or the fastest of those that give the same masks.

`auto` times each runtime that is installed for a part of a second on the demo clip, leaves out
those whose masks or EF differ (`runtime.check`), and remembers the fastest for this machine, these
weights and these versions. `torch-compile` is taken by name only: it compiles for a minute.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from echoseg.errors import ConfigError, EchosegError, OutputError
from echoseg.inference.backends import cache
from echoseg.inference.backends.base import InferenceSession
from echoseg.inference.backends.verify import check, compare, demo_frames
from echoseg.weights.card import ModelCard, find_checkpoint, read_card

MEASURED_S = 1.0
"""Seconds that timing all runtimes takes together; loading and checking them comes before."""
_LEAST_FRAMES = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """One runtime: how it counts, and whether `auto` tries it."""

    reduced: bool = False
    tried: bool = True
    from_file: bool = False


RUNTIMES: dict[str, Backend] = {
    "torch": Backend(),
    "torch-bf16": Backend(reduced=True),
    "torch-compile": Backend(tried=False),
    "torch-compile-bf16": Backend(reduced=True, tried=False),
    "onnx": Backend(from_file=True),
    "openvino": Backend(from_file=True),
    "openvino-bf16": Backend(reduced=True, from_file=True),
}
AUTO = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What `auto` found.

    Attributes:
        runtime: Key of `RUNTIMES`, the fastest.
        frames_per_s: Rate of each that was timed.
        left_out: Why the others were not.
        for_good: Not when the disk kept one from being tried: it may do better next time.
    """

    runtime: str
    frames_per_s: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    for_good: bool = True


def check_name(runtime: str) -> None:
    """Refuse what is no runtime.

    Raises:
        ConfigError: If so.
    """
    if runtime != AUTO and runtime not in RUNTIMES:
        raise ConfigError(
            f"runtime must be {AUTO} or one of {', '.join(RUNTIMES)}, got {runtime!r}"
        )


def open_session(model: str, runtime: str, *, num_threads: int = 1) -> InferenceSession:
    """Return a network of one frame at a time on the CPU; a file runtime loads no torch.

    Args:
        model: Name of a shipped checkpoint or path of one.
        runtime: Key of `RUNTIMES`, or `auto`.
        num_threads: Of the runtime; torch's own are set for the process.

    Raises:
        ConfigError: If the runtime is unknown or not installed.
        ModelError: If the checkpoint is broken or looks ahead, or the runtime gives other masks.
    """
    check_name(runtime)
    card = read_card(find_checkpoint(model))
    if runtime == AUTO:
        runtime = select_backend(model, num_threads=num_threads).runtime
    if RUNTIMES[runtime].reduced:
        _check_once(model, card, runtime, num_threads)
    return _open(model, card, runtime, num_threads)


def select_backend(model: str, *, num_threads: int = 1) -> Choice:
    """Return the fastest runtime on this machine, as remembered or measured now.

    Raises:
        ModelError: If the checkpoint cannot be loaded, or looks ahead.
    """
    card = read_card(find_checkpoint(model))
    key = cache.machine_key(card.sha256, card.image_size, num_threads)
    if (kept := _kept(key)) is not None:
        return kept
    found = _measure(model, card, num_threads)
    if found.for_good:
        cache.cache_put(key, {"model": card.name, **asdict(found)})
    return found


def _kept(key: str) -> Choice | None:
    """Return what was found before; None where that is nothing, or nothing that can be used."""
    try:
        kept = TypeAdapter(Choice).validate_python(cache.cache_get(key))
    except ValidationError:
        return None
    return kept if kept.runtime in RUNTIMES else None


def _measure(model: str, card: ModelCard, num_threads: int) -> Choice:
    frames = demo_frames(card.image_size)
    reference = _open(model, card, "torch", num_threads)
    ready, left_out, for_good = {"torch": reference}, {}, True
    for name, kind in RUNTIMES.items():
        if name == "torch" or not kind.tried:
            continue
        try:
            stepper = _open(model, card, name, num_threads)
            check(compare(reference, stepper, frames), reduced_precision=kind.reduced)
            ready[name] = stepper
        except EchosegError as error:
            left_out[name] = str(error)
            for_good = for_good and not isinstance(error, OutputError)
    rates = {
        name: round(rate_hz(stepper, frames, MEASURED_S / len(ready)), 1)
        for name, stepper in ready.items()
    }
    return Choice(
        runtime=max(rates, key=lambda name: rates[name]),
        frames_per_s=rates,
        left_out=left_out,
        for_good=for_good,
    )


def rate_hz(stepper: InferenceSession, frames: Sequence[np.ndarray], seconds: float) -> float:
    """Return frames a second, one after another; the median of at least a few."""
    state, times = stepper.first_state(), []
    end_s = time.perf_counter() + seconds
    while len(times) < _LEAST_FRAMES or time.perf_counter() < end_s:
        start = time.perf_counter()
        _, state = stepper.step(frames[len(times) % len(frames)], state)
        times.append(time.perf_counter() - start)
    return 1 / statistics.median(times)


def _check_once(model: str, card: ModelCard, runtime: str, num_threads: int) -> None:
    """Refuse a runtime of reduced precision whose masks differ; a machine is asked once."""
    size_px = card.image_size
    key = f"{runtime} {cache.machine_key(card.sha256, size_px, num_threads)}"
    if (cache.cache_get(key) or {}).get("same") is not True:
        pair = [_open(model, card, name, num_threads) for name in ("torch", runtime)]
        check(compare(pair[0], pair[1], demo_frames(size_px)), reduced_precision=True)
        cache.cache_put(key, {"model": card.name, "same": True})


def _open(model: str, card: ModelCard, runtime: str, num_threads: int) -> InferenceSession:
    if RUNTIMES[runtime].from_file:
        from echoseg.inference.backends.exported import OnnxSession, OpenVinoSession

        path = _exported(model, card)
        if runtime == "onnx":
            return OnnxSession(path, num_threads=num_threads)
        return OpenVinoSession(path, num_threads=num_threads, bf16=runtime.endswith("bf16"))
    from echoseg.inference.backends.torch import TorchSession
    from echoseg.models.checkpoint import load_model

    network, _ = load_model(model)
    return TorchSession(
        network,
        card.image_size,
        bf16=runtime.endswith("bf16"),
        compiled="compile" in runtime,
    )


def _exported(model: str, card: ModelCard) -> Path:
    """Return the checkpoint's ONNX file, written and checked once, and anew where it is damaged."""
    size_px = card.image_size
    path = cache.export_path(card.sha256, size_px)
    if cache.has_valid_checksum(path):
        return path
    from echoseg.inference.backends.export import export
    from echoseg.models.checkpoint import load_model

    network, _ = load_model(model)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        export(network, card, "onnx", path, size_px=size_px)
        cache.write_checksum(path)
    except (OSError, OutputError) as error:
        reason = error.__cause__ or error
        raise OutputError(
            f"{path.parent} cannot be written ({getattr(reason, 'strerror', None) or reason}); "
            "set ECHOSEG_CACHE_DIR to a folder that can, or use --runtime torch"
        ) from error
    return path
