"""An append-only audit log: JSON lines, each with the hash of the line before.

A line ends in the SHA-256 of the rest of it, so a changed byte shows. It holds the hash of the line
before and a number, so a removed, added or moved line shows. Lines cut off the end, and a log
written anew from some line on, show only against an anchor: a hash of a line kept elsewhere.

A process killed while it writes leaves a torn last line. It stays, and the next line holds its
hash; so it differs from a line that was changed. Clips and models are named by their hashes.
"""

import contextlib
import errno
import getpass
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from echoseg.errors import OutputError
from echoseg.files import disk_error

START = "0" * 64
"""The hash before the first line."""
MAX_LINE_BYTES = 2**16
_LINE = re.compile(rb'(\{.*),"sha256":"([0-9a-f]{64})"\}', re.DOTALL)
_RECORD_AND_MORE = re.compile(_LINE.pattern + b".", re.DOTALL)
_LOCK_TIMEOUT_S = 60
_NOT_ALONE = (
    "must be a file of one name, since lines are added to it in place; it is a link, also of "
    "another file, or no file: put a copy in its place, or move it"
)


class Event(BaseModel):
    """What happened: to which clip, by which model and options, with which result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: str
    input_sha256: str = ""
    model_sha256: str = ""
    result_sha256: str = ""
    version: str = ""
    options: dict[str, Any] = {}


class Record(Event):
    """A line of the log; `user` is the account that ran the command."""

    sequence: int
    time: datetime
    user: str
    torn_sha256: str = ""
    """Hash of the torn line before this one."""
    previous: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """Number of records, hash of the last one, torn lines, and what is wrong, one line each."""

    records: int
    last_sha256: str
    torn: int
    problems: tuple[str, ...]


class AuditLog:
    """The log in a file, made by the first `append`; several processes may append.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, event: Event) -> str:
        """Append a record, safe on disk when this returns; return its hash.

        Raises:
            OutputError: If the file cannot be written, or its end is not a record.
        """
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.path.with_name(f".{self.path.name}.lock"), timeout=_LOCK_TIMEOUT_S):
                return self._append(event)
        except Timeout as error:
            raise OutputError(f"{self.path} cannot be written ({error})") from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise OutputError(f"{self.path} {_NOT_ALONE}") from None
            raise disk_error(self.path, error) from error

    def _append(self, event: Event) -> str:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        descriptor = os.open(self.path, flags, 0o600)
        with open(descriptor, "r+b", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
                raise OutputError(f"{self.path} {_NOT_ALONE}")
            last, torn, is_line_open = self._end(file)
            fields = event.model_dump(mode="json") | {
                "sequence": last.sequence + 1 if last else 0,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "user": _user(),
                "torn_sha256": _sha256(torn) if torn else "",
                "previous": last.sha256 if last else START,
            }
            body = json.dumps(fields, separators=(",", ":"))[:-1].encode()
            digest = _sha256(body)
            line = b"\n" * is_line_open + body + f',"sha256":"{digest}"}}\n'.encode()
            if len(line) > MAX_LINE_BYTES:
                raise OutputError(f"{self.path}: a record must be shorter than {MAX_LINE_BYTES} B")
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "No space left on device")
            os.fsync(descriptor)
        return digest

    def _end(self, file: Any) -> tuple[Record | None, bytes, bool]:
        """The last record, the torn text after it, and whether the last line is not ended.

        Raises:
            OutputError: If the last line is neither.
        """
        start = max(0, file.seek(0, os.SEEK_END) - 3 * MAX_LINE_BYTES)
        file.seek(start)
        *lines, rest = file.read().split(b"\n")
        is_line_open = bool(rest)
        lines += [rest] * is_line_open
        torn: list[bytes] = []
        record = None
        while lines and (record := _parse(lines[-1])) is None:
            if not is_line_open or _RECORD_AND_MORE.match(lines[-1]):
                break
            torn.insert(0, lines.pop())  # what was to follow a torn line may be torn too
        if (lines and record is None) or (start and not lines):
            raise OutputError(
                f"{self.path} does not end in a record (see `echoseg audit verify`); move it "
                "elsewhere, and a new one is begun"
            )
        return (record if lines else None), b"\n".join(torn), is_line_open

    def records(self) -> Iterator[Record]:
        """The records that can be read, in the file's order; none where there is no file.

        Raises:
            OutputError: If the file cannot be read.
        """
        return (record for _, record in self._lines() if record is not None)

    def _lines(self) -> Iterator[tuple[bytes, Record | None]]:
        try:
            with self.path.open("rb") as file:
                while line := file.readline(MAX_LINE_BYTES + 1):
                    yield line, _parse(line.removesuffix(b"\n"))
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{self.path} cannot be read ({error.strerror})") from error

    def verify(self, anchor: str = "") -> Verification:
        """Check every line.

        Args:
            anchor: Hash of a record, kept elsewhere; without it a cut end cannot be seen.

        Raises:
            OutputError: If the file is missing, cannot be read, or holds no record at all.
        """
        if not self.path.is_file():
            raise OutputError(f"{self.path} is not a file; give the audit log of a cohort")
        problems: list[str] = []
        torn, count, previous, is_anchored = 0, 0, START, not anchor
        odd, number, begun = b"", 0, 0  # not a record: torn if the next record holds its hash
        for number, (line, record) in enumerate(self._lines(), 1):
            if record is None:
                odd, begun = odd + line, begun if odd else number
                continue
            is_torn = bool(odd) and _sha256(odd.removesuffix(b"\n")) == record.torn_sha256
            torn += is_torn
            if bool(odd or record.torn_sha256) != is_torn:
                problems.append(
                    f"{_lines_of(begun if odd else number - 1, number - 1)} changed or removed"
                )
            if (record.sequence, record.previous) != (count, previous):
                problems.append(
                    f"line {number} holds record {record.sequence} where record {count} must "
                    "follow: lines were changed, removed, added or moved"
                )
            odd, count, previous = b"", record.sequence + 1, record.sha256
            is_anchored = is_anchored or record.sha256 == anchor
        if not count and b'"sha256"' not in odd:
            raise OutputError(
                f"{self.path} must hold audit records, it has none: it is another file, or its "
                "lines were removed"
            )
        if odd and (odd.endswith(b"\n") or _RECORD_AND_MORE.match(odd)):
            problems.append(f"{_lines_of(begun, number)} changed")
        elif odd:
            torn += 1
        if not is_anchored:
            problems.append("no line has the hash given: the end was cut, or the log written anew")
        return Verification(
            records=count, last_sha256=previous, torn=torn, problems=tuple(problems)
        )


def _lines_of(first: int, last: int) -> str:
    """`line 3 was` or `lines 3 to 5 were`."""
    return f"line {last} was" if first >= last else f"lines {first} to {last} were"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _parse(line: bytes) -> Record | None:
    """The record of a line whose hash fits; else None."""
    match = _LINE.fullmatch(line)
    if match is None or _sha256(match[1]).encode() != match[2]:
        return None
    with contextlib.suppress(ValidationError):
        return Record.model_validate_json(line)
    return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return str(os.getuid()) if hasattr(os, "getuid") else ""
