"""Live runs of the page: what `echoseg live` does, in a process of its own per run.

The process is given a `LiveTask` on standard input and writes messages to standard output, each
with its length before it: `LiveFrame` and its JPEG for each frame, at last `LiveEnd`. While a
message waits to be taken no frame is segmented, and newer frames replace older ones. It ends when
its input is closed.
"""

import contextlib
import io
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from echoseg.clip import Label
from echoseg.errors import EchosegError
from echoseg.inference.live.latency import LatencyHistogram
from echoseg.inference.live.run import Status
from echoseg.inference.live.session import FrameResult
from echoseg.parallel.serve import receive, send
from echoseg.private import hide_path
from echoseg.report.html import plain_words
from echoseg.web.live_messages import LiveEnd, LiveFrame

MAX_RUNS = 2
_MAX_MEMORY_BYTES = 8 * 2**30
_JPEG_QUALITY = 85
_MAX_LINE_POINTS = 160
_END_S = 5.0
_STRUCTURES: dict[str, tuple[Label, ...]] = {
    "lv_cavity": (Label.LV_CAVITY,),
    "lv_epi": (Label.LV_CAVITY, Label.LV_MYOCARDIUM),
    "la": (Label.LA_CAVITY,),
}
_BEGIN = "import sys; sys.path[:] = {path!r}; from echoseg.web.live import run_child; run_child()"


class LiveTask(BaseModel):
    """What a live run plays, and by which model.

    Attributes:
        source: As of `echoseg live`.
        alias: Stands for the source in messages.
        model: Name or path of a checkpoint.
        backend: As of `PageSettings`.
        reconnect_s: How long a camera or stream that went away is waited for.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    alias: str
    model: str
    backend: str
    reconnect_s: float = 0.0


class LiveRun:
    """A process that plays a source.

    Args:
        task: What it plays.
    """

    def __init__(self, task: LiveTask) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN.format(path=sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,
        )
        with contextlib.suppress(BrokenPipeError):
            send(self._process.stdin, task.model_dump_json().encode())

    def messages(self) -> Iterator[bytes]:
        """The messages, as they come; each call of `next` waits for one."""
        with contextlib.suppress(EOFError, ValueError, OSError):
            while True:
                yield receive(self._process.stdout)

    def stop(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def run_child() -> None:
    """Play the source of the task on standard input."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the messages
    with contextlib.suppress(ImportError, ValueError, OSError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    task = LiveTask.model_validate_json(receive(requests))
    try:
        ended = _play(task, requests, answers)
    except BrokenPipeError:
        return
    except EchosegError as error:
        ended = str(error)
    except Exception as error:  # decoders raise exceptions of their own
        ended = f"unexpected, please report it: {type(error).__name__}"
    ended = hide_path(ended, task.source, task.alias)
    with contextlib.suppress(OSError):
        send(answers, LiveEnd(ended=ended).model_dump_json().encode())
    os._exit(0)  # a source that blocks does not keep the process


def _play(task: LiveTask, requests: Any, answers: Any) -> str:
    """Play a source; return why it ended."""
    from functools import partial

    from echoseg.inference.analyzer import Analyzer
    from echoseg.inference.live.check import EfCheck
    from echoseg.inference.live.run import LiveOptions, Run
    from echoseg.inference.live.session import Session
    from echoseg.inference.live.sources import SourceOptions, is_endless, open_source

    analyzer = Analyzer(task.model, backend=task.backend)
    session = Session(analyzer.session, check=EfCheck(analyzer))
    sink = _Sink(answers, session.latencies)
    options = LiveOptions(is_endless=is_endless(task.source), reconnect_s=task.reconnect_s)
    run = Run(partial(open_source, task.source, SourceOptions()), session, [sink], options)

    def stop_with_the_page() -> None:
        requests.read()
        run.stop()
        os._exit(0)

    threading.Thread(target=stop_with_the_page, daemon=True).start()
    status = run.follow(sink.note)
    problems = (plain_words(one[:1].upper() + one[1:]) for one in status.problems)
    return " ".join((f"The run ended: {status.ended}.", *problems))


class _Sink:
    """Writes a message and a JPEG per frame."""

    def __init__(self, stream: Any, latencies: LatencyHistogram) -> None:
        self._stream, self._latencies = stream, latencies
        self._rate_hz, self._dropped = 0.0, 0

    def note(self, status: Status) -> None:
        """Take the progress of the run."""
        self._rate_hz, self._dropped = status.rate_hz, status.dropped

    def write(self, frame: np.ndarray, result: FrameResult) -> None:
        """Write a frame and its result."""
        from PIL import Image

        jpeg = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(frame)).save(jpeg, "JPEG", quality=_JPEG_QUALITY)
        quantiles_s = [self._latencies.quantile_s(share) for share in (0.5, 0.95)]
        message = frame_message(result, quantiles_s)
        message = message.model_copy(update={"rate_hz": self._rate_hz, "dropped": self._dropped})
        send(self._stream, message.model_dump_json().encode())
        send(self._stream, jpeg.getvalue())

    def close(self) -> None:
        """Nothing is left to write."""


def frame_message(result: FrameResult, quantiles_s: Sequence[float | None]) -> LiveFrame:
    """What the page is sent of a frame, without rate and dropped frames.

    Args:
        result: Masks and numbers of the frame.
        quantiles_s: Median and 95th percentile of the latencies.
    """
    p50_ms, p95_ms = (None if value is None else 1000 * value for value in quantiles_s)
    is_ml = result.volume_ml is not None or result.volume_px3 is None
    return LiveFrame(
        frame=result.frame_index,
        time_s=result.time_s,
        contours=outlines(result.mask),
        volume=result.volume_ml if is_ml else result.volume_px3,
        unit="ml" if is_ml else "relative",
        ef=result.ef,
        num_beats=result.num_beats,
        reset=result.reset,
        latency_ms=1000 * result.latency_s,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        rate_hz=0.0,
        dropped=0,
    )


def outlines(mask: np.ndarray) -> dict[Any, tuple[tuple[float, float], ...]]:
    """Closed lines around the structures of a label map `H W`, (x, y) in pixels.

    A structure that is not there has no key; of several pieces it is the longest line.
    """
    from skimage.measure import find_contours

    lines: dict[Any, tuple[tuple[float, float], ...]] = {}
    for name, labels in _STRUCTURES.items():
        region = np.isin(mask, labels)
        if not region.any():
            continue
        rows, columns = np.nonzero(region.any(1))[0], np.nonzero(region.any(0))[0]
        top, left = rows[0], columns[0]
        part = np.pad(region[top : rows[-1] + 1, left : columns[-1] + 1], 1)
        line = max(find_contours(part, 0.5), key=len)
        step = -(-len(line) // _MAX_LINE_POINTS)
        places = line[::step] + np.array([top - 1, left - 1])
        lines[name] = tuple((round(float(x), 1), round(float(y), 1)) for y, x in places)
    return lines
