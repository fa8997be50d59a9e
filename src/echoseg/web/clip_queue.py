"""Analyzes the queued clips, each in a worker process under the limits of untrusted files."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError
from importlib.metadata import version
from pathlib import Path

from echoseg.audit import Event as AuditEvent
from echoseg.errors import EchosegError
from echoseg.parallel import Limits, Loss, WorkerPool, check_jobs
from echoseg.report.writer import MARK
from echoseg.web.analysis import (
    RESULT,
    ClipFailure,
    ClipResult,
    ClipTask,
    Prepare,
    analyze_clip,
    page_settings,
)
from echoseg.web.records import ClipRow
from echoseg.web.worklist import Worklist

_POLL_S = 1.0
_MAX_KILLS = 3
_AGAIN = {"killed": "try it again", "crash": "the file ends the program that reads it"}


class ClipQueue:
    """Worker processes for the queued clips of a worklist, each driven by a thread.

    Args:
        worklist: Where clips come from.
        limits: Time and memory of one clip.
        analyze: What is done with a clip, in the process.

    Raises:
        ConfigError: If there is no such backend, or it is not installed.
        ModelError: If there is no such model.
    """

    def __init__(
        self,
        worklist: Worklist,
        limits: Limits | None = None,
        analyze: Callable[[ClipTask], ClipResult | ClipFailure] = analyze_clip,
    ) -> None:
        settings = worklist.settings
        self._worklist, self._how = worklist, page_settings(settings.model, settings.backend)
        self._jobs = check_jobs(settings.jobs)
        self._pool = WorkerPool(
            analyze,
            self._jobs,
            limits=limits or Limits(),
            on_loss=lambda task, loss: loss,
            prepare=Prepare(self._how) if analyze is analyze_clip else None,
        )
        self._is_stopping, self._kills = threading.Event(), Counter[str]()
        self._threads = [threading.Thread(target=self._work) for _ in range(self._jobs)]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop; clips in work are queued again."""
        self._is_stopping.set()
        self._worklist.is_work.set()
        self._pool.stop()
        for thread in filter(threading.Thread.is_alive, self._threads):
            thread.join()
        self._pool.close(is_finished=False)

    def _work(self) -> None:
        while not self._is_stopping.is_set():
            self._worklist.is_work.clear()
            try:
                row = self._worklist.claim()
            except EchosegError:  # the database is away for a moment
                row = None
            if row is None:
                self._worklist.is_work.wait(_POLL_S)
                continue
            self._analyze(row)

    def _analyze(self, row: ClipRow) -> None:
        worklist, task = self._worklist, self.task(row)
        try:
            outcome = self._pool.submit(task).result()
        except (CancelledError, RuntimeError):  # stopped
            worklist.release(row.id)
            return
        except EchosegError as error:  # the model does not load
            outcome = ClipFailure(reason=str(error))
        if isinstance(outcome, Loss):
            self._kills[row.id] += outcome.kind == "killed"
            if outcome.kind == "killed" and self._kills[row.id] < _MAX_KILLS:
                worklist.release(row.id)
                return
            words = _AGAIN.get(outcome.kind, "")
            outcome = ClipFailure(reason="; ".join(filter(None, (outcome.reason, words))))
        self._note(row, outcome)
        worklist.finish(row.id, outcome)

    def task(self, row: ClipRow) -> ClipTask:
        """What a worker process is given of a clip."""
        return ClipTask(
            folder=self._worklist.folder / row.id,
            source=Path(row.source),
            alias=row.name,
            sha256=row.sha256,
            settings=self._how,
            is_private=not self._worklist.settings.show_names,
        )

    def _note(self, row: ClipRow, outcome: ClipResult | ClipFailure) -> None:
        result = self._worklist.folder / row.id / RESULT / MARK
        is_ready = isinstance(outcome, ClipResult)
        self._worklist.audit.append(
            AuditEvent(
                event="analyzed" if is_ready else "failed",
                input_sha256=row.sha256,
                model_sha256=self._how.model_sha256,
                result_sha256=hashlib.sha256(result.read_bytes()).hexdigest() if is_ready else "",
                version=version("echoseg"),
            )
        )
