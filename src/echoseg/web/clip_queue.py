"""Analyzes the queued clips, each in a worker process under the limits of untrusted files."""

import contextlib
import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
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
from echoseg.web.refusal import without_paths
from echoseg.web.worklist import Worklist

_LOGGER = logging.getLogger("echoseg.page")
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
            outcome = self._outcome(row)
            steps = [partial(self._worklist.release, row.id)]
            if outcome is not None:
                finish = partial(self._worklist.finish, row.id, outcome)
                steps = [partial(self._note, row, outcome), finish]
            while not _are_done(steps) and not self._is_stopping.wait(_POLL_S):
                pass

    def _outcome(self, row: ClipRow) -> ClipResult | ClipFailure | None:
        """What became of a clip; None: it is to be queued again."""
        try:
            outcome = self._pool.submit(self.task(row)).result()
        except CancelledError:
            return None
        except Exception as error:  # the model does not load, or the code is at fault
            words = str(error) if isinstance(error, EchosegError) else type(error).__name__
            return None if self._is_stopping.is_set() else ClipFailure(reason=words)
        if isinstance(outcome, Loss):
            self._kills[row.id] += outcome.kind == "killed"
            if outcome.kind == "killed" and self._kills[row.id] < _MAX_KILLS:
                return None
            words = _AGAIN.get(outcome.kind, "")
            outcome = ClipFailure(reason="; ".join(filter(None, (outcome.reason, words))))
        return outcome

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
        is_ready, result_sha256 = isinstance(outcome, ClipResult), ""
        if is_ready:
            with contextlib.suppress(OSError):  # removed by somebody
                result = self._worklist.folder / row.id / RESULT / MARK
                result_sha256 = hashlib.sha256(result.read_bytes()).hexdigest()
        self._worklist.audit.append(
            AuditEvent(
                event="analyzed" if is_ready else "failed",
                input_sha256=row.sha256,
                model_sha256=self._how.model_sha256,
                result_sha256=result_sha256,
                version=version("echoseg"),
            )
        )


def _are_done(steps: list[partial[None]]) -> bool:
    """Do what is left to store an outcome; False while audit log or database cannot be written."""
    try:
        while steps:
            steps[0]()
            del steps[0]
    except EchosegError as error:
        _LOGGER.error("the outcome of a clip is not stored yet: %s", without_paths(str(error)))
    return not steps
