"""Locked folders, and folders of results that continue after any interruption."""

import contextlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from echoseg.errors import ConfigError, OutputError
from echoseg.files.owned import ANOTHER_FOLDER
from echoseg.files.work import HIDDEN, MAX_TRIES, fcntl, hidden_folder, remove_hidden, sweep
from echoseg.files.write import (
    check_writable,
    disk_error,
    missing,
    read_json,
    remove_empty,
    write_json,
)

if TYPE_CHECKING:
    from filelock import FileLock

_LOCK = "lock"
PROBE_S = 0.2
"""How long a lock is waited for at least: `is_locked` holds it for a moment."""
FOREIGN = ("missing", "extra_forbidden")  # pydantic's errors of a file with other fields
Settings = TypeVar("Settings", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class SameFolder:
    """A folder that is written for a long time: whether its path still leads to it."""

    path: Path
    identity: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> "SameFolder":
        """Note which folder it is.

        Raises:
            OSError: If it does not exist.
        """
        status = os.stat(path)
        return cls(path, (status.st_dev, status.st_ino))

    def is_there(self) -> bool:
        """Whether the path leads to it: not after it was moved, removed or unmounted."""
        try:
            return SameFolder.of(self.path) == self
        except OSError:
            return False

    def check(self) -> None:
        """Check that it is there, so that nothing is written to another place.

        Raises:
            OutputError: If it is not.
        """
        if not self.is_there():
            raise OutputError(
                f"{self.path} was moved, removed or unmounted while it was in use; bring it back "
                f"and continue, or {ANOTHER_FOLDER}"
            )


@contextlib.contextmanager
def locked_dir(folder: Path, wait_s: float = 0.0) -> Iterator[SameFolder]:
    """Lock a folder, which is made if missing; the lock ends with its process.

    Args:
        folder: The folder.
        wait_s: How long to wait for another process that works in it.

    Raises:
        OutputError: If another process works in it, or it cannot be made.
    """
    new = missing(folder)
    lock, same = _take_lock(folder, wait_s)
    try:
        yield same
    finally:
        if same.is_there():
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)  # before another process takes it
        lock.release()
        remove_hidden(folder)
        remove_empty(new)


def _take_lock(folder: Path, wait_s: float) -> "tuple[FileLock, SameFolder]":
    """Make and lock a folder, anew where the process that held it took it away as it ended."""
    from filelock import FileLock, Timeout

    end_s = time.monotonic() + max(wait_s, PROBE_S)
    try:
        for _ in range(MAX_TRIES):
            with contextlib.suppress(FileNotFoundError):
                folder.mkdir(parents=True, exist_ok=True)
                lock = FileLock(hidden_folder(folder) / _LOCK)
                lock.acquire(timeout=max(end_s - time.monotonic(), 0.0))
                return lock, SameFolder.of(folder)
    except Timeout as error:
        raise OutputError(
            f"{folder} is in use by another process; wait for it, or choose another folder"
        ) from error
    except FileExistsError:
        raise OutputError(f"{folder} must be a folder; {ANOTHER_FOLDER}") from None
    except OSError as error:
        raise disk_error(folder, error) from error
    raise OutputError(f"{folder} cannot be made, or is removed again and again; {ANOTHER_FOLDER}")


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of a folder, by `locked_dir`; nothing is written."""
    if fcntl is None:
        return (folder / HIDDEN / _LOCK).exists()
    try:
        with (folder / HIDDEN / _LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class ResumableFolder(Generic[Settings]):
    """A folder of results made unit by unit, which continues after any interruption.

    One JSON file holds the settings; a folder is continued with the same settings only. Each unit
    is written atomically under its own name, so a unit is either complete or to be made.

    Examples:
        >>> folder = ResumableFolder(out, "manifest.json", CohortSettings, noun="a cohort")
        >>> with folder.locked():
        ...     folder.begin(settings, resume=True)
        ...     for unit in units:
        ...         if not (out / unit.name).exists():
        ...             make(unit)

    Args:
        path: The folder; made by `locked`.
        settings_file: Name of the JSON file in it.
        model: Pydantic class of the settings.
        noun: What the folder holds, with its article, for messages.
    """

    def __init__(self, path: Path, settings_file: str, model: type[Settings], noun: str) -> None:
        self.path, self.model, self.noun = path, model, noun
        self.settings_path = path / settings_file

    @contextlib.contextmanager
    def locked(self, wait_s: float = 0.0) -> Iterator[SameFolder]:
        """Hold the lock; after an exception before the first unit, the folder is as it was.

        Args:
            wait_s: As of `locked_dir`.

        Raises:
            OutputError: If another process works in the folder, or it cannot be written.
        """
        check_writable(self.path, ANOTHER_FOLDER)
        with locked_dir(self.path, wait_s) as same:
            before = self.settings_path.read_bytes() if self.settings_path.exists() else None
            held = set(self.path.iterdir())
            try:
                yield same
            except Exception:
                with contextlib.suppress(OSError):  # the first error is the one to report
                    if same.is_there():
                        self._restore(before, held)
                raise

    def read(self) -> Settings | None:
        """Read the settings; None where the folder holds none.

        Raises:
            OutputError: If the file is damaged, or of another kind of result.
        """
        try:
            return read_json(self.settings_path, self.model, ANOTHER_FOLDER)
        except OutputError as error:
            cause = error.__cause__
            errors = cause.errors() if isinstance(cause, ValidationError) else []
            if any(each["type"] in FOREIGN for each in errors):
                raise OutputError(
                    f"{self.path} must hold {self.noun}, its {self.settings_path.name} is of "
                    f"another kind or version; {ANOTHER_FOLDER}"
                ) from error
            raise

    def check(
        self, settings: Settings, *, resume: bool = True, varying: Collection[str] = ()
    ) -> None:
        """Check that the folder is empty, or holds the same settings and may be continued.

        Args:
            settings: Those of this run.
            resume: Whether a folder that holds settings already may be continued.
            varying: Fields that may differ, such as a list of units that grows.

        Raises:
            ConfigError: If the folder was started with other settings, or may not be continued.
            OutputError: If it holds other files, or damaged settings.
        """
        held = self.read()
        if held is None:
            if other := sorted(i.name for i in self.path.iterdir() if not i.name.startswith(".")):
                raise OutputError(
                    f"{self.path} holds {other[0]} and no {self.settings_path.name}; "
                    f"{ANOTHER_FOLDER}"
                )
        elif not resume:
            raise ConfigError(
                f"{self.path} already holds {self.noun}; continue it with --resume (resume), or "
                f"{ANOTHER_FOLDER}"
            )
        elif difference := _difference(held, settings, varying):
            raise ConfigError(
                f"{self.path} was started with {difference}; use the same value, or "
                f"{ANOTHER_FOLDER}"
            )

    def begin(
        self, settings: Settings, *, resume: bool = True, varying: Collection[str] = ()
    ) -> None:
        """Write the settings after `check`, and remove what interrupted writes left.

        Raises:
            ConfigError: As `check`.
            OutputError: As `check`, or if the folder cannot be written.
        """
        self.check(settings, resume=resume, varying=varying)
        for hidden in (self.path / HIDDEN, *self.path.glob(f"*/{HIDDEN}")):
            sweep(hidden.parent)
        write_json(self.settings_path, settings)

    def _restore(self, settings: bytes | None, held: set[Path]) -> None:
        """Take back the settings and empty folders, unless a unit has been begun."""
        for path in self.path.rglob("*"):
            is_own = path == self.settings_path or HIDDEN in path.relative_to(self.path).parts
            if not is_own and (path.is_symlink() or not path.is_dir()):
                return
        for folder in set(self.path.iterdir()) - held - {self.settings_path}:
            remove_empty([*sorted(folder.rglob("*"), reverse=True), folder])
        if settings is None:
            self.settings_path.unlink(missing_ok=True)
        elif self.settings_path.read_bytes() != settings:
            self.settings_path.write_bytes(settings)


def _difference(old: BaseModel, new: BaseModel, varying: Collection[str]) -> str:
    """Name the first field that differs, with both values; empty where all are equal."""
    for name in type(new).model_fields:
        before, after = getattr(old, name), getattr(new, name)
        if name in varying or before == after:
            continue
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            return _difference(before, after, varying)
        return f"{name}={before!s}, got {after!s}"
    return ""
