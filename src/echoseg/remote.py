"""Files on object stores and servers, by obstore and fsspec: s3://BUCKET/PREFIX, gs://, az://, sftp://HOST/.

Names of objects were given by others. None becomes a local path: of a name that is taken only the
part after the last `/` names a file in a folder made for it, and a name that no file can have is
refused. Access (keys, tokens, passwords) comes from where the libraries look for it, is never
printed, and an address is printed without user and password.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from echoseg.errors import ConfigError, DatasetError, EchosegError, OutputError, TooLargeError

PROTOCOLS = ("s3", "gs", "az", "sftp", "memory")
"""What is supported; `memory` is a store of this process, for tests."""
_OBJECT_STORES = ("s3", "gs", "az")
_URL = re.compile(rf"({'|'.join(PROTOCOLS)}):[/\\]+(.+)", re.DOTALL)
_CHUNK_BYTES = 2**20
_MAX_NAME_BYTES = 255
_PARTIAL = ".echoseg-partial"


class Stored(BaseModel):
    """What a listing states of an object: its size, and what changes when its content does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_bytes: int
    version: str


class Remote(BaseModel):
    """A folder of objects.

    Attributes:
        protocol: One of `PROTOCOLS`.
        path: What follows `//`, without a `/` at the end; never printed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    path: str = Field(repr=False)

    @classmethod
    def parse(cls, path: str | Path) -> "Remote | None":
        """The folder of an address, also as `Path` has it (`s3:/BUCKET`); None for local paths."""
        match = _URL.fullmatch(os.fspath(path))
        return cls(protocol=match[1], path=match[2].rstrip("/\\")) if match else None

    def __str__(self) -> str:
        """The address without user and password."""
        head, slash, tail = self.path.partition("/")
        place = head.rpartition("@")[2] + slash + tail
        if self.protocol == "sftp" and ":" in head:  # a "/" may be one of the password
            place = place.rpartition("@")[2]
        return f"{self.protocol}://{re.split('[?#]', place)[0]}"

    def files(self) -> dict[str, Stored]:
        """Every object below the folder, by its name relative to it; in order.

        Raises:
            DatasetError: If it cannot be listed.
        """
        with self._usable(DatasetError, "listed"):
            return dict(sorted(_connect(self).files()))

    def fetch(self, name: str, place: Path, max_bytes: int) -> None:
        """Copy an object to a local file, at most `max_bytes` of it.

        Raises:
            TooLargeError: If it is larger.
            DatasetError: If it cannot be read.
        """
        with self._usable(DatasetError, "read"), place.open("wb") as file:
            for chunk in _connect(self).chunks(name):
                if file.tell() + len(chunk) > max_bytes:
                    raise TooLargeError(
                        f"it has more than {max_bytes / 2**30:.3g} GiB; raise --max-decoded"
                    )
                file.write(chunk)

    def put(self, place: Path, name: str) -> None:
        """Store a local file; the object has its whole new content, or what it had before.

        Raises:
            OutputError: If it cannot be stored.
        """
        with self._usable(OutputError, "written"):
            _connect(self).put(place, name)

    def remove(self, name: str) -> None:
        """Remove an object, unless it is gone.

        Raises:
            OutputError: If it cannot be removed.
        """
        with self._usable(OutputError, "written"), contextlib.suppress(FileNotFoundError):
            _connect(self).remove(name)

    @contextlib.contextmanager
    def _usable(self, kind: type[EchosegError], what: str) -> Iterator[None]:
        """Turn whatever a library raises into one sentence, without what it says: it may hold keys.

        Raises:
            EchosegError: Of the kind.
        """
        try:
            yield
        except EchosegError:
            raise
        except Exception as error:
            raise kind(f"{self} cannot be {what} ({_reason(error)})") from OSError(
                getattr(error, "errno", None) or 5, _reason(error)
            )


def file_name(name: str) -> str:
    """The local file name of an object's name; empty where no file can have it."""
    parts = name.split("/")
    if str(PurePosixPath(name)) != name or name.startswith("/") or ".." in parts:
        return ""
    is_odd = any(letter in name for letter in "\0\\:" if letter == "\0" or os.name == "nt")
    return "" if is_odd or len(os.fsencode(parts[-1])) > _MAX_NAME_BYTES else parts[-1]


class _Access(Protocol):
    def files(self) -> Iterator[tuple[str, Stored]]: ...
    def chunks(self, name: str) -> Iterator[bytes]: ...
    def put(self, place: Path, name: str) -> None: ...
    def remove(self, name: str) -> None: ...


class _ObjectStore:
    """S3, Google Cloud Storage or Azure, by obstore; an object is replaced at once."""

    def __init__(self, url: str) -> None:
        self._api = import_module("obstore")
        self._store = import_module("obstore.store").from_url(url)

    def files(self) -> Iterator[tuple[str, Stored]]:
        for batch in self._api.list(self._store):
            for one in batch:
                yield one["path"], _stored(one["size"], one.get("e_tag"))

    def chunks(self, name: str) -> Iterator[bytes]:
        for chunk in self._api.get(self._store, name).stream(min_chunk_size=_CHUNK_BYTES):
            yield bytes(chunk)

    def put(self, place: Path, name: str) -> None:
        self._api.put(self._store, name, place)

    def remove(self, name: str) -> None:
        self._api.delete(self._store, name)


class _FileServer:
    """Another file system of fsspec: a file gets its name when it is whole."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self._system, root = import_module("fsspec.core").url_to_fs(url, **options)
        self._root = root.rstrip("/")

    def files(self) -> Iterator[tuple[str, Stored]]:
        self._system.invalidate_cache()
        for path, one in self._system.find(self._root, detail=True).items():
            if one.get("type") == "file" and not path.endswith(_PARTIAL):
                version = one.get("mtime") or one.get("created")
                yield path.removeprefix(self._root).lstrip("/"), _stored(one["size"], version)

    def chunks(self, name: str) -> Iterator[bytes]:
        with self._system.open(f"{self._root}/{name}", "rb") as source:
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk

    def put(self, place: Path, name: str) -> None:
        target = f"{self._root}/{name}"
        self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._system.put_file(str(place), target + _PARTIAL)
        if hasattr(self._system, "ftp"):  # sftp's own rename refuses a name that is taken
            self._system.ftp.posix_rename(target + _PARTIAL, target)
        else:
            self._system.mv(target + _PARTIAL, target)

    def remove(self, name: str) -> None:
        self._system.rm_file(f"{self._root}/{name}")


def _stored(size_bytes: int, version: object) -> Stored:
    return Stored(size_bytes=size_bytes, version=f"{size_bytes} {version or ''}".strip())


def _reason(error: BaseException) -> str:
    """What went wrong in our own words; those of the libraries may hold addresses and keys."""
    names = {type(one).__name__ for one in (error, error.__cause__, error.__context__) if one}
    known = {
        "access is denied; the keys are those that the store's own tools use, see the guide": (
            "PermissionError", "PermissionDeniedError", "UnauthenticatedError",
            "AuthenticationException", "BadAuthenticationType", "UnknownConfigurationKeyError",
        ),
        "an object in it has a name that no file can have, such as one with .. or //; rename or "
        "remove that one": ("InvalidPathError",),
        "the server's host key is not in ~/.ssh/known_hosts; compare its fingerprint with what its "
        "administrator states and add it, as ssh does on first contact": ("UnknownHostKey",),
        "it does not exist": ("FileNotFoundError", "NotFoundError"),
        "it cannot be reached": (
            "ConnectionError", "gaierror", "TimeoutError", "ConnectionRefusedError",
            "NoValidConnectionsError", "SSHException",
        ),
        "it cannot be reached, or does not answer as it should": ("GenericError",),
    }  # fmt: skip
    for words, kinds in known.items():
        if names & set(kinds):
            return words
    return type(error).__name__


def _known_hosts() -> Any:
    """A policy of paramiko that accepts the host keys in the user's or the system's known hosts."""
    paramiko = import_module("paramiko")

    class UnknownHostKey(paramiko.SSHException):
        pass

    class KnownHosts(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: object, hostname: str, key: Any) -> None:
            known = paramiko.HostKeys()
            for path in (Path.home() / ".ssh" / "known_hosts", Path("/etc/ssh/ssh_known_hosts")):
                with contextlib.suppress(OSError):
                    known.load(str(path))
            if not known.check(hostname, key):
                raise UnknownHostKey

    return KnownHosts()


@lru_cache(maxsize=8)
def _open(protocol: str, path: str, process: int) -> _Access:
    url = f"{protocol}://{path}"
    if protocol in _OBJECT_STORES:
        return _ObjectStore(url)
    return _FileServer(url, {"host_key_policy": _known_hosts()} if protocol == "sftp" else {})


def _connect(remote: Remote) -> _Access:
    """Access to a folder; opened once per process.

    Raises:
        ConfigError: If a library is missing.
    """
    try:
        return _open(remote.protocol, remote.path, os.getpid())
    except ImportError as error:
        raise ConfigError(
            f"{remote.protocol}:// needs a library that is missing; pip install 'echoseg[remote]'"
        ) from error
