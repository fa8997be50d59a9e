"""A live run: one thread fetches frames, this one segments them; it ends and reconnects cleanly."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from echoseg.errors import EchosegError, FormatError
from echoseg.formats.live import LiveFrame, Opener
from echoseg.stream.session import Reading, Session
from echoseg.stream.waiting import Waiting

STATUS_EVERY_S, RETRY_EVERY_S = 0.5, 0.5


class Sink(Protocol):
    """Takes what a live run gives, frame by frame."""

    def write(self, frame: np.ndarray, reading: Reading) -> None:
        """Take a frame and its reading."""
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
    """

    num_frames: int
    dropped: int
    resets: int
    elapsed_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    reading: Reading | None
    ended: str = ""

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
    """

    drop: bool = True
    reconnect_s: float = 0.0
    is_endless: bool = False


class Run:
    """One live run; `follow` does it.

    Args:
        opener: Opens the source.
        session: Takes its frames.
        sinks: Take what comes out.
        options: See `LiveOptions`.
    """

    def __init__(
        self, opener: Opener, session: Session, sinks: Sequence[Sink], options: LiveOptions
    ) -> None:
        self._opener, self._session, self._sinks = opener, session, sinks
        self._options = options
        self._waiting: Waiting[LiveFrame | EchosegError] = Waiting(drop=False)
        self._stopped = threading.Event()
        self._dropped, self._offset_s = 0, 0.0
        self._began_s: float | None = None
        self._gone_s: float | None = None
        self._reading: Reading | None = None

    def stop(self) -> None:
        """End the run after the frame that is being segmented; from any thread."""
        self._stopped.set()
        self._waiting.close()

    def follow(self, show: Callable[[Status], None] | None = None) -> Status:
        """Segment frames until the source ends, goes away, or the run is stopped (also Ctrl-C).

        Args:
            show: Called twice a second.

        Raises:
            FormatError: If the source cannot be opened the first time.
            EchosegError: What reading it raises.
            OutputError: What a sink raises.
        """
        ended = "stopped"
        try:
            told = self._follow(show)
            # stopped while waiting, a queue that is over is not the source's end
            ended = "stopped" if self._stopped.is_set() else told
        except KeyboardInterrupt:
            pass
        finally:
            self._close()
        return self._status(ended)

    def _follow(self, show: Callable[[Status], None] | None) -> str:
        gone_s: float | None = None
        shown_s = time.perf_counter()
        self._fetch()
        while not self._stopped.is_set():
            taken = self._waiting.get(0.1)
            if isinstance(taken, LiveFrame):
                gone_s = None
                self._take(taken)
            elif isinstance(taken, EchosegError) and self._began_s is None:
                raise taken
            elif taken is not None or self._waiting.is_over:
                if not self._options.is_endless:
                    if isinstance(taken, EchosegError):
                        raise taken
                    return "end of the source"
                if gone_s is None:
                    gone_s = self._gone_s = time.perf_counter()
                    self._session.restart()
                if time.perf_counter() - gone_s >= self._options.reconnect_s:
                    return "the source went away"
                self._stopped.wait(RETRY_EVERY_S)
                self._fetch()
            if show is not None and time.perf_counter() - shown_s >= STATUS_EVERY_S:
                shown_s = time.perf_counter()
                show(self._status(""))
        return "stopped"

    def _fetch(self) -> None:
        """Open the source in a thread of its own, which never holds the run up."""
        self._dropped += self._waiting.dropped
        self._waiting = Waiting(drop=self._options.drop)
        threading.Thread(
            target=_fetch, args=(self._opener, self._waiting, self._stopped), daemon=True
        ).start()

    def _take(self, taken: LiveFrame) -> None:
        if self._began_s is None:
            self._began_s = time.perf_counter()
        if self._gone_s is not None:  # a source that came back counts from 0 again
            away_s = time.perf_counter() - self._gone_s
            self._offset_s = (self._reading.time_s if self._reading else 0.0) + away_s
            self._gone_s = None
        self._reading = self._session.push(
            taken.frame, taken.time_s + self._offset_s, arrived_s=taken.arrived_s
        )
        for sink in self._sinks:
            sink.write(taken.frame, self._reading)

    def _close(self) -> None:
        self._stopped.set()
        self._waiting.close()

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
        )


def _fetch(
    opener: Opener, waiting: "Waiting[LiveFrame | EchosegError]", stopped: threading.Event
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
            waiting.put(error)
        except Exception as error:  # decoders raise kinds of their own; the run must hear of it
            waiting.put(FormatError(f"the source broke ({type(error).__name__}: {error})"))
