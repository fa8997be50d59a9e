"""A worker process, seen from its parent: it does one item at a time, and may be lost at any time.

It is started as a plain Python process, not by `multiprocessing`, so that a user's script needs no
`if __name__ == "__main__"`.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pickle import loads
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from echoseg.parallel.serve import receive, send

GB = 1e9
MAX_CLEANUP_S = 10.0
"""Time that a stopped worker has to clean up before it is killed."""
_MAX_STEP_S = 1.0
"""A longer time between two checks is not counted: this process was stopped, or starved."""
_GRACE_S = 2.0
"""Time that a worker has to clean up after an item exceeded its time."""


class Limits(BaseModel):
    """What one item may use; memory is what it adds to its process's, in 10^9 bytes.

    It is the resident set size: a limit of the address space (RLIMIT_AS) would count libraries and
    mapped files that take no memory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_s: float = Field(default=600.0, gt=0)
    memory_gb: float = Field(default=4.0, gt=0)

    @classmethod
    def none(cls) -> "Limits":
        """No limits."""
        return cls(timeout_s=float("inf"), memory_gb=float("inf"))


@dataclass(frozen=True, slots=True)
class Loss:
    """Why an item has no result: `killed` is from outside, a `crash` is the item's own."""

    kind: Literal["timeout", "memory", "killed", "crash"]
    reason: str


class Worker:
    """A process that does one item at a time."""

    def __init__(self) -> None:
        import psutil

        begin = f"import sys; sys.path[:] = {sys.path!r}; from echoseg.parallel.serve import serve"
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{begin}; serve({os.getpid()})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # signals to the parent's group, such as Ctrl-C, do not reach it
        )
        self._lock = threading.Lock()
        self._is_reaped = False
        self._loss: Loss | None = None
        self._limits: Limits | None = None
        self._used_s = self._checked_s = 0.0
        self._kill_at_s = float("inf")
        self._usage = None
        self._base_bytes = 0.0
        with contextlib.suppress(psutil.Error):
            self._usage = psutil.Process(self._process.pid)

    def call(self, data: bytes, limits: Limits) -> Callable[[], Any] | Loss:
        """Send a pickled item and wait; return a function that gives or raises its outcome."""
        with self._lock:
            self._limits, self._used_s, self._checked_s = limits, 0.0, time.monotonic()
        answer = None
        with contextlib.suppress(OSError, EOFError, ValueError):  # of a process that died
            send(self._process.stdin, data)
            answer = receive(self._process.stdout)
        with self._lock:
            self._limits = None
            if answer is not None and self._loss is None:
                return lambda: _open(answer)
        return self._loss or self._why_dead()

    def check(self) -> None:
        """Stop the process if its item exceeds a limit; called again and again by a watcher."""
        with self._lock:
            now = time.monotonic()
            if now > self._kill_at_s:
                self.kill()
            if not self.is_alive() or self._limits is None or self._loss is not None:
                return
            self._used_s += min(now - self._checked_s, _MAX_STEP_S)
            self._checked_s = now
            if self._used_s > self._limits.timeout_s:
                self._loss = Loss("timeout", f"it took longer than {self._limits.timeout_s:g} s")
                self.stop(_GRACE_S)
            elif self.added_bytes() > self._limits.memory_gb * GB:
                limit = f"{self._limits.memory_gb:g} GB"
                self._loss = Loss("memory", f"it used more than {limit} of memory")
                self.kill()

    def is_alive(self) -> bool:
        """Whether the process runs; what an ended one started is ended too."""
        if self._process.poll() is None:
            return True
        if not self._is_reaped:
            self._is_reaped = True  # once: its number may become another process's
            self._kill_group()  # which would hold its pipe open
        return False

    def begin_counting(self) -> None:
        """Count memory from now on."""
        self._base_bytes += self.added_bytes()

    def added_bytes(self) -> float:
        """Memory that the process took since `begin_counting`; 0 once it has ended."""
        import psutil

        with contextlib.suppress(psutil.Error):
            return self._usage.memory_info().rss - self._base_bytes if self._usage else 0
        return 0

    def stop(self, cleanup_s: float) -> None:
        """Ask the process to leave its item through every `finally`; `check` kills it later."""
        self._kill_at_s = min(self._kill_at_s, time.monotonic() + cleanup_s)
        with contextlib.suppress(OSError):
            self._process.terminate()

    def kill(self) -> None:
        """End the process, and those that it started, at once."""
        if self.is_alive():
            self._kill_group()
            self._process.kill()

    def _kill_group(self) -> None:
        if hasattr(os, "killpg"):  # not on Windows
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Let the process end by itself; it has no item."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(MAX_CLEANUP_S)
        self.kill()
        self._process.wait()

    def _why_dead(self) -> Loss:
        try:
            code = self._process.wait(MAX_CLEANUP_S)
        except subprocess.TimeoutExpired:
            return Loss("crash", "its process closed the connection to echoseg")
        if code in (-signal.SIGTERM, 128 + signal.SIGTERM):
            return Loss("killed", "its process was stopped from outside")
        if code == -getattr(signal, "SIGKILL", signal.SIGTERM):
            return Loss("killed", "its process was killed, as happens when memory runs out")
        if code < 0:
            return Loss("crash", f"its process crashed ({signal.Signals(-code).name})")
        return Loss("crash", f"its process ended with exit code {code}")


def _open(answer: bytes) -> Any:
    is_result, value = loads(answer)
    if is_result:
        return value
    raise value
