"""A live run: one thread fetches frames, this one segments them; it ends and reconnects cleanly."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from echoseg.errors import DamagedError, EchosegError, FormatError
from echoseg.inference.live.frame_queue import FrameQueue
from echoseg.inference.live.session import FrameResult, Session
from echoseg.inference.live.sources import LiveFrame, Opener

STATUS_EVERY_S, RETRY_EVERY_S = 0.5, 0.5


class Sink(Protocol):
    """Takes what a live run gives, frame by frame; raises an `EchosegError` when it cannot."""

    def write(self, frame: np.ndarray, reading: FrameResult) -> None:
        """Take a frame and its reading."""
        ...

    def close(self) -> None:
        """Finish; again does nothing."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """How a live run goes, or went.

    Attributes:
        num_frames: Frames segmented.
        dropped: Frames that gave way to newer ones.
        resets: Cuts, moves of the probe and reconnections.
        elapsed_s: Since the first frame arrived.
        p50_s: Median latency; None before the first frame, as the next two.
        p95_s: The 95th percentile.
        p99_s: The 99th.
        reading: The last one.
        ended: Why the run is over; empty while it goes.
        problems: What went wrong on the way, a sentence each.
    """

    num_frames: int
    dropped: int
    resets: int
    elapsed_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    reading: FrameResult | None
    ended: str = ""
    problems: tuple[str, ...] = ()

    @property
    def rate_hz(self) -> float:
        """Frames segmented a second."""
        return self.num_frames / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveOptions:
    """How a source is followed.

    Attributes:
        drop: Under load take the newest frame and drop older ones; else lose none.
        reconnect_s: How long to wait for a source that went away; 0: not at all.
        is_endless: The source's end means that it went away.
        is_over: Asked ten times a second whether someone, a signal say, wants the run to end.
    """

    drop: bool = True
    reconnect_s: float = 0.0
    is_endless: bool = False
    is_over: Callable[[], bool] = bool


class Run:
    """One live run; `follow` does it.

    What goes wrong before the first frame is through all sinks is raised. Later it ends the run,
    and is told in its `Status`: what the sinks hold is worth keeping.

    Args:
        opener: Opens the source.
        session: Takes its frames.
        sinks: Take what comes out; the run ends when one fails. Closed at the end.
        asides: Sinks that the run goes on without when they fail.
        options: See `LiveOptions`.
    """

    def __init__(
        self,
        opener: Opener,
        session: Session,
        sinks: Sequence[Sink],
        options: LiveOptions,
        asides: Sequence[Sink] = (),
    ) -> None:
        self._opener, self._session, self._options = opener, session, options
        self._sinks, self._asides = sinks, list(asides)
        self._waiting: FrameQueue[LiveFrame | EchosegError] = FrameQueue(drop=False)
        self._stopped = threading.Event()
        self._dropped, self._offset_s = 0, 0.0
        self._began_s: float | None = None
        self._gone_s: float | None = None
        self._reading: FrameResult | None = None
        self._problems: list[str] = []

    def stop(self) -> None:
        """End the run after the frame that is being segmented; from any thread."""
        self._stopped.set()
        self._waiting.close()

    def follow(self, show: Callable[[Status], None] | None = None) -> Status:
        """Segment frames until the source ends, goes away, or the run is stopped (also Ctrl-C).

        Args:
            show: Called twice a second.

        Raises:
            EchosegError: What opening the source, its first frame or a sink of it raises.
        """
        ended = "stopped"
        try:
            told = self._follow(show)
            # stopped while waiting, a queue that is over is not the source's end
            ended = "stopped" if self._is_stopped else told
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()
            self._close_sinks()
        return self._status(ended)

    @property
    def _is_stopped(self) -> bool:
        return self._stopped.is_set() or self._options.is_over()

    def _follow(self, show: Callable[[Status], None] | None) -> str:
        shown_s = time.perf_counter()
        self._fetch()
        while not self._is_stopped:
            try:
                if ended := self._go_on():
                    return ended
            except Exception as error:  # whatever it was, the recording is to be kept
                if self._reading is None:
                    raise
                self._tell(error)
                return "end of the source" if isinstance(error, DamagedError) else "cut short"
            if show is not None and time.perf_counter() - shown_s >= STATUS_EVERY_S:
                shown_s = time.perf_counter()
                show(self._status(""))
        return "stopped"

    def _go_on(self) -> str:
        """Take what comes next; return why the run is over, nothing while it is not."""
        taken = self._waiting.get(0.1)
        if isinstance(taken, LiveFrame):
            self._take(taken)
        elif taken is None and not self._waiting.is_over:
            pass
        elif self._options.is_endless and self._reading is not None:
            return self._wait_for_source()
        elif isinstance(taken, EchosegError):
            raise taken
        elif self._reading is None:
            raise FormatError("the source ended before its first frame; check what it sends")
        else:
            return "end of the source"
        return ""

    def _wait_for_source(self) -> str:
        """Try it again; return why the run is over, if the source was away for too long."""
        if self._gone_s is None:
            self._gone_s = time.perf_counter()
        most_s = self._options.reconnect_s
        if time.perf_counter() - self._gone_s >= most_s:
            self._problems.append(
                f"the source went away and was not back within {most_s:g} s; raise reconnect_s "
                "(--reconnect) to wait longer for it"
            )
            return "the source went away"
        self._stopped.wait(RETRY_EVERY_S)
        self._fetch()
        return ""

    def _tell(self, error: Exception) -> None:
        told = f"{error}"
        if not isinstance(error, EchosegError):
            told = f"it broke off ({type(error).__name__}: {error}); please report this"
        if told not in self._problems:
            self._problems.append(told)

    def _fetch(self) -> None:
        """Open the source in a thread of its own, which never holds the run up."""
        self._dropped += self._waiting.dropped
        self._waiting = FrameQueue(drop=self._options.drop)
        threading.Thread(
            target=_fetch, args=(self._opener, self._waiting, self._stopped), daemon=True
        ).start()

    def _take(self, taken: LiveFrame) -> None:
        if self._began_s is None:
            self._began_s = time.perf_counter()
        self._check_size(taken.frame)
        if self._gone_s is not None:  # a source that came back counts from 0 again
            away_s = time.perf_counter() - self._gone_s
            self._offset_s = (self._reading.time_s if self._reading else 0.0) + away_s
            self._gone_s = None
            self._session.reset("reconnected")
        reading = self._session.push(
            taken.frame, taken.time_s + self._offset_s, arrived_s=taken.arrived_s
        )
        for sink in self._sinks:
            sink.write(taken.frame, reading)
        for sink in tuple(self._asides):
            self._write_aside(sink, taken.frame, reading)
        self._reading = reading

    def _check_size(self, frame: np.ndarray) -> None:
        size = self._session.size
        if size is not None and frame.shape != size:
            raise FormatError(
                "the source's frames changed from {} x {} to {} x {} pixels, and a run takes one "
                "size; start another for the rest".format(*size, *frame.shape)
            )

    def _write_aside(self, sink: Sink, frame: np.ndarray, reading: FrameResult) -> None:
        try:
            sink.write(frame, reading)
        except EchosegError as error:
            if self._reading is None:
                raise
            self._tell(error)
            self._asides.remove(sink)
            self._close(sink)

    def _close_sinks(self) -> None:
        for sink in (*self._sinks, *self._asides):
            self._close(sink)

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except EchosegError as error:
            self._tell(error)

    def _status(self, ended: str) -> Status:
        latencies = self._session.latencies
        elapsed_s = 0.0 if self._began_s is None else time.perf_counter() - self._began_s
        return Status(
            num_frames=latencies.number,
            dropped=self._dropped + self._waiting.dropped,
            resets=self._session.num_resets,
            elapsed_s=elapsed_s,
            p50_s=latencies.quantile_s(0.5),
            p95_s=latencies.quantile_s(0.95),
            p99_s=latencies.quantile_s(0.99),
            reading=self._reading,
            ended=ended,
            problems=tuple(self._problems),
        )


def _fetch(
    opener: Opener, waiting: "FrameQueue[LiveFrame | EchosegError]", stopped: threading.Event
) -> None:
    """Put every frame of a source, then the error that ended it, if one did."""
    with ExitStack() as stack:
        stack.callback(waiting.close)
        try:
            frames: Iterator[LiveFrame] = opener()
            for frame in frames:
                if stopped.is_set() or not waiting.put(frame):
                    return
        except EchosegError as error:
            waiting.put(error, is_last=True)
        except Exception as error:  # decoders raise kinds of their own; the run must hear of it
            reason = " ".join(str(error).split()) or type(error).__name__
            refusal = FormatError(
                f"the source cannot be read ({reason}); check it, or give another"
            )
            waiting.put(refusal, is_last=True)
