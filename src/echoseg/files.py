"""A file or folder is written whole or not at all: beside its place, then renamed."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from echoseg.errors import OutputError


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a path beside PATH, of the same suffix, to write to; rename it at the end.

    What stood at PATH is replaced only then; after an exception it is untouched and nothing is
    left beside it.

    Raises:
        OutputError: If the file cannot be written there.
    """
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, UTF-8."""
    with atomic_write(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def check_writable(place: Path, way_out: str) -> None:
    """Refuse, before the long work, a place where nothing can be made or written.

    Raises:
        OutputError: If so; its text ends with WAY_OUT.
    """
    try:
        probe = next(p for p in (place, *place.absolute().parents) if p.exists())
        probe /= f".echoseg-probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{place} cannot be written ({error.strerror}); {way_out}") from error


def check_new_file(path: Path, force: bool = False) -> None:
    """Refuse, before the long work, a file that must not or cannot be written.

    Raises:
        OutputError: If it exists without `force`, is a folder, or has none to be written in.
    """
    if os.path.isdir(path) or (os.path.exists(path) and not force):  # False where it may not look
        raise OutputError(f"{path} exists; pass --force to replace a file, or another name")
    if not os.path.isdir(path.absolute().parent):
        check_writable(path.parent, "choose another place")
        raise OutputError(f"{path.parent} is no folder; make it, or choose another name")
    check_writable(path.parent, "choose another place")


LOCK = ".lock"
"""File by which a folder that is being worked in is known."""


@contextlib.contextmanager
def locked_dir(folder: Path) -> Iterator[None]:
    """Work in a folder, made when missing, that no other process works in.

    The lock goes with its process, however that ends.

    Raises:
        OutputError: If another process works in it, or it cannot be made.
    """
    from filelock import FileLock, Timeout

    made = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise OutputError(
            f"{folder} is being worked in by another process; wait for it, or give another folder"
        ) from error
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror or error})") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)  # while it is still ours
        lock.release()
        _remove_empty(made)


def _missing(folder: Path) -> list[Path]:
    """Return the folder and those above it that are not there, innermost first."""
    return [place for place in (folder, *folder.absolute().parents) if not place.exists()]


def _remove_empty(made: list[Path]) -> None:
    for place in made:  # one that holds a result stays
        with contextlib.suppress(OSError):
            place.rmdir()


@contextlib.contextmanager
def ensure_dir(folder: Path) -> Iterator[Path]:
    """Make a folder and those above it; after all, the new ones that stayed empty are gone.

    Raises:
        OutputError: If it cannot be made.
    """
    folder = Path(os.path.abspath(folder))
    made = _missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error})") from error
    finally:
        _remove_empty(made)


@contextlib.contextmanager
def atomic_dir(folder: Path, check: Callable[[], None]) -> Iterator[Path]:
    """Give a folder beside FOLDER to fill; at the end CHECK, then put it in FOLDER's place.

    A cut leaves the old folder or none, and none of the folders above that were made for it.

    Raises:
        OutputError: If the disk fails, or what `check` raises.
    """
    folder = Path(os.path.abspath(folder))  # "." and ".." have no name to put a partial beside
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    with ensure_dir(folder.parent):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            check()  # another run may have put one there meanwhile
            _swap(partial, folder)
        except OSError as error:
            raise OutputError(f"{folder} cannot be written ({error})") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _swap(partial: Path, folder: Path) -> None:
    """Put the finished folder in its place; the old one comes back if that fails."""
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
        old.unlink()  # the link was replaced; what it points to is not ours to delete
    else:
        shutil.rmtree(old, ignore_errors=True)
