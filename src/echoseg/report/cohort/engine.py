"""A cohort on the workers of a Dask cluster: the same work as in local processes, elsewhere.

    driver      plans, keeps two clips per thread of the cluster in its queue, writes the audit log
    worker      a Dask worker process, one guarded process per thread, each with the model loaded

A clip of a worker that was lost is done again by another one; one that was with three lost workers
has failed, and is tried again by the next run. When the scheduler is lost the run ends; `resume`
continues it. Every machine must see clips and output folder under the same paths.
"""

import contextlib
import hashlib
import os
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoseg.errors import ConfigError, OutputError, reason_of
from echoseg.files import SameFolder
from echoseg.parallel import Loss, WorkerPool
from echoseg.report.cohort.folder import MANIFEST, Engine, Entry
from echoseg.report.cohort.work import Work

if TYPE_CHECKING:
    from concurrent.futures import Future

WAITING_PER_THREAD = 2
"""Clips per thread of the cluster that are with the scheduler; the others wait in the manifest."""
_LOST = Loss("killed", "its machines, or their workers, were lost several times")


@dataclass(frozen=True, slots=True)
class Task:
    """Work on clips by a worker of the cluster.

    Attributes:
        work: What is done.
        manifest_sha256: Hash of the manifest, by which a machine knows the folder.
    """

    work: Work
    manifest_sha256: str

    @classmethod
    def of(cls, work: Work) -> "Task":
        """Prepare work for other machines: they log nothing, and know the folder by its hash."""
        settings, out = work.settings, work.out.absolute()
        if os.path.isfile(settings.model):
            settings = settings.model_copy(update={"model": os.path.abspath(settings.model)})
        elsewhere = replace(work, settings=settings, out=out, place=None, logs=False)
        return cls(elsewhere, _manifest_sha256(out))


_pools: dict[Task, WorkerPool] = {}
_lock = threading.Lock()


def do_entry(task: Task, entry: Entry, threads: int) -> None:
    """Do a clip in a guarded process of this machine; it stays for the next clip.

    Raises:
        OutputError: If the output folder is not the driver's here, or the disk fails.
        EchosegError: If the model cannot be loaded.
    """
    with _lock:
        for other in [other for other in _pools if other != task]:  # of an earlier run
            _pools.pop(other).close(is_finished=False)
        if task not in _pools:
            _pools[task] = _pool(task, threads)
        pool = _pools[task]
    pool.submit(entry).result()


def _pool(task: Task, threads: int) -> WorkerPool:
    out = task.work.out
    if _manifest_sha256(out) != task.manifest_sha256:
        raise OutputError(
            f"{out} on {socket.gethostname()} is not the output folder of this run; every machine "
            "must see clips and output under the same paths"
        )
    work = replace(task.work, place=SameFolder.of(out))
    options = work.options
    return WorkerPool(work, threads, limits=options.limits, on_loss=work.lose, prepare=work.prepare)


def close_pools() -> None:
    """End the guarded processes of this machine."""
    with _lock:
        while _pools:
            _pools.popitem()[1].close(is_finished=True)


def _manifest_sha256(out: Path) -> str:
    with contextlib.suppress(OSError):
        return hashlib.sha256((out / MANIFEST).read_bytes()).hexdigest()
    return ""


def engine_map(work: Work, entries: Sequence[Entry], engine: Engine) -> Iterator[Entry]:
    """Do every clip on the cluster; yield each when it has its result or failure, in any order.

    Raises:
        ConfigError: If Dask is not installed, or there is no scheduler or worker.
        OutputError: If the scheduler is lost, or a disk fails.
        EchosegError: If the model cannot be loaded.
    """
    if not entries:
        return
    task = Task.of(work)
    with _connected(engine) as client:
        left = iter(entries)
        pending: dict[Future[None], Entry] = {}
        try:
            while True:
                threads = client.nthreads()
                window = WAITING_PER_THREAD * max(1, sum(threads.values()))
                for entry in islice(left, max(0, window - len(pending))):
                    per_worker = max(threads.values(), default=1)
                    pending[client.submit(do_entry, task, entry, per_worker, pure=False)] = entry
                if not pending:
                    return
                for future in _first_done(pending):
                    entry = pending.pop(future)
                    _settle(future, work, entry)
                    yield entry
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                client.cancel(list(pending))
                client.run(close_pools)


def _first_done(pending: dict[Any, Entry]) -> list[Any]:
    """The tasks that have ended, at least one.

    Raises:
        OutputError: If the scheduler is lost.
    """
    from distributed import CancelledError, wait

    try:
        outcome: Any = wait(list(pending), return_when="FIRST_COMPLETED")
        return list(outcome.done)
    except (CancelledError, OSError, RuntimeError) as error:
        raise _scheduler_lost() from error


def _settle(future: Any, work: Work, entry: Entry) -> None:
    """Raise what ended the run; a clip whose workers were lost has failed."""
    from distributed import CancelledError, KilledWorker

    try:
        future.result()
    except KilledWorker:
        replace(work, logs=False).lose(entry, _LOST)
    except (CancelledError, OSError) as error:
        raise _scheduler_lost() from error


def _scheduler_lost() -> OutputError:
    return OutputError(
        "the connection to the Dask scheduler was lost; start it again and continue with --resume "
        "(resume)"
    )


@contextlib.contextmanager
def _connected(engine: Engine) -> Iterator[Any]:
    """A client of the scheduler, to which at least one worker is connected."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("--engine dask needs Dask; pip install 'echoseg[cluster]'") from error
    where = engine.scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS", "")
    if not where:
        raise ConfigError(
            "--engine dask needs the address of a scheduler; give --scheduler, such as "
            "tcp://HOST:8786, or a scheduler file"
        )
    known: dict[str, Any] = {"scheduler_file" if os.path.isfile(where) else "address": where}
    try:
        client = Client(**known, timeout=engine.timeout_s, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"--scheduler {where} cannot be reached ({reason_of(error)}); start one with dask "
            "scheduler, and workers with dask worker"
        ) from error
    try:
        _wait_for_a_worker(client, engine)
        with client.as_current():
            yield client
    finally:
        with contextlib.suppress(Exception):  # of a scheduler that is gone
            client.close(timeout=5)


def _wait_for_a_worker(client: Any, engine: Engine) -> None:
    try:
        client.wait_for_workers(1, timeout=engine.timeout_s)
    except Exception as error:
        raise ConfigError(
            f"no worker is connected to the Dask scheduler after {engine.timeout_s:g} s; start "
            "some with dask worker"
        ) from error
