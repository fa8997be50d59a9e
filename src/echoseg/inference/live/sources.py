"""Sources of live frames: a file at its own pace, a camera, a network stream, raw bytes.

The name selects which: `-` is standard input, `rtsp://...` and every other URL a stream,
`/dev/video0` or `FORMAT:NAME` (`avfoundation:0`, `dshow:video=Probe`) a capture device, the rest
a file. All but the file's are read by PyAV as they come; a video file is decoded as it is shown, so
that hours need no memory.
"""

import io
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from echoseg.clip import Clip, View
from echoseg.errors import ConfigError, DamagedError, FormatError, reason_of
from echoseg.io import find_format, load_clip, only_file, refusals
from echoseg.io.frames import ASSUMED_FRAME_RATE_HZ, FRAME_SIDE_PX, describe_damage
from echoseg.io.grey import ColourCheck, to_grey
from echoseg.io.picture import Picture
from echoseg.io.video import container_statement, pictures

OPEN_TIMEOUT_S, READ_TIMEOUT_S = 10.0, 3.0
"""A stream that is silent for longer is lost."""
_COLOUR_EVERY, _COLOUR_WINDOW, _COLOUR_SIDE_PX = 3, 36, 320
"""Frames between two that are searched for colour, and that a search lasts; side of its picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveFrame:
    """One frame of a source.

    Attributes:
        frame: Grey levels, `H W` uint8.
        time_s: Its time in the source.
        arrived_s: When it arrived (`time.perf_counter`).
        stated: What the source states of its clip, and a warning from when it shows colour
            Doppler on; None where there is nothing. Any frame may be dropped, so each has it.
    """

    frame: np.ndarray
    time_s: float
    arrived_s: float
    stated: Clip | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOptions:
    """Options for reading a source.

    Attributes:
        size: (rows, columns) of raw frames.
        frame_rate_hz: Of raw frames; of a file it overrides the file's own.
        spacing_mm: (row, column) pixel spacing; overrides a file's own, as does the view.
        view: The view.
        paced: Play a file at its own rate; else as fast as it is taken.
        raw: Descriptor that raw frames come from; standard input by default.
    """

    size: tuple[int, int] | None = None
    frame_rate_hz: float | None = None
    spacing_mm: tuple[float, float] | None = None
    view: View | None = None
    paced: bool = True
    raw: int | None = None


def is_endless(source: str) -> bool:
    """Whether a source is a camera or network stream, whose end means that it was lost."""
    return "://" in source or _device(source) is not None


def open_source(source: str, options: SourceOptions) -> Iterator[LiveFrame]:
    """Yield the frames of a source until it ends or goes away.

    Raises:
        ConfigError: If raw frames come without size or rate, or others with a size.
        FormatError: If the source cannot be opened, or its frames cannot be read.
        DamagedError: After the last frame, if some could not be read or the last is cut short.
    """
    if source == "-":
        return _raw(options)
    if options.size is not None:
        raise ConfigError(
            "--size {} {} goes with raw frames on standard input (-); leave it out, {} tells its "
            "own".format(*options.size, source)
        )
    if "://" in source:
        return _stream(source, None)
    if device := _device(source):
        return _stream(device[1], device[0])
    return _file(Path(source), options)


def _device(source: str) -> tuple[str, str] | None:
    """(PyAV's format, name) of a capture device; None for other sources."""
    if source.startswith("/dev/"):
        return "v4l2", source
    match = re.fullmatch(r"(v4l2|avfoundation|dshow|decklink|x11grab):(.+)", source)
    return (match[1], match[2]) if match else None


def _raw(options: SourceOptions) -> Iterator[LiveFrame]:
    if options.size is None or options.frame_rate_hz is None:
        raise ConfigError("raw frames on standard input need --size ROWS COLUMNS and --fps N")
    min_side, max_side = FRAME_SIDE_PX
    if not all(min_side <= side <= max_side for side in options.size):
        raise ConfigError(
            "--size must be the ROWS COLUMNS of raw frames, {} to {} each, got {} {}".format(
                *FRAME_SIDE_PX, *options.size
            )
        )
    return _raw_frames(options.size, options.frame_rate_hz, options.raw)


def _raw_frames(
    size: tuple[int, int], frame_rate_hz: float, descriptor: int | None
) -> Iterator[LiveFrame]:
    try:
        # unbuffered: a thread that waits inside a buffer aborts the interpreter at its end
        pipe = io.FileIO(sys.stdin.fileno() if descriptor is None else descriptor, closefd=False)
    except (AttributeError, OSError) as error:
        raise FormatError(
            "standard input cannot be read, it is closed or no pipe; pipe raw frames into it, or "
            "give a file"
        ) from error
    data = bytearray(size[0] * size[1])
    number = 0
    while (got := _fill(pipe, data)) == len(data):
        frame = np.frombuffer(data, np.uint8).reshape(size)
        time_s = number / frame_rate_hz
        yield LiveFrame(frame=frame, time_s=time_s, arrived_s=time.perf_counter())
        data = bytearray(len(data))
        number += 1
    if got:
        raise DamagedError(
            f"frame {number} on standard input is cut short, {got} of {len(data)} bytes",
            "check --size {} {} against what is written".format(*size),
        )
    if not number:
        raise FormatError("standard input ended before its first frame; pipe raw frames into it")


def _fill(pipe: io.FileIO, data: bytearray) -> int:
    """Read until DATA is full or the pipe ends; return how many bytes came."""
    got = 0
    while more := pipe.readinto(memoryview(data)[got:]):
        got += more
    return got


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
    began_s, reason = None, ""
    try:
        with av.open(
            name, format=kind, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S)
        ) as container:
            stream = container.streams.video[0]
            # threads over frames would each delay the newest by one; the flag low_delay does not
            # help H.264 and gives MPEG-2 with B frames out of order
            stream.thread_type = "SLICE"
            colour = ColourWatch()
            for frame in container.decode(stream):
                now_s = time.perf_counter()
                began_s = now_s if began_s is None else began_s
                pixels = Picture(frame, stream.sample_aspect_ratio).pixels()
                yield LiveFrame(
                    frame=to_grey(pixels),
                    time_s=now_s - began_s,
                    arrived_s=now_s,
                    stated=colour.look_at(pixels),
                )
    except (FFmpegError, OSError, ValueError) as error:
        reason = reason_of(error)
        if isinstance(error, av.error.ExitError):
            reason = f"nothing came for {OPEN_TIMEOUT_S:g} s"
    except IndexError:
        reason = "it holds no video"
    if began_s is None:
        raise FormatError(
            f"{name} cannot be opened as a live source ({reason or 'it gave no frame'}); check its "
            "name, that it is there and sends, and that you may read it"
        )


def _file(path: Path, options: SourceOptions) -> Iterator[LiveFrame]:
    """Yield a file's frames, each when its time has come."""
    begin_s = None
    with refusals(path):
        path = only_file(path)
        if find_format(path) == "video" and not container_statement(path).is_gif:
            frames = _video_frames(path, options)
        else:
            clip = load_clip(
                path,
                spacing_mm=options.spacing_mm,
                fps=options.frame_rate_hz,
                view=options.view,
                allow_damaged=True,
            )
            frames = _clip_frames(path, clip)
        for frame, time_s, stated in frames:
            begin_s = time.perf_counter() - time_s if begin_s is None else begin_s
            if options.paced:
                time.sleep(max(0.0, begin_s + time_s - time.perf_counter()))
            arrived_s = time.perf_counter()
            yield LiveFrame(frame=frame, time_s=time_s, arrived_s=arrived_s, stated=stated)


def _first_frame(clip: Clip) -> Clip:
    """A clip without what is of its times, or of its whole length."""
    return replace(
        clip,
        frames=clip.frames[:1].copy(),
        times_s=None,
        r_wave_times_s=(),
        ecg=None,
        damaged_frames=(),
        sources=tuple(one for one in clip.sources if one.quantity != "num_frames"),
    )


class ColourWatch:
    """Looks for colour Doppler in a source without an end, until it is there.

    Searches follow each other, so that a colour box which is switched on later is found too.
    """

    def __init__(self) -> None:
        self._num_frames, self._check = 0, ColourCheck(0)
        self._stated: Clip | None = None

    def look_at(self, pixels: np.ndarray) -> Clip | None:
        """Look at a frame `H W` or `H W 3`; a clip with the warning, from the first time on."""
        if pixels.ndim == 2 or self._stated is not None:
            return self._stated
        if self._num_frames % _COLOUR_WINDOW == 0:
            self._check = ColourCheck(_COLOUR_WINDOW // _COLOUR_EVERY)
        if self._num_frames % _COLOUR_EVERY == 0:
            step = max(1, max(pixels.shape[:2]) // _COLOUR_SIDE_PX)
            self._check.add(pixels[::step, ::step])
        self._num_frames += 1
        if not self._num_frames % _COLOUR_WINDOW and (warnings := self._check.warnings()):
            self._stated = Clip(frames=to_grey(pixels)[None], warnings=warnings)
        return self._stated


Timed = tuple[np.ndarray, float, Clip | None]
"""A frame, its time in s, and what the source states with it."""


def _clip_frames(path: Path, clip: Clip) -> Iterator[Timed]:
    assert clip.times_s is not None  # load_clip assumes what the file does not say
    stated, times_s = _first_frame(clip), (clip.times_s - clip.times_s[0]).tolist()
    for frame, time_s in zip(clip.frames, times_s, strict=True):
        yield frame, time_s, stated
    _refuse_damage(path, clip.damaged_frames, clip.num_frames + len(clip.damaged_frames))


def _video_frames(path: Path, options: SourceOptions) -> Iterator[Timed]:
    """Yield frames with the times of their stamps; one that is missing or late follows the last."""
    damaged, colour = list[int](), ColourWatch()
    stated_hz = options.frame_rate_hz or container_statement(path).rate_hz
    number, interval_s = -1, 1 / (stated_hz or ASSUMED_FRAME_RATE_HZ)
    first_s = last_s = None
    for number, picture in enumerate(pictures(path)):
        if picture is None:
            damaged.append(number)
            continue
        stamp_s = picture.time_s if options.frame_rate_hz is None else number * interval_s
        if last_s is None:
            first_s, time_s = stamp_s, 0.0
        elif stamp_s is not None and first_s is not None and stamp_s - first_s > last_s:
            time_s = stamp_s - first_s
            interval_s = time_s - last_s if options.frame_rate_hz is None else interval_s
        else:
            time_s = last_s + interval_s
        last_s = time_s
        pixels = picture.pixels()
        yield to_grey(pixels), time_s, colour.look_at(pixels)
    if last_s is None:
        raise FormatError(f"{path}: no frame of the video can be decoded")
    _refuse_damage(path, damaged, number + 1)


def _refuse_damage(path: Path, damaged: Sequence[int], total: int) -> None:
    if damaged:
        raise DamagedError(
            f"{path}: {describe_damage(damaged, total)}, the rest was played",
            "get a whole copy",
            tuple(damaged),
        )


Opener = Callable[[], Iterator[LiveFrame]]
"""Opens a source, again after it went away."""
