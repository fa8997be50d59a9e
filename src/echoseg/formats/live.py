"""Sources of live frames: a file at its own pace, a camera, a network stream, raw bytes.

What is given tells which: `-` is standard input, `rtsp://...` and every other URL a stream,
`/dev/video0` or `FORMAT:NAME` (`avfoundation:0`, `dshow:video=Probe`) a capture device, the rest
a file. All but the file's are read by PyAV as they come; a video file is decoded as it is shown, so
that hours need no memory.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from echoseg.errors import ConfigError, FormatError
from echoseg.formats import find_format, open_clip
from echoseg.formats.frames import ASSUMED_FRAME_RATE_HZ, to_grey

OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 3.0
"""A stream that is silent for longer has gone away."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveFrame:
    """A frame `H W` uint8, its time in the source, and when it arrived (`time.perf_counter`)."""

    frame: np.ndarray
    time_s: float
    arrived_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOptions:
    """How a source is read.

    Attributes:
        size: (rows, columns) of raw frames.
        frame_rate_hz: Of raw frames, and of files that do not say theirs.
        paced: Play a file at its own rate; else as fast as it is taken.
        raw: Where raw frames come from; standard input by default.
    """

    size: tuple[int, int] | None = None
    frame_rate_hz: float | None = None
    paced: bool = True
    raw: BinaryIO | None = None


def is_endless(source: str) -> bool:
    """Tell a camera or network stream, whose end means that it went away."""
    return "://" in source or _device(source) is not None


def open_source(source: str, options: SourceOptions) -> Iterator[LiveFrame]:
    """Yield the frames of a source until it ends or goes away.

    Raises:
        ConfigError: If raw frames come without size or rate.
        FormatError: If the source cannot be opened, or its frames cannot be read.
    """
    if source == "-":
        return _raw(options)
    if "://" in source:
        return _stream(source, None)
    if device := _device(source):
        return _stream(device[1], device[0])
    return _file(Path(source), options)


def _device(source: str) -> tuple[str, str] | None:
    """Return (PyAV's format, name) of a capture device; None for what is none."""
    if source.startswith("/dev/"):
        return "v4l2", source
    found = re.fullmatch(r"(v4l2|avfoundation|dshow|decklink|x11grab):(.+)", source)
    return (found[1], found[2]) if found else None


def _raw(options: SourceOptions) -> Iterator[LiveFrame]:
    if options.size is None or options.frame_rate_hz is None:
        raise ConfigError("raw frames on standard input need --size ROWS COLUMNS and --fps N")
    rows, columns = options.size
    if rows < 1 or columns < 1:
        raise ConfigError(f"--size must be two positive numbers, got {rows} {columns}")
    return _raw_frames(options, rows, columns)


def _raw_frames(options: SourceOptions, rows: int, columns: int) -> Iterator[LiveFrame]:
    import sys

    pipe = options.raw or sys.stdin.buffer
    number = 0
    # a last frame cut short is no frame
    while len(data := pipe.read(rows * columns)) == rows * columns:
        frame = np.frombuffer(data, np.uint8).reshape(rows, columns)
        time_s = number / (options.frame_rate_hz or 1)
        yield LiveFrame(frame=frame, time_s=time_s, arrived_s=time.perf_counter())
        number += 1


def _stream(name: str, kind: str | None) -> Iterator[LiveFrame]:
    """Yield the frames of a device or URL; times count from its first frame's arrival.

    Arrival, not time stamps: those of live streams jump when a sender starts again.
    """
    import av
    import av.error
    from av import logging
    from av.error import FFmpegError

    logging.set_level(logging.PANIC)
    options = {"fflags": "nobuffer", "rtsp_transport": "tcp"} if kind is None else {}
    began_s = None
    try:
        with av.open(
            name, format=kind, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S)
        ) as container:
            for frame in container.decode(container.streams.video[0]):
                now_s = time.perf_counter()
                began_s = now_s if began_s is None else began_s
                yield LiveFrame(frame=_grey(frame), time_s=now_s - began_s, arrived_s=now_s)
    except (FFmpegError, OSError, IndexError) as error:
        if began_s is None:
            reason = getattr(error, "strerror", None) or "it holds no video"
            if isinstance(error, av.error.ExitError):
                reason = f"nothing came for {OPEN_TIMEOUT_S:g} s"
            raise FormatError(f"{name} cannot be opened as a live source ({reason})") from error


def _file(path: Path, options: SourceOptions) -> Iterator[LiveFrame]:
    """Yield a file's frames, each when its time has come."""
    frames = _video_frames(path, options) if find_format(path) == "video" else _clip(path, options)
    begin_s = None
    for frame, time_s in frames:
        begin_s = time.perf_counter() - time_s if begin_s is None else begin_s
        if options.paced:
            time.sleep(max(0.0, begin_s + time_s - time.perf_counter()))
        yield LiveFrame(frame=frame, time_s=time_s, arrived_s=time.perf_counter())


def _clip(path: Path, options: SourceOptions) -> Iterator[tuple[np.ndarray, float]]:
    clip = open_clip(path, frame_rate_hz=options.frame_rate_hz)
    assert clip.times_s is not None  # open_clip assumes what the file does not say
    yield from zip(clip.frames, (clip.times_s - clip.times_s[0]).tolist(), strict=True)


def _video_frames(path: Path, options: SourceOptions) -> Iterator[tuple[np.ndarray, float]]:
    import av
    from av import logging
    from av.error import FFmpegError

    logging.set_level(logging.PANIC)
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            rate_hz = options.frame_rate_hz or stream.average_rate or ASSUMED_FRAME_RATE_HZ
            for number, frame in enumerate(container.decode(stream)):
                yield _grey(frame), number / float(rate_hz)
    except (FFmpegError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "it holds no video"
        raise FormatError(f"{path}: not a readable video ({reason})") from error


def _grey(frame: Any) -> np.ndarray:
    grey = frame.format.name.startswith("gray")
    return to_grey(frame.to_ndarray(format="gray" if grey else "rgb24"))


Opener = Callable[[], Iterator[LiveFrame]]
"""Opens a source, again after it went away."""
