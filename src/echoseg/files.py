"""Atomic writes, locks and resumable folders.

A file or folder is written under a temporary name, then renamed: it is complete or absent.
"""

import contextlib
import csv
import io
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from echoseg.errors import ConfigError, OutputError, validation_message


def cache_folder() -> Path:
    """Folder of what can be computed again; it may not exist yet, and can be deleted at any time.

    `ECHOSEG_CACHE_DIR`, otherwise `echoseg` in the user's cache folder.
    """
    if folder := os.environ.get("ECHOSEG_CACHE_DIR"):
        return Path(folder)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "echoseg"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home()) / "echoseg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "echoseg"


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path of the same suffix to write to; at the end it replaces `path`.

    After an exception `path` is untouched and the temporary file is removed.

    Raises:
        OutputError: If the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """CSV text of a table; None becomes an empty field."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def check_writable(place: Path, way_out: str) -> None:
    """Check, before long work, that a file or folder can be made at `place`.

    Raises:
        OutputError: If not; its text ends with `way_out`.
    """
    try:
        probe = next(p for p in (place, *place.absolute().parents) if p.exists())
        probe /= f".echoseg-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{place} cannot be written ({error.strerror}); {way_out}") from error


def check_new_file(path: Path, force: bool = False) -> None:
    """Check, before long work, that a file can be written.

    Raises:
        OutputError: If it exists without `force`, is a folder, or its folder is missing.
    """
    if os.path.isdir(path) or (os.path.exists(path) and not force):  # False without permission
        raise OutputError(f"{path} exists; pass force (--force), or choose another name")
    if not os.path.isdir(path.absolute().parent):
        check_writable(path.parent, "choose another place")
        raise OutputError(f"{path.parent} is not a folder; make it, or choose another name")
    check_writable(path.parent, "choose another place")


def check_replaceable(
    folder: Path, force: bool, mark: str, is_own_file: Callable[[str], bool]
) -> None:
    """Check, before long work, that an output folder can be written or replaced.

    Args:
        folder: The folder.
        force: Whether a folder that exists may be replaced.
        mark: File that each folder of this kind holds.
        is_own_file: Whether a path in the folder belongs to it; others are never removed.

    Raises:
        OutputError: If it exists without `force`, holds other files, or is not writable.
    """
    try:
        exists = folder.exists()
    except OSError as error:  # a name too long, or no permission
        raise OutputError(
            f"{folder} cannot be written ({error.strerror}); {ANOTHER_FOLDER}"
        ) from error
    if exists:
        if not force:
            raise OutputError(f"{folder} exists; pass force (--force), or {ANOTHER_FOLDER}")
        files = [folder]
        if folder.is_dir():
            files = [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir()]
        names = sorted(path.relative_to(folder).as_posix() for path in files)
        foreign = next((name for name in names if not is_own_file(name)), None)
        if names and mark not in names:
            raise OutputError(
                f"{folder} holds no {mark}: echoseg did not write it and does not replace it; "
                f"{ANOTHER_FOLDER}"
            )
        if foreign:
            raise OutputError(
                f"{folder} holds {foreign}, which echoseg did not write, so it is not replaced; "
                f"move that file, or {ANOTHER_FOLDER}"
            )
    check_writable(folder.parent, ANOTHER_FOLDER)


LOCK = ".lock"
"""Name of the lock file in a folder that a process works in."""
ANOTHER_FOLDER = "choose another output folder"
FOREIGN = ("missing", "extra_forbidden")  # pydantic's errors of a file with other fields


@contextlib.contextmanager
def locked_dir(folder: Path) -> Iterator[None]:
    """Lock a folder, which is made if missing; the lock ends with its process.

    Raises:
        OutputError: If another process works in it, or it cannot be made.
    """
    from filelock import FileLock, Timeout

    new = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise OutputError(
            f"{folder} is in use by another process; wait for it, or {ANOTHER_FOLDER}"
        ) from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror or error})") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)  # before another process takes it
        lock.release()
        _remove_empty(new)


def _missing(folder: Path) -> list[Path]:
    """The folder and its parents that are missing, innermost first."""
    return [place for place in (folder, *folder.absolute().parents) if not place.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for place in folders:  # fails for one that holds a result
        with contextlib.suppress(OSError):
            place.rmdir()


@contextlib.contextmanager
def ensure_dir(folder: Path) -> Iterator[Path]:
    """Make a folder and its parents; at the end, new ones that are still empty are removed.

    Raises:
        OutputError: If it cannot be made.
    """
    folder = Path(os.path.abspath(folder))
    new = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error})") from error
    finally:
        _remove_empty(new)


@contextlib.contextmanager
def atomic_dir(folder: Path, check: Callable[[], None]) -> Iterator[Path]:
    """Yield a temporary folder to fill; at the end `check` runs and it replaces `folder`.

    After an exception the old folder, or none, is there; parents made for it are removed.

    Raises:
        OutputError: If the disk fails; and whatever `check` raises.
    """
    folder = Path(os.path.abspath(folder))  # "." and ".." have no name
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    with ensure_dir(folder.parent):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            check()  # another run may have written it meanwhile
            _swap(partial, folder)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error})") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _swap(partial: Path, folder: Path) -> None:
    """Replace a folder; the old one is restored if that fails."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    try:
        folder.rename(old)
        partial.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
    if old.is_symlink():
        old.unlink()  # the link is replaced, not its target
    else:
        shutil.rmtree(old, ignore_errors=True)


Settings = TypeVar("Settings", bound=BaseModel)
Document = TypeVar("Document", bound=BaseModel)


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
    def locked(self) -> Iterator[None]:
        """Hold the lock; after an exception before the first unit, the folder is as it was.

        Raises:
            OutputError: If another process works in the folder, or it cannot be written.
        """
        check_writable(self.path, ANOTHER_FOLDER)
        with locked_dir(self.path):
            before = self.settings_path.read_bytes() if self.settings_path.exists() else None
            held = set(self.path.iterdir())
            try:
                yield
            except Exception:
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
                f"{self.path} already holds {self.noun}; continue it with resume (--resume), or "
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
        for partial in (*self.path.glob(".*partial*"), *self.path.glob("*/.*partial*")):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
        write_json(self.settings_path, settings)

    def _restore(self, settings: bytes | None, held: set[Path]) -> None:
        files = {path.name for path in self.path.rglob("*") if path.is_file()}
        if not files <= {self.settings_path.name, LOCK}:
            return  # a unit has been begun
        for added in set(self.path.iterdir()) - held:
            shutil.rmtree(added) if added.is_dir() else added.unlink()
        if settings is not None:
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


def write_json(path: str | Path, document: BaseModel) -> None:
    """Write a pydantic object as a JSON file, atomically."""
    write_text(path, document.model_dump_json(indent=1) + "\n")


def read_json(path: Path, model: type[Document], way_out: str) -> Document | None:
    """Read a JSON file as a pydantic object; None where it is missing.

    Raises:
        OutputError: If it cannot be read or does not fit `model`; its text ends with `way_out`.
    """
    try:
        return model.model_validate_json(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = validation_message(error) if first["loc"] else first["msg"]
        raise OutputError(f"{path} cannot be read ({reason}); {way_out}") from error
