"""Dropped files: written to disk as they arrive, each of limited size, then put into the worklist.

    drops/TOKEN/NAME...   the files of a drop, by their names relative to the folder dropped

Files that are not of a clip are removed at the end; a drop that was cut off by a kill is removed
when the server starts.
"""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from threading import Lock
from typing import Any

from echoseg.errors import FormatError, TooLargeError, Unfit
from echoseg.web.api import AddedClips, RefusedFile
from echoseg.web.worklist import Worklist

DROPS = "drops"
MAX_FILES = 10_000
_OF_ZARR = (".zarray", ".zattrs", ".zgroup", ".zmetadata")
MIN_FREE_BYTES = 2**30
_NOT_A_CLIP = "it is not a clip; add DICOM, video or NIfTI, or a folder of one picture per frame"
_MAX_DEPTH, _MAX_PART_BYTES = 12, 200
_HEADERS = (".mhd", ".nhdr")
"""Files that name others, of any name, which hold the pixels."""


def safe_name(name: str) -> Path:
    """A relative path from a browser's name: no step upwards, nothing hidden but Zarr's.

    Raises:
        Unfit: If nothing is left of it, or it is too long.
    """
    parts = []
    for part in re.split(r"[/\\]", name):
        clean = re.sub(r"[\x00-\x1f\x7f-\x9f]", "_", part).strip().lstrip(".")
        if clean:
            parts.append(part if part in _OF_ZARR else clean)
    if not parts or len(parts) > _MAX_DEPTH:
        raise Unfit("the name of a file must have 1 to 12 parts")
    if max(len(os.fsencode(part)) for part in parts) > _MAX_PART_BYTES:
        raise Unfit(f"a name of a file must have at most {_MAX_PART_BYTES} bytes")
    return Path(*parts)


class Drop:
    """The files of one drop, received one after another.

    Args:
        worklist: Where its clips go.
    """

    def __init__(self, worklist: Worklist) -> None:
        self._worklist = worklist
        self._max_bytes = worklist.settings.max_upload_bytes
        self.folder = worklist.settings.folder.absolute() / DROPS / secrets.token_hex(8)
        self.folder.mkdir(mode=0o700, parents=True)
        self._names: list[str] = []
        self._paths: dict[Path, str] = {}
        self._refused: list[RefusedFile] = []
        self._file: Any = None
        self._adding = Lock()
        self._num_bytes, self._path = 0, Path()

    def begin(self, name: str) -> None:
        """Begin a file.

        Raises:
            TooLargeError: If there are too many files, or the disk is full.
        """
        self.end()
        if len(self._paths) + len(self._refused) >= MAX_FILES:
            raise TooLargeError(f"a drop holds at most {MAX_FILES} files; drop fewer at a time")
        try:
            relative = safe_name(name)
        except Unfit as error:
            self._refused.append(RefusedFile(name=name[:_MAX_PART_BYTES], reason=str(error)))
            return
        self._path = self._free(self.folder / relative)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file, self._num_bytes = self._path.open("xb"), 0
        self._paths[self._path] = name[: 4 * _MAX_PART_BYTES]

    def _free(self, path: Path) -> Path:
        """A path that no file has, nor a folder of one."""
        number, free = 2, path
        while free.exists() or any(one in self._paths for one in free.parents):
            free = self.folder / f"{number}" / path.relative_to(self.folder)
            number += 1
        return free

    def write(self, data: bytes) -> None:
        """Write a piece of the file; one that is too large is refused, and its rest ignored.

        Raises:
            TooLargeError: If the disk is nearly full.
        """
        if self._file is None:
            return
        self._num_bytes += len(data)
        if self._num_bytes > self._max_bytes:
            reason = f"it is larger than {self._max_bytes / 2**20:.4g} MiB"
            self._refuse(reason)
            return
        if self._num_bytes % 2**24 < len(data) or self._num_bytes == len(data):
            if shutil.disk_usage(self.folder).free < MIN_FREE_BYTES:
                raise TooLargeError("the disk of the server is nearly full; free some space")
        self._file.write(data)

    def _refuse(self, reason: str) -> None:
        self._file.close()
        self._file = None
        self._path.unlink()
        self._refused.append(RefusedFile(name=self._paths.pop(self._path), reason=reason))

    def end(self) -> None:
        """End a file; it is on disk when this returns."""
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        if not self._num_bytes:
            self._path.unlink()
            self._refused.append(
                RefusedFile(name=self._paths.pop(self._path), reason="the file is empty")
            )

    def add(self, account: str) -> AddedClips:
        """Put the clips into the worklist, and remove the other files."""
        with self._adding:
            return self._add(account)

    def _add(self, account: str) -> AddedClips:
        self.end()
        if not self._paths:
            return AddedClips(added=(), refused=tuple(self._refused))
        addition = self._worklist.add([self.folder], account, is_drop=True)
        used, clips = self._worklist.sources_in(self.folder), set(addition.clips)
        headed = {path.parent for path in used if path.suffix.lower() in _HEADERS}
        reasons = {self.folder / name: reason for name, reason in addition.refused.items()}
        for path, name in self._paths.items():
            places = (path, *path.parents)
            if used.intersection(places) or headed.intersection(places):
                continue
            path.unlink()
            if not clips.intersection(places):
                reason = reasons.get(path, _NOT_A_CLIP)
                self._refused.append(RefusedFile(name=name, reason=reason))
        return AddedClips(added=addition.ids, refused=tuple(self._refused))

    def discard(self) -> None:
        """Remove all that was received, unless clips of it are in the worklist already."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with self._adding:  # a request can end while its clips are being added
            if not self._worklist.sources_in(self.folder):
                shutil.rmtree(self.folder, ignore_errors=True)


async def receive(drop: Drop, content_type: str, pieces: AsyncIterator[bytes]) -> None:
    """Receive the files of a multipart/form-data body (RFC 7578), written as they arrive.

    Args:
        drop: Where they go.
        content_type: The header of that name.
        pieces: The body.

    Raises:
        FormatError: If it is not such a body, or ends too early.
        TooLargeError: As `Drop.begin` and `Drop.write`.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise FormatError("the files must come as multipart/form-data")
    handler = _Handler(drop)
    try:
        parser = MultipartParser(options[b"boundary"], handler.callbacks())
        async for piece in pieces:
            await asyncio.to_thread(parser.write, piece)
        parser.finalize()
    except FormParserError as error:
        raise FormatError("the files must come as multipart/form-data, whole") from error
    if not handler.is_complete:
        raise FormatError("the request ends before its last file; send it again")


class _Handler:
    """Takes what the parser finds: parts with a file name are files, others are ignored."""

    def __init__(self, drop: Drop) -> None:
        self._drop, self.is_complete = drop, False
        self._field, self._value, self._disposition = b"", b"", b""

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_file,
            "on_part_data": lambda data, start, end: self._drop.write(data[start:end]),
            "on_part_end": self._drop.end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._field = self._value = self._disposition = b""

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _begin_file(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        if (name := options.get(b"filename")) is not None:
            self._drop.begin(name.decode("utf-8", "replace"))

    def _finish(self) -> None:
        self.is_complete = True


def sweep_drops(worklist: Worklist) -> None:
    """Remove drops without a row, cut off by a kill; the others' rows name where they lie now."""
    place = worklist.settings.folder.absolute() / DROPS
    for folder in place.iterdir() if place.is_dir() else ():
        if not worklist.take_over(folder):
            shutil.rmtree(folder, ignore_errors=True)
