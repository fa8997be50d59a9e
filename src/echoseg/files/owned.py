"""Replace only what echoseg wrote: known by hashes, not by names.

A result folder has a mark, a JSON file such as `report.json`, whose `files` map holds the SHA-256
of every file of the folder; the value of the mark itself is the hash of its text with that value
left empty. A single file that stands among other files, such as `study.csv`, has its hash in
`.echoseg/written.json` beside it. What has another hash, or none, was made or changed by someone
else: it is refused by name, or moved aside.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from echoseg.errors import OutputError
from echoseg.files.work import (
    HIDDEN,
    backup_path,
    is_plain_folder,
    plain_folder,
    sweep,
    work_folder,
)
from echoseg.files.write import (
    check_kind,
    check_writable,
    disk_error,
    ensure_dir,
    write_text,
    writing,
)

Replace = bool | Literal["keep"]
"""What happens to an earlier result: False refuses, True replaces, "keep" moves it aside."""
ANOTHER_FOLDER = "choose another output folder"
WRITTEN = ".written.json"
"""Mark of a folder without a document of its own; inside a result folder it need not be listed."""
_RECORD = "written.json"
_NOT_OURS = "which echoseg did not write"
_CHANGED = "which was changed after echoseg wrote it"


def write_mark(folder: Path, mark: str, text: Callable[[dict[str, str]], str]) -> None:
    """Write the mark of a folder that holds everything else already.

    Args:
        folder: The folder.
        mark: Name of the mark.
        text: Gives the JSON text of the mark for the map of paths, relative to the folder, to
            SHA-256, which goes under its top-level key `files`.
    """
    hashes = {name: _sha256(folder / name) for name in sorted(_content(folder))}
    _write_with_hash(folder / mark, lambda own: text(hashes | own))


def _write_with_hash(path: Path, text: Callable[[dict[str, str]], str]) -> None:
    own = secrets.token_hex(32)
    content = text({path.name: own})
    digest = hashlib.sha256(content.replace(own, "").encode()).hexdigest()
    write_text(path, content.replace(own, digest))


def write_document(path: Path, text: Callable[[dict[str, str]], str]) -> None:
    """Write a single document that states its own hash, as a mark does; see `remove_document`.

    Its folder is made if it is missing.

    Raises:
        OutputError: If its folder is a link, or the disk fails.
    """
    try:
        plain_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    remove_document(path, keep_own=True)
    _write_with_hash(path, text)


def remove_document(path: Path, *, keep_own: bool = False) -> None:
    """Remove a document of `write_document`; anything else in its place is moved aside.

    What is behind a link, its folder's too, is left alone.

    Raises:
        OutputError: If the disk fails.
    """
    try:
        if not os.path.lexists(path) or not is_plain_folder(path.parent):
            return
        if os.path.islink(path) or not os.path.isfile(path) or _files_of(path) is None:
            path.rename(backup_path(path))
        elif not keep_own:
            path.unlink()
    except OSError as error:
        raise OutputError(f"{path} cannot be replaced ({error.strerror or error})") from error


def _content(folder: Path) -> dict[str, bool]:
    """Paths of everything in a folder -> whether it is a plain file; of folders the empty ones.

    Raises:
        OSError: If a folder cannot be read.
    """
    content: dict[str, bool] = {}
    for place in folder.iterdir():
        mode = os.lstat(place).st_mode
        inner = _content(place) if stat.S_ISDIR(mode) else {}
        content |= {f"{place.name}/{name}": is_file for name, is_file in inner.items()}
        if not inner:
            content[place.name] = stat.S_ISREG(mode)
    return content


def foreign_part(folder: Path, mark: str) -> str:
    """Name the first part of a folder that is not as echoseg wrote it; empty if there is none.

    Raises:
        OSError: If something cannot be read.
    """
    content = _content(folder)
    if not content:
        return ""
    if mark not in content:
        return f"no {mark}: echoseg did not write it"
    written = _files_of(folder / mark) if content[mark] else None
    if written is None:
        return f"a {mark}, {_NOT_OURS} in this form"
    inner = [name.removesuffix(WRITTEN) for name in content if name.endswith(f"/{WRITTEN}")]
    own = tuple(part for part in inner if not foreign_part(folder / part, WRITTEN))
    for name, is_file in sorted(content.items()):
        if own and name.startswith(own):
            continue
        if not is_file or name not in written:
            return f"{name}, {_NOT_OURS}"
        if name != mark and _sha256(folder / name) != written[name]:
            return f"{name}, {_CHANGED}"
    return ""


def _files_of(mark: Path) -> dict[str, str] | None:
    """The `files` map of a mark; None unless the mark is as echoseg wrote it."""
    try:
        text = mark.read_bytes().decode()
        written = json.loads(text)["files"]
        own = written[mark.name]
        is_own = bool(own) and hashlib.sha256(text.replace(own, "").encode()).hexdigest() == own
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return written if is_own else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class OwnedFolder:
    """A folder that is written whole and replaces only what echoseg wrote.

    Args:
        path: The folder.
        mark: Name of its mark, see `write_mark`.
        force: What happens to a folder that exists.
    """

    def __init__(self, path: str | Path, mark: str, force: Replace = False) -> None:
        self.path, self.mark, self.force = Path(os.path.abspath(path)), mark, force

    def check(self) -> Path | None:
        """Check, before long work, that the folder can be written.

        Returns:
            Where what is there will be moved; None if it will be replaced, or nothing is there.

        Raises:
            OutputError: If it exists without `force`, is a link to nothing, holds something that
                echoseg did not write, or is not writable.
        """
        folder, backup = self.path, None
        with contextlib.suppress(OSError):
            sweep(folder.parent)  # gives back what a killed run was replacing
        try:
            os.lstat(folder)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:  # a name too long, or no permission
            raise OutputError(
                f"{folder} cannot be written ({error.strerror}); {ANOTHER_FOLDER}"
            ) from error
        else:
            if not self.force:
                raise OutputError(f"{folder} exists; pass --force (force), or {ANOTHER_FOLDER}")
            if self.force == "keep":
                backup = backup_path(folder)
            else:
                self._check_content(folder)
        check_writable(folder.parent, ANOTHER_FOLDER)
        return backup

    def _check_content(self, place: Path) -> None:
        """Check that all of the folder, which is at `place` now, is as echoseg wrote it."""
        way_out = f"move it, add --keep to move all aside, or {ANOTHER_FOLDER}"
        try:
            if not place.is_dir():
                what = "is a link to nothing" if place.is_symlink() else f"is a file, {_NOT_OURS}"
                raise OutputError(f"{self.path} {what}, so it is not replaced; {way_out}")
            foreign = foreign_part(place, self.mark)
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be read ({error.strerror}), so it is not replaced; {way_out}"
            ) from error
        if foreign:
            raise OutputError(f"{self.path} holds {foreign}, so it is not replaced; {way_out}")

    @contextlib.contextmanager
    def write(self) -> Iterator[Path]:
        """Yield a temporary folder to fill; at the end it becomes the folder.

        After an exception the old folder, or none, is there; parents made for it are removed.

        Raises:
            OutputError: As `check`, before and after, or if the disk fails.
        """
        self.check()
        with ensure_dir(self.path.parent):
            try:
                with work_folder(self.path.parent) as work:
                    partial = work / "new" / self.path.name
                    partial.mkdir()
                    yield partial
                    backup = self.check()  # another run may have written it meanwhile
                    self._give_place(partial, work, backup)
            except OSError as error:
                raise disk_error(self.path, error) from error

    def _give_place(self, partial: Path, work: Path, backup: Path | None) -> None:
        """Rename the new folder; the old one is restored if that fails."""
        if not os.path.lexists(self.path):
            partial.rename(self.path)
            return
        old = backup or work / "old" / self.path.name
        old.parent.mkdir(exist_ok=True)
        self.path.rename(old)
        try:
            if backup is None and not old.is_symlink():  # of a link only the link is replaced
                self._check_content(old)  # again: it may have been changed meanwhile
            partial.rename(self.path)
        except BaseException:
            if not os.path.lexists(self.path):
                old.rename(self.path)
            raise
        if backup is None:
            (work / "old").rename(work / "done")


def is_own_file(path: Path) -> bool:
    """Whether a single file is as `owned_write` wrote it.

    Raises:
        OSError: If it cannot be read.
    """
    if not os.path.isfile(path) or os.path.islink(path):
        return False
    return _sha256(path) in _record(path.parent).get(path.name, ())


def check_own_file(path: Path, force: Replace = True) -> Path | None:
    """Check that a single file is missing, or may be replaced.

    Returns:
        Where the present file will be moved, with `force="keep"`.

    Raises:
        OutputError: If it exists without `force`, or is not as echoseg wrote it.
    """
    if not os.path.lexists(path):
        return None
    if not force:
        raise OutputError(f"{path} exists; pass --force (force), or choose another name")
    if force == "keep":
        return backup_path(path)
    if not is_own_file(path):
        raise OutputError(
            f"{path} is not as echoseg wrote it, so it is not replaced; move it, or add --keep to "
            "move it aside"
        )
    return None


def check_new_file(path: Path, force: Replace = False) -> Path | None:
    """Check, before long work, that a single file can be written in a folder that exists.

    Returns:
        As `check_own_file`.

    Raises:
        OutputError: As `check_own_file`, or if it is not a file, or its folder is missing.
    """
    check_kind(path)
    try:
        backup = check_own_file(path, force)
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}); move it") from error
    if not os.path.isdir(path.absolute().parent):
        check_writable(path.parent, "choose another place")
        raise OutputError(f"{path.parent} is not a folder; make it, or choose another name")
    check_writable(path.parent, "choose another place")
    return backup


def put_owned(partial: Path, path: Path, force: Replace = True) -> None:
    """Rename a finished file to its place, and record its hash first.

    Args:
        partial: The file, in a `work_folder` beside its place.
        path: Its place.
        force: What happens to what is there now, which may have been made meanwhile.

    Raises:
        OutputError: As `check_own_file`.
        OSError: If the disk fails.
    """
    if backup := check_own_file(path, force):
        path.rename(backup)
    # both hashes count: the write may be interrupted between the record and the file
    hashes = [_sha256(place) for place in (path, partial) if place.exists()]
    record = json.dumps(_record(path.parent) | {path.name: hashes}, indent=1)
    write_text(path.parent / HIDDEN / _RECORD, record + "\n")
    os.replace(partial, path)


@contextlib.contextmanager
def owned_write(path: Path, force: Replace = True) -> Iterator[Path]:
    """Yield a temporary path as `writing` does, and record the hash of what was written.

    Raises:
        OutputError: As `check_own_file` and `writing`.
    """
    with writing(path) as partial:
        yield partial
        put_owned(partial, path, force)


def write_owned_text(path: Path, text: str, force: Replace = True) -> None:
    """Write a UTF-8 text file by `owned_write`."""
    with owned_write(path, force) as partial:
        partial.write_text(text, "utf-8", newline="\n")


def write_table(path: Path, text: str) -> Path | None:
    """Write a table that is made again whenever a run continues.

    Returns:
        Where a file of this name was moved that is not as echoseg wrote it.

    Raises:
        OutputError: As `atomic_write`.
    """
    try:
        if os.path.isfile(path) and path.read_bytes() == text.encode():
            return None
        force: Replace = True if is_own_file(path) else "keep"
    except OSError as error:
        raise OutputError(f"{path} cannot be read ({error.strerror}); move it") from error
    backup = check_own_file(path, force)
    write_owned_text(path, text, force)
    return backup


def _record(folder: Path) -> dict[str, list[str]]:
    """Name of a file -> the hashes it may have: as it was, and as it was last written."""
    try:
        record = json.loads((folder / HIDDEN / _RECORD).read_text("utf-8"))
        return {str(name): list(hashes) for name, hashes in record.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
