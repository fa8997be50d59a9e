"""A node: receives, analyzes, sends; starts its parts, keeps them going, and ends cleanly.

A part that fails is logged and tried again, after a wait that doubles up to a minute. On SIGTERM
and Ctrl-C no association is accepted any more, the study in work is given back, the object that
is being sent is finished.
"""

import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from echoseg.errors import reason_of
from echoseg.files import locked_dir
from echoseg.node.analysis import analyze_study
from echoseg.node.commitment import Commitment
from echoseg.node.dicomweb import Web
from echoseg.node.log import LOGGER, log_event
from echoseg.node.queue import Queue
from echoseg.node.scp import Scp
from echoseg.node.settings import NodeSettings
from echoseg.node.store import Store
from echoseg.node.web_client import secret
from echoseg.node.worker import STUDIES, Analyze, Deliverer, StudyWorker, worker_name
from echoseg.private import Pseudonyms

_IDLE_S, _HOUSEKEEPING_S, _MAX_WAIT_S, _END_S = 0.2, 600.0, 60.0, 15.0
_MAX_SENDERS = 4


def run_node(settings: NodeSettings, analyze: Analyze = analyze_study) -> None:
    """Run a node until SIGTERM or Ctrl-C; call it in the main thread.

    Args:
        settings: Its settings.
        analyze: What is done with a study, in a process of its own.

    Raises:
        ConfigError: If the port, database or a login cannot be used.
        ModelError: If the model cannot be loaded.
        OutputError: If the folder is in use by another node, or cannot be written.
    """
    stop = threading.Event()
    with _log_lines(), _signals(stop), locked_dir(settings.folder):
        with Node(settings, stop, analyze):
            while not stop.wait(1.0):
                pass
        log_event("stopped")


class Node:
    """The parts of a node, as a context: started at its begin, ended at its end.

    Args:
        settings: Its settings.
        stop: Set when the node is to end.
        analyze: What is done with a study.

    Attributes:
        queue: Its queue.
        scp: Its DICOM server.
    """

    def __init__(
        self, settings: NodeSettings, stop: threading.Event, analyze: Analyze = analyze_study
    ) -> None:
        self._settings, self._stop, self._analyze = settings, stop, analyze
        self._threads: list[threading.Thread] = []
        self._end = ExitStack()

    def __enter__(self) -> "Node":
        with ExitStack() as begun:
            self._start(begun)
            self._end = begun.pop_all()
        return self

    def _start(self, end: ExitStack) -> None:
        settings = self._settings
        for url, login in settings.login.items():
            secret(url, login)  # what is missing shows now, not when results wait
        self.queue = Queue(settings)
        end.callback(self.queue.close)
        store = Store(settings, self.queue, Pseudonyms(settings.key_file))
        files, jobs = store.recover(), self.queue.recover()
        log_event("started", received_before=files, interrupted_before=jobs)
        self._worker = StudyWorker(settings, self.queue, self._analyze)
        end.callback(self._worker.close)
        commitment = Commitment(settings, self.queue, store)
        self.scp = Scp(settings, store, commitment)
        self.scp.start()
        end.callback(self._join)
        end.callback(self.scp.stop)
        parts = {"complete": self._complete, STUDIES: self._worker.step}
        for number in range(min(len(settings.push), _MAX_SENDERS)):
            part = f"deliveries {number}"
            parts[part] = Deliverer(
                settings, self.queue, commitment.on_report, self._stop, part
            ).step
        if settings.web_port is not None:
            web = Web(settings, store, self.queue, {"parts": self._is_working})
            web.start()
            end.callback(web.stop)
        self._store, self._cleaned_s = store, 0.0
        for name, step in parts.items():
            thread = threading.Thread(target=self._run, args=(name, step), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._worker.stop()
        self._end.close()

    def _is_working(self) -> bool:
        """Whether every part runs."""
        return all(thread.is_alive() for thread in self._threads)

    def _join(self) -> None:
        end_s = time.monotonic() + _END_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _run(self, part: str, step: Callable[[], bool]) -> None:
        """Do the steps of a part, without a wait while there is work."""
        tries, wait_s = 0, 0.0
        while not self._stop.wait(wait_s):
            try:
                if tries:  # what the step before had claimed
                    self.queue.recover(worker_name(part))
                wait_s, tries = 0.0 if step() else _IDLE_S, 0
            except Exception as error:  # a part must go on
                wait_s, tries = min(2.0**tries, _MAX_WAIT_S), tries + 1
                log_event("part failed", logging.ERROR, part=part, reason=reason_of(error))

    def _complete(self) -> bool:
        """Queue complete studies, and remove old ones from time to time."""
        if number := self.queue.complete_due():
            log_event("studies complete", studies=number)
        if time.monotonic() - self._cleaned_s > _HOUSEKEEPING_S or not self._cleaned_s:
            self._cleaned_s = time.monotonic()
            if removed := self._store.remove_expired():
                log_event("studies removed", studies=removed)
        return False


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Set an event on SIGTERM and Ctrl-C."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stop.set()) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _log_lines() -> Iterator[None]:
    """Write the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
