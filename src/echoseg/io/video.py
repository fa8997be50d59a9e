"""Videos, read by PyAV in whatever container; MJPEG, H.264 and FFV1 are written."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from echoseg.clip import Clip, ClipWarning, SourceStatement
from echoseg.errors import ArgumentError, DamagedError, FormatError, OutputError, reason_of
from echoseg.files import atomic_write
from echoseg.io.arbitration import agree, decide
from echoseg.io.budget import MAX_FRAME_PIXELS, Budget
from echoseg.io.containers import NO_CLOCK, lacks_index, sniff_video, stated_rate_hz
from echoseg.io.frames import OpenOptions
from echoseg.io.grey import Decoded, collect
from echoseg.io.header_scale import default_delay
from echoseg.io.picture import Picture, square_size, stretch_warning

_MILLISECOND = Fraction(1, 1000)
_DURATION_UNITS, _GIF_END = 1_000_000, 64
"""PyAV's units of a container's duration per s; bytes at the end of a GIF that may be padding."""
_GIF_STEP_S = 0.01
"""Delays of a GIF are whole numbers of it."""
_MAX_LACK, _MAX_LACK_STEPS = 0.1, 4
"""Part of a clip, and frames, by which the duration of its stream may differ: containers count the
last frame or not, and round."""
_MJPEG_QUANTISER = "3"
"""FFmpeg's quality of a written MJPEG, 1 (best) to 31."""
WRITE_TIMEOUT_S = 3.0
"""A TCP receiver that accepts nothing for longer counts as disconnected."""


def sniff(head: bytes, path: Path) -> bool:
    """Detect a container or raw stream by its first bytes."""
    return sniff_video(head)


def read(path: Path, options: OpenOptions) -> Clip:
    """Read a video file; times come from its time stamps."""
    times: list[float | None] = []

    def decode() -> Iterator[Decoded]:
        times.clear()
        for picture in pictures(path):
            if picture is None:
                yield DamagedError("the video is damaged there")
            else:
                times.append(picture.time_s)
                yield picture.pixels()

    stated = container_statement(path)
    Budget(path, options).check(
        max(1, stated.num_frames), *square_size(*stated.size, stated.aspect)
    )
    grey = collect(path, decode, options, expected=stated.num_frames, bits=16)
    times_s, warnings = _increasing(times), grey.warnings + stretch_warning(stated.aspect)
    if times_s is None and any(time_s is not None for time_s in times):
        message = "The video's time stamps are missing or out of order and are ignored."
        warnings += (ClipWarning(code="no_times", message=message),)
    if stated.is_gif and times_s is not None:
        rate = default_delay(times_s, _GIF_STEP_S)
    else:
        rate = decide("frame_rate_hz", rate_statements(stated, times_s, grey.total))
    is_stamped = rate is None or (rate.choice == 0 and times_s is not None)
    if not is_stamped and rate is not None and isinstance(rate.value, float):
        times_s = np.delete(np.arange(grey.total) / rate.value, list(grey.damaged))
        times_s -= times_s[0]
    return Clip(
        frames=grey.frames,
        times_s=times_s if rate is None or rate.choice is not None else None,
        damaged_frames=grey.damaged,
        warnings=warnings,
        sources=() if rate is None or not rate.statements else (rate,),
    )


class ContainerStatement(NamedTuple):
    """Frames, width of a pixel in heights, frame rate, whether it is a GIF, (rows, columns).

    `codec_hz` is the rate in the codec's own header, `duration_s` that of the stream.
    """

    num_frames: int = 0
    aspect: Fraction | None = None
    rate_hz: float | None = None
    is_gif: bool = False
    size: tuple[int, int] = (0, 0)
    codec_hz: float | None = None
    duration_s: float | None = None


def rate_statements(
    stated: ContainerStatement, times_s: np.ndarray | None, num_frames: int
) -> list[SourceStatement]:
    """What a video states of its frame rate: time stamps, stream, codec, and its duration.

    Where frames come unevenly, what agrees with the mean of the stamps does not contradict them.

    Args:
        stated: What the container states.
        times_s: The time stamps, if they are of use.
        num_frames: Frames in the file, damaged ones too.
    """
    rates = {"rate of the video stream": stated.rate_hz, "rate in the codec's header": None}
    if stated.codec_hz and stated.codec_hz != stated.rate_hz:
        rates["rate in the codec's header"] = stated.codec_hz
    statements = []
    if times_s is not None and len(times_s) > 1:
        steps_s = np.diff(times_s)
        mean_hz, usual_hz = 1 / float(steps_s.mean()), 1 / float(np.median(steps_s))
        span_s = float(times_s[-1])
        statements = [SourceStatement(origin="time stamps", value=usual_hz)]
        rates = {
            name: hz
            for name, hz in rates.items()
            if hz and (_agree(hz, usual_hz) or not _agree(hz, mean_hz))
        }
        lacks_s = abs((stated.duration_s or span_s) - span_s)
        if lacks_s > max(_MAX_LACK * span_s, _MAX_LACK_STEPS * steps_s.max()):
            rates["number of frames by the duration"] = num_frames / (stated.duration_s or span_s)
    return statements + [
        SourceStatement(origin=name, value=float(hz)) for name, hz in rates.items() if hz
    ]


def _agree(one_hz: float, other_hz: float) -> bool:
    return agree("frame_rate_hz", one_hz, other_hz)


def container_statement(path: Path) -> ContainerStatement:
    """What the container states of its main stream; nothing of one that cannot be opened."""
    import av
    from av.error import FFmpegError

    with contextlib.suppress(FFmpegError, IndexError), av.open(str(path)) as container:
        stream = main_stream(container)
        rate_hz = stated_rate_hz(container, stream)
        is_gif = container.format.name == "gif"
        is_raw = container.format.name in NO_CLOCK
        length = None if is_raw or not stream.duration else stream.duration * stream.time_base
        if container.format.name.startswith("matroska") and len(container.streams) == 1:
            length = (container.duration or 0) / _DURATION_UNITS or None  # it has none of a stream
        return ContainerStatement(
            stream.frames,
            stream.sample_aspect_ratio,
            rate_hz,
            is_gif,
            (stream.height or 0, stream.width or 0),
            float(stream.codec_context.framerate or 0) or None,
            None if length is None else float(length),
        )
    return ContainerStatement()


def main_stream(container: Any) -> Any:
    """The video stream of most pixels other than attached pictures: others are thumbnails."""
    from av.stream import Disposition

    def rank(one: Any) -> tuple[bool, int]:
        return not one.disposition & Disposition.attached_pic, one.width * one.height

    return max(container.streams.video, key=rank)


def pictures(path: Path) -> Iterator[Picture | None]:
    """Yield pictures as they are decoded, None for a damaged or missing one.

    Raises:
        FormatError: If the file has no video stream, or breaks before the first intact frame.
    """
    import av
    from av import logging
    from av.error import FFmpegError

    logging.set_level(logging.PANIC)
    position = expected = num_intact = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FormatError(f"{path}: the file has no video stream")
            stream = main_stream(container)
            stream.thread_type = "NONE"  # so that a broken frame fails at its own position
            # explode: a damaged frame is an error, not a guess
            limits = {"max_pixels": str(MAX_FRAME_PIXELS)}
            stream.codec_context.options = limits | {"err_detect": "explode"}
            expected, aspect = stream.frames, stream.sample_aspect_ratio
            has_clock = container.format.name not in NO_CLOCK
            for packet in container.demux(stream):
                expected -= packet.is_discard  # cut off by an edit list, as phones trim clips
                try:
                    decoded: Iterable[Any] = packet.decode()
                except FFmpegError:
                    decoded = (None,)
                for picture in decoded:
                    is_intact = picture is not None and not picture.is_corrupt
                    num_intact += is_intact
                    position += 1
                    yield Picture(picture, aspect, has_clock) if is_intact else None
    except FFmpegError as error:
        if not num_intact:
            reason = "it ends before its index" if lacks_index(path) else reason_of(error)
            raise FormatError(f"{path}: not a readable video ({reason})") from error
    missing = max(0, expected - position)
    yield from itertools.repeat(None, missing or (num_intact == position and _is_cut_gif(path)))


def _is_cut_gif(path: Path) -> bool:
    """Whether a GIF ends without its trailer: it states no number of frames (GIF89a, 27)."""
    with path.open("rb") as file:
        is_gif = file.read(4) == b"GIF8"
        file.seek(-min(_GIF_END, file.seek(0, 2)), 2)
        return is_gif and not file.read().rstrip(b"\0").endswith(b";")


def _increasing(times: list[float | None]) -> np.ndarray | None:
    """Times from the first; None where one is missing or they do not increase."""
    times_s = np.array(times, float)  # None becomes NaN
    times_s -= times_s[0]
    return times_s if (np.diff(times_s) > 0).all() else None


def write_h264(path: str | Path, frames_rgb: Iterable[np.ndarray], frame_rate_hz: float) -> None:
    """Write RGB frames `H W 3` uint8 as H.264 that plays in a browser.

    The same frames give the same bytes. Odd sides are padded by a pixel, since 4:2:0 colour needs
    even ones.
    """
    import av

    rate = Fraction(frame_rate_hz).limit_denominator(1001)
    options = {"movflags": "+faststart"}
    with (
        atomic_write(path) as partial,
        av.open(str(partial), "w", format="mp4", options=options) as container,
    ):
        stream = None
        for frame_rgb in frames_rgb:
            rows, columns = frame_rgb.shape[:2]
            padded = np.pad(frame_rgb, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge")
            if stream is None:
                stream = container.add_stream("libx264", rate=rate)
                stream.height, stream.width = padded.shape[:2]
                stream.pix_fmt = "yuv420p"
                # with x264's macroblock tree each run gives other bytes
                stream.options = {"crf": "20", "preset": "veryfast", "mbtree": "0"}
            picture = av.VideoFrame.from_ndarray(padded, format="rgb24")
            container.mux(stream.encode(picture))
        if stream is not None:
            container.mux(stream.encode())


def write_mjpeg(path: str | Path, frames: np.ndarray, frame_rate_hz: float) -> None:
    """Write grey frames `T H W` uint8 as MJPEG in AVI, the kind EchoNet-Dynamic comes in.

    Args:
        path: The file.
        frames: Grey levels, the JPEG's luma unchanged; its chroma is neutral.
        frame_rate_hz: Rounded to a fraction with a denominator up to 1001.

    Raises:
        ArgumentError: If an argument is out of range.
        OutputError: If the file cannot be written.
    """
    import av

    if frames.ndim != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ArgumentError(
            f"frames must be a non-empty (T, H, W) uint8 array, got {frames.shape} {frames.dtype}"
        )
    if not 0.001 <= frame_rate_hz <= 10_000:
        raise ArgumentError(f"frame_rate_hz must be 0.001 to 10000, got {frame_rate_hz:g}")
    rows, columns = frames.shape[1:]
    half = rows % 2 == 0 and columns % 2 == 0  # 4:2:0 as in the data set, where the size allows
    with atomic_write(path) as partial, av.open(str(partial), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=Fraction(frame_rate_hz).limit_denominator(1001))
        stream.height, stream.width = rows, columns
        stream.pix_fmt = "yuvj420p" if half else "yuvj444p"
        stream.options = {"qmin": _MJPEG_QUANTISER, "qmax": _MJPEG_QUANTISER}
        neutral = np.full((rows // 2, columns) if half else (2, rows, columns), 128, np.uint8)
        for frame in frames:
            planes = np.concatenate((frame if half else frame[None], neutral))
            picture = av.VideoFrame.from_ndarray(planes, format=stream.pix_fmt)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


class GrowingVideo:
    """A video written frame by frame, for streams of unknown length.

    Args:
        target: File, whose suffix gives the container; or a URL to send to (`udp://...`, as
            MPEG-TS).
        lossless: FFV1 of grey frames `H W`; else H.264 of RGB frames `H W 3`, played at once.
        name: Its name in error messages; `target` by default.
    """

    def __init__(self, target: str, *, lossless: bool = False, name: str = "") -> None:
        self._target, self._lossless, self._name = target, lossless, name or target
        self._container: Any = None
        self._stream: Any = None
        self._size: tuple[int, ...] | None = None
        self._last_ms = -1

    def add(self, frame: np.ndarray, time_s: float) -> None:
        """Write one frame, shown from `time_s` on.

        Raises:
            ArgumentError: If its size is not that of the first frame.
            OutputError: If the target cannot be written.
        """
        import av

        self._size = self._size or frame.shape[:2]
        if frame.shape[:2] != self._size:  # PyAV would stretch it, and mix labels
            raise ArgumentError(
                "{} holds frames of {} x {} pixels, got one of {} x {}; write it to another".format(
                    self._name, *self._size, *frame.shape[:2]
                )
            )
        self._last_ms = max(self._last_ms + 1, round(1000 * time_s))
        if not self._lossless:
            rows, columns = self._size
            frame = np.pad(frame, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge")
        kind = "gray" if self._lossless else "rgb24"
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=kind)
        picture.pts, picture.time_base = self._last_ms, _MILLISECOND
        with self._refusals():
            container = self._container or self._open(frame.shape[0], frame.shape[1])
            container.mux(self._stream.encode(picture))

    def _open(self, rows: int, columns: int) -> Any:
        import av

        target, is_url = self._target, "://" in self._target
        if target.startswith("tcp://") and "?" not in target:  # microseconds
            target += f"?timeout={round(1e6 * WRITE_TIMEOUT_S)}"
        container = av.open(target, "w", format="mpegts" if is_url else None)
        self._container = container
        self._stream = container.add_stream("ffv1" if self._lossless else "libx264")
        self._stream.codec_context.time_base = _MILLISECOND
        self._stream.codec_context.framerate = Fraction(0)  # unknown: the time stamps count
        self._stream.height, self._stream.width = rows, columns
        self._stream.pix_fmt = "gray" if self._lossless else "yuv420p"
        if not self._lossless:
            self._stream.options = {"crf": "23", "preset": "ultrafast", "tune": "zerolatency"}
        return container

    def close(self) -> None:
        """Write the remaining frames and close; a second call does nothing.

        Raises:
            OutputError: If it cannot be written.
        """
        container, self._container = self._container, None
        if container is None:
            return
        with self._refusals():
            try:
                container.mux(self._stream.encode())
            finally:
                container.close()

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        from av.error import FFmpegError

        try:
            yield
        except (FFmpegError, OSError) as error:  # an unknown protocol is not an OSError
            way_out = "free some space, or choose another place"
            if "://" in self._target:
                way_out = "check that its receiver runs"
            raise OutputError(
                f"{self._name} cannot be written ({error.strerror}); {way_out}"
            ) from error
