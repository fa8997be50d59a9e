"""Files of received instances.

    FOLDER/studies/STUDY/INSTANCE.dcm   named by keyed hashes of UIDs and content
    FOLDER/results/STUDY/               results of a study, written by the worker
    FOLDER/studies/.removed-STUDY/      on its way out

A file is written under a hidden name, synchronized, renamed, and its folder synchronized; its row
in the queue follows, then the answer to the sender. So what is acknowledged has both. A file
without a row is one whose sender got no answer: it is received at the next start.
"""

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from echoseg.errors import OutputError
from echoseg.files import atomic_write
from echoseg.node import classes
from echoseg.node.incoming import Incoming, Refused, check
from echoseg.node.jobs import Receipt, ReceivedInstance
from echoseg.node.log import log_event
from echoseg.node.queue import Queue
from echoseg.node.settings import NodeSettings
from echoseg.private import Pseudonyms

_FILE = re.compile(r"[0-9a-f]{16}\.dcm")
_STUDY = re.compile(r"study-[0-9a-f]{16}")
_REMOVED = ".removed-"
_NUM_LOCKS = 64
_DAY_S = 86_400.0


class Store:
    """The files of a node; one per folder, for several threads.

    Args:
        settings: `folder`, limits and retention.
        queue: Where the instances are noted.
        names: Makes the names of studies and files.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        settings: NodeSettings,
        queue: Queue,
        names: Pseudonyms,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._queue, self._names, self._clock = settings, queue, names, clock
        self.folder = settings.folder
        self._studies = settings.folder / "studies"
        self._locks = [threading.Lock() for _ in range(_NUM_LOCKS)]
        self._pending_lock = threading.Lock()
        self._pending_bytes = 0

    def study_name(self, study_uid: str) -> str:
        """Name of a study."""
        return f"study-{self._names.digest('study', study_uid)}"

    def results_folder(self, study: str) -> Path:
        """Folder of the results of a study; it may not exist yet."""
        return self.folder / "results" / study

    def receive(self, incoming: Incoming) -> Receipt:
        """Store an instance: when this returns, file and row are on disk.

        Returns:
            `NEW`, or `DUPLICATE` where the same bytes were received before.

        Raises:
            Refused: With the status to answer; nothing is stored.
        """
        size = len(incoming.dataset)
        if size > self._settings.max_instance_mb * 1e6:
            raise Refused(classes.TOO_LARGE)
        study_uid = check(incoming)
        study, sha256 = self.study_name(study_uid), incoming.sha256
        name = self._names.digest("instance", incoming.instance_uid, sha256)
        path = self._studies / study / f"{name}.dcm"
        instance = ReceivedInstance(
            class_uid=incoming.class_uid,
            instance_uid=incoming.instance_uid,
            transfer_syntax=incoming.transfer_syntax,
            path=str(path.relative_to(self.folder)),
            sha256=sha256,
            num_bytes=size,
            sender=incoming.sender,
        )
        try:
            with self._lock(study):
                receipt = self._receive(incoming, path, instance, study_uid)
        except (OSError, OutputError) as error:
            raise Refused(classes.OUT_OF_RESOURCES) from error
        if receipt == Receipt.CONFLICT:
            raise Refused(classes.OTHER_CONTENT)
        log_event("instance received", study=study, instance=name, receipt=receipt, bytes=size,
                  sender=incoming.sender)  # fmt: skip
        return receipt

    def _receive(
        self, incoming: Incoming, path: Path, instance: ReceivedInstance, study_uid: str
    ) -> Receipt:
        known = self._queue.find(instance.instance_uid)
        if known and known.sha256 != instance.sha256:
            return Receipt.CONFLICT
        if known is None or not (self.folder / known.path).is_file():
            target = self.folder / known.path if known else path
            with self._reserved(instance.num_bytes):
                _write(target, incoming)
                receipt = self._queue.receive(path.parent.name, study_uid, instance)
            if receipt == Receipt.CONFLICT:
                path.unlink(missing_ok=True)
            return receipt
        return self._queue.receive(path.parent.name, study_uid, instance)

    def _lock(self, study: str) -> threading.Lock:
        return self._locks[int(study[-8:], 16) % _NUM_LOCKS]

    @contextmanager
    def _reserved(self, num_bytes: int) -> Iterator[None]:
        """Count bytes while they are written.

        Raises:
            Refused: If they exceed the quota, or what is free on the disk.
        """
        with self._pending_lock:
            after = self._queue.num_bytes() + self._pending_bytes + num_bytes
            free = shutil.disk_usage(self.folder).free - self._pending_bytes - num_bytes
            if after > self._settings.quota_gb * 1e9 or free < self._settings.min_free_gb * 1e9:
                raise Refused(classes.OUT_OF_RESOURCES)
            self._pending_bytes += num_bytes
        try:
            yield
        finally:
            with self._pending_lock:
                self._pending_bytes -= num_bytes

    def recover(self) -> int:
        """Put right what a kill left: files without rows, studies half removed.

        Call it before anything is received. It changes files only that are named as ours.

        Returns:
            The number of instances that were received thereby.
        """
        if not self._studies.is_dir():
            return 0
        known, number = self._queue.paths(), 0
        for folder in sorted(self._studies.iterdir()):
            if folder.name.startswith(_REMOVED):
                self._finish_removal(folder)
            elif _STUDY.fullmatch(folder.name) and not folder.is_symlink():
                files = (f for f in sorted(folder.iterdir()) if _FILE.fullmatch(f.name))
                lost = [f for f in files if str(f.relative_to(self.folder)) not in known]
                number += sum(map(self._adopt, lost))
        return number

    def _adopt(self, path: Path) -> bool:
        """Receive a file that has no row."""
        try:
            incoming = Incoming.from_file(path.read_bytes(), sender="recovered")
            receipt = self.receive(incoming)
            if receipt == Receipt.DUPLICATE:  # the same under a name by another key
                path.unlink()
            return receipt == Receipt.NEW
        except Refused as refusal:
            log_event("file without a row left", file=path.stem, reason=str(refusal))
            return False

    def remove_expired(self) -> int:
        """Remove the studies whose results were sent longer ago than they are kept.

        Returns:
            The number of studies.
        """
        days = self._settings.retention_days
        if days is None:
            return 0
        number = 0
        for study in self._queue.expired(self._clock() - days * _DAY_S):
            with self._lock(study):
                folder = self._studies / study
                removed = folder.with_name(_REMOVED + study)
                if not self._queue.is_sent(study):
                    continue
                if folder.is_dir():
                    folder.rename(removed)
                self._finish_removal(removed)
            number += 1
            log_event("study removed", study=study)
        return number

    def _finish_removal(self, removed: Path) -> None:
        """Remove rows, then files, of a folder that was put aside."""
        study = removed.name.removeprefix(_REMOVED)
        if not _STUDY.fullmatch(study):
            return
        if not self._queue.remove(study):  # not sent after all
            removed.rename(self._studies / study)
            return
        shutil.rmtree(removed, ignore_errors=True)
        shutil.rmtree(self.results_folder(study), ignore_errors=True)


def _write(path: Path, incoming: Incoming) -> None:
    """Write a file that is on disk, under its name, when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_write(path) as partial, partial.open("wb") as file:
        file.write(incoming.preamble())
        file.write(incoming.dataset)
        file.flush()
        os.fsync(file.fileno())
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        _synchronize(folder)


def _synchronize(folder: Path) -> None:
    """Write a folder's entries to disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
