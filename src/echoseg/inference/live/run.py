"""A live run: one thread fetches frames, another segments them; it reconnects and ends cleanly."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from echoseg.clip import Clip
from echoseg.errors import DamagedError, EchosegError, FormatError, reason_of
from echoseg.inference.live.frame_queue import FrameQueue
from echoseg.inference.live.session import FrameResult, Session
from echoseg.inference.live.sources import LiveFrame, Opener

STATUS_EVERY_S, RETRY_EVERY_S = 0.5, 0.5


class Sink(Protocol):
    """Receives the results of a live run per frame; raises an `EchosegError` when it fails."""

    def write(self, frame: np.ndarray, result: FrameResult, /) -> None:
        """Write a frame and its result."""
        ...

    def close(self) -> None:
        """Finish; calling it again does nothing."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """Progress, or outcome, of a live run.

    Attributes:
        num_frames: Frames segmented.
        dropped: Frames replaced by newer ones.
        resets: Cuts, probe movements and reconnections.
        elapsed_s: Since the first frame arrived.
        p50_s: Median latency; None before the first frame, as the next two.
        p95_s: The 95th percentile.
        p99_s: The 99th.
        result: That of the last frame; once the run ended, with its last beats checked.
        ended: Why the run ended; empty while it runs.
        problems: Errors during the run, one sentence each.
    """

    num_frames: int
    dropped: int
    resets: int
    elapsed_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    result: FrameResult | None
    ended: str = ""
    problems: tuple[str, ...] = ()

    @property
    def rate_hz(self) -> float:
        """Frames segmented per second."""
        return self.num_frames / self.elapsed_s if self.elapsed_s > 0 else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveOptions:
    """Options of a live run.

    Attributes:
        drop: Under load use the newest frame and drop older ones; otherwise lose none, and wait
            for the sector, so that the same frames give the same masks each time.
        reconnect_s: Time to wait for a lost source; 0: do not wait.
        is_endless: The end of the source means that it was lost.
        is_over: Polled every 0.1 s: whether the run should end, for instance after a signal.
    """

    drop: bool = True
    reconnect_s: float = 0.0
    is_endless: bool = False
    is_over: Callable[[], bool] = bool


class Run:
    """One live run; `follow` does it.

    An error before the first frame has passed all sinks is raised. A later one ends the run and is
    reported in its `Status`, because the sinks then hold data.

    Args:
        opener: Opens the source.
        session: Segments its frames.
        sinks: Receive the results; the run ends when one fails. Closed at the end.
        asides: Optional sinks: the run continues without one that fails.
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
        session.waits = not options.drop
        self._sinks, self._asides = sinks, list(asides)
        self._waiting: FrameQueue[LiveFrame | EchosegError] = FrameQueue(drop=False)
        self._stopped = threading.Event()
        self._dropped, self._offset_s = 0, 0.0
        self._began_s: float | None = None
        self._gone_s: float | None = None
        self._result: FrameResult | None = None
        self._problems: list[str] = []

    def stop(self) -> None:
        """End the run after the current frame; callable from any thread."""
        self._stopped.set()
        self._waiting.close()

    def follow(self, show: Callable[[Status], None] | None = None) -> Status:
        """Segment frames until the source ends or is lost, or the run is stopped (also by Ctrl-C).

        Args:
            show: Called every 0.5 s.

        Raises:
            EchosegError: If opening the source, its first frame or a sink for it fails.
        """
        ended = "stopped"
        try:
            reason = self._follow(show)
            # a queue closed by stop() does not mean that the source ended
            ended = "stopped" if self._is_stopped else reason
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()
            self._close_sinks()
        if self._result is not None:
            self._result = replace(self._result, ef=self._session.state_ef(is_last=True))
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
            except Exception as error:  # whatever it is, the recording must stay
                if self._result is None:
                    raise
                self._report(error)
                return "end of the source" if isinstance(error, DamagedError) else "cut short"
            if show is not None and time.perf_counter() - shown_s >= STATUS_EVERY_S:
                shown_s = time.perf_counter()
                show(self._status(""))
        return "stopped"

    def _go_on(self) -> str:
        """Process the next item; the reason when the run is over, otherwise an empty text."""
        item = self._waiting.get(0.1)
        if isinstance(item, LiveFrame):
            self._process(item)
        elif item is None and not self._waiting.is_over:
            pass
        elif self._options.is_endless and self._result is not None:
            return self._wait_for_source()
        elif isinstance(item, EchosegError):
            raise item
        elif self._result is None:
            raise FormatError("the source ended before its first frame; check what it sends")
        else:
            return "end of the source"
        return ""

    def _wait_for_source(self) -> str:
        """Reopen the source; the reason when the run is over because it was lost for too long."""
        if self._gone_s is None:
            self._gone_s = time.perf_counter()
        max_wait_s = self._options.reconnect_s
        if time.perf_counter() - self._gone_s >= max_wait_s:
            self._problems.append(
                f"the source was lost and did not return within {max_wait_s:g} s; raise "
                "--reconnect (reconnect_s) to wait longer"
            )
            return "the source went away"
        self._stopped.wait(RETRY_EVERY_S)
        self._fetch()
        return ""

    def _report(self, error: Exception) -> None:
        message = f"{error}"
        if not isinstance(error, EchosegError):
            message = f"unexpected {type(error).__name__}; please report this"
        if message not in self._problems:
            self._problems.append(message)

    def _tell_colour(self, stated: Clip) -> None:
        """Report once that the source shows colour Doppler: masks and EF are unreliable there."""
        for one in stated.warnings:
            if one.code == "colour_doppler" and one.message not in self._problems:
                self._problems.append(one.message)

    def _fetch(self) -> None:
        """Open the source in its own thread, which never blocks the run."""
        self._dropped += self._waiting.dropped
        self._waiting = FrameQueue(drop=self._options.drop)
        threading.Thread(
            target=_fetch, args=(self._opener, self._waiting, self._stopped), daemon=True
        ).start()

    def _process(self, item: LiveFrame) -> None:
        if self._began_s is None:
            self._began_s = time.perf_counter()
        self._check_size(item.frame)
        if self._gone_s is not None:  # times of a reopened source start at 0 again
            away_s = time.perf_counter() - self._gone_s
            self._offset_s = (self._result.time_s if self._result else 0.0) + away_s
            self._gone_s = None
            self._session.reset("reconnected")
        if item.stated is not None:
            self._session.describe(item.stated)
            self._tell_colour(item.stated)
        result = self._session.push(
            item.frame, item.time_s + self._offset_s, arrived_s=item.arrived_s
        )
        for sink in self._sinks:
            sink.write(item.frame, result)
        for sink in tuple(self._asides):
            self._write_aside(sink, item.frame, result)
        self._result = result

    def _check_size(self, frame: np.ndarray) -> None:
        size = self._session.size
        if size is not None and frame.shape != size:
            raise FormatError(
                "the frame size of the source changed from {} x {} to {} x {} pixels; start "
                "another run for the new size".format(*size, *frame.shape)
            )

    def _write_aside(self, sink: Sink, frame: np.ndarray, result: FrameResult) -> None:
        try:
            sink.write(frame, result)
        except EchosegError as error:
            if self._result is None:
                raise
            self._report(error)
            self._asides.remove(sink)
            self._close(sink)

    def _close_sinks(self) -> None:
        for sink in (*self._sinks, *self._asides):
            self._close(sink)

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except EchosegError as error:
            self._report(error)

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
            result=self._result,
            ended=ended,
            problems=tuple(self._problems),
        )


def _fetch(
    opener: Opener, waiting: "FrameQueue[LiveFrame | EchosegError]", stopped: threading.Event
) -> None:
    """Queue every frame of a source, then the error that ended it."""
    with ExitStack() as stack:
        stack.callback(waiting.close)
        try:
            frames: Iterator[LiveFrame] = opener()
            for frame in frames:
                if stopped.is_set() or not waiting.put(frame):
                    return
        except EchosegError as error:
            waiting.put(error, is_last=True)
        except Exception as error:  # decoders raise many kinds; the run must get it
            refusal = FormatError(f"the source cannot be read ({reason_of(error)}); check it")
            waiting.put(refusal, is_last=True)
