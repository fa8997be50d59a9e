"""Atomic writes of single files, JSON, and checks before long work."""

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from echoseg.errors import OutputError, validation_message
from echoseg.files.work import work_folder

MAX_NAME_BYTES = 255
"""Of a file or folder, in every common file system."""
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", None))
Document = TypeVar("Document", bound=BaseModel)


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
    """Yield a temporary path of the same name to write to; at the end it replaces `path`.

    After an exception `path` is untouched. Of a link the link is replaced, not what it points to.

    Raises:
        OutputError: As `writing`.
    """
    with writing(Path(path)) as partial:
        yield partial
        os.replace(partial, path)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary path of the same name; what is not renamed by the end is removed.

    Raises:
        OutputError: If the file cannot be written, or `path` is a folder or a device.
    """
    try:
        check_kind(path)
        with work_folder(path.parent) as work:
            yield work / "new" / path.name
    except OSError as error:
        raise disk_error(path, error) from error


def disk_error(path: Path, error: OSError) -> OutputError:
    """What is raised where the disk fails, with the way out."""
    way_out = "make room there and run it again" if error.errno in _FULL else "choose another place"
    return OutputError(f"{path} cannot be written ({error.strerror or error}); {way_out}")


def check_kind(path: Path) -> None:
    """Check that a file can have this place.

    Raises:
        OutputError: If a folder, a device or a pipe has it.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise OutputError(f"{path} exists and is not a file; choose another name")


def write_text(path: str | Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_write(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")


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


def check_writable(place: Path, way_out: str) -> None:
    """Check, before long work, that a file or folder can be made at `place`.

    Raises:
        OutputError: If not; its text ends with `way_out`.
    """
    try:
        folder = next(p for p in (place, *place.absolute().parents) if p.exists())
        if max(len(os.fsencode(part)) for part in place.absolute().parts) > MAX_NAME_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"{place} cannot be written ({error.strerror}); {way_out}") from error


def missing(folder: Path) -> list[Path]:
    """The folder and its parents that are missing, innermost first."""
    return [place for place in (folder, *folder.absolute().parents) if not place.exists()]


def remove_empty(folders: list[Path]) -> None:
    """Remove the folders that are empty."""
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
    new = missing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise disk_error(folder, error) from error
    finally:
        remove_empty(new)
