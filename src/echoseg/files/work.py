"""The hidden folder in which everything is written before it gets its name.

    PARENT/.echoseg/PID-RANDOM/lock       locked as long as the process that made it lives
    PARENT/.echoseg/PID-RANDOM/new/NAME   what becomes PARENT/NAME by a rename
    PARENT/.echoseg/PID-RANDOM/old/NAME   what PARENT/NAME was, until the new one has its place
    PARENT/.echoseg/PID-RANDOM/done/NAME  the same from then on

The kernel ends a lock with its process, also across containers and restarts, so a folder whose
lock is free is of a process that died. `sweep` removes those, and nothing else: names are matched
exactly, and what `old` holds goes back to its place.
"""

import contextlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from echoseg.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: folders of killed processes stay
    fcntl = None

HIDDEN = ".echoseg"
"""Name of the hidden folder; what is in it under other names than ours is never touched."""
_ENTRY = re.compile(r"[0-9]{1,10}-[0-9a-f]{16}")
_PARTS = frozenset({"lock", "new", "old", "done"})
MAX_TRIES = 100


def plain_folder(folder: Path) -> Path:
    """Make a folder, unless it is there; its parent must exist.

    Raises:
        OutputError: If its name is taken by a link or a file: what is behind a link is not ours.
        OSError: If it cannot be made.
    """
    for _ in range(MAX_TRIES):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        with contextlib.suppress(FileNotFoundError):  # another process found it empty
            if stat.S_ISDIR(os.lstat(folder).st_mode):
                return folder
            raise OutputError(f"{folder} must be a folder, it is a link or a file; move it")
    raise OutputError(f"{folder} is removed again and again; end what removes it")


def hidden_folder(parent: Path) -> Path:
    """Make the hidden folder of `parent`, as `plain_folder` does."""
    return plain_folder(parent / HIDDEN)


def remove_hidden(parent: Path) -> None:
    """Remove the hidden folder of `parent` if it is empty."""
    with contextlib.suppress(OSError):
        os.rmdir(parent / HIDDEN)


@contextlib.contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Yield a folder of this call alone, on the file system of `parent`, with an empty `new` in it.

    It is removed at the end. What processes that died left beside it is removed at the start.

    Raises:
        OutputError: If `.echoseg` is not a folder.
        OSError: If it cannot be made.
    """
    entry, lock = _begin(parent)
    try:
        sweep(parent)
        yield entry
    finally:
        for part in ("new", "done"):
            shutil.rmtree(entry / part, ignore_errors=True)
        with contextlib.suppress(OSError):
            (entry / "old").rmdir()
        if not os.path.lexists(entry / "old"):  # else the next sweep gives back what is in it
            shutil.rmtree(entry, ignore_errors=True)
        os.close(lock)
        remove_hidden(parent)


def _begin(parent: Path) -> tuple[Path, int]:
    """Make a folder whose lock this process holds before the folder has its name."""
    name = f"{os.getpid()}-{secrets.token_hex(8)}"
    for _ in range(MAX_TRIES):
        hidden = hidden_folder(parent)
        begun = hidden / f"{name}.begun"
        try:
            begun.mkdir()
        except FileNotFoundError:  # another process found the hidden folder empty
            continue
        (begun / "new").mkdir()
        lock = os.open(begun / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        if not _locks(lock):  # without locks it is never swept: it may be in use
            return begun, lock
        begun.rename(hidden / name)
        return hidden / name, lock
    raise OutputError(f"{parent / HIDDEN} is removed again and again; end what removes it")


def _locks(descriptor: int) -> bool:
    """Take the lock of an open file; False if another process holds it, or there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(parent: Path) -> None:
    """Remove what processes that died left in the hidden folder, and give back what they moved."""
    hidden, entries = parent / HIDDEN, []
    with contextlib.suppress(FileNotFoundError):  # another process found it empty
        entries = sorted(hidden.iterdir()) if is_plain_folder(hidden) else []
    for entry in entries:
        if _ENTRY.fullmatch(entry.name) and is_plain_folder(entry):
            with contextlib.suppress(OSError):
                _sweep_entry(entry, parent)
    remove_hidden(parent)


def _sweep_entry(entry: Path, parent: Path) -> None:
    lock = os.open(entry / "lock", os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    try:
        if not _locks(lock) or not set(os.listdir(entry)) <= _PARTS:
            return
        if os.path.lexists(entry / "old"):
            for item in (entry / "old").iterdir():
                place = parent / item.name
                item.rename(backup_path(place) if os.path.lexists(place) else place)
        shutil.rmtree(entry)
    finally:
        os.close(lock)


def backup_path(path: Path) -> Path:
    """A free name beside `path`: NAME.kept, NAME.kept-2, ..."""
    number, free = 1, path.with_name(f"{path.name}.kept")
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}.kept-{number}")
    return free


def is_plain_folder(path: Path) -> bool:
    """Whether a path is a folder and no link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False
