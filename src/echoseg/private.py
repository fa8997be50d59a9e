"""Keyed hashes in place of the names of files and folders, which may identify a patient.

    KEY             32 random bytes in hexadecimal, made on first use
    KEY.names.jsonl which hash is of which path: {"name": ..., "path": ...}, a line each

Both have mode 0600 and lie in the user's config folder, apart from every result: who has only the
results learns no name, who has the table too finds the file.
"""

import contextlib
import hmac
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from echoseg.errors import ConfigError, EchosegError, reason_of

KEY_VARIABLE = "ECHOSEG_KEY"
_MIN_KEY_BYTES = 16
_NUM_DIGITS = 16
_OUR_WORDS = frozenset(
    "audit clip clips copies copied data demo failures file files folder frame frames heart hearts "
    "input left mask masks name names night output report reports result results study table "
    "tables test video videos view views".split()
)
"""Names of folders that our messages hold as words."""
_ELSEWHERE = "a file of the input"


def config_folder() -> Path:
    """Folder of the user's own settings; it may not exist yet."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "echoseg"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home()) / "echoseg"
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "echoseg"


class Pseudonyms:
    """Names of clips by keyed hash, HMAC-SHA256 (RFC 2104) of the absolute path, 64 bits of it.

    The same path has the same name in every command with the same key.

    Examples:
        >>> names = Pseudonyms()
        >>> clip = echoseg.load_clip("Miller.dcm", alias=names.name("Miller.dcm"))
        >>> clip.source
        'clip-1c0b5d7a90e2f344'

    Args:
        key_file: By default that of the environment variable `ECHOSEG_KEY`, else `private.key` in
            the user's config folder. Made when it is missing.

    Raises:
        ConfigError: If the key cannot be made or read, or is short, or if others can read it or the
            table.
    """

    def __init__(self, key_file: Path | None = None) -> None:
        default = os.environ.get(KEY_VARIABLE) or config_folder() / "private.key"
        self.key_file = Path(key_file or default)
        self._key = _read_key(self.key_file)
        if self.table.exists():
            _check_private(self.table, "the table of names and paths")
        self._paths: dict[str, str] = {}
        self._noted: set[str] = set()
        self._folders: dict[str, str] = {}

    @property
    def table(self) -> Path:
        """The file that says which name is of which path."""
        return self.key_file.with_name(f"{self.key_file.name}.names.jsonl")

    def name(self, path: str | Path) -> str:
        """The name of a file, folder or URL, noted in the table."""
        text = os.fspath(path)
        full = text if "://" in text else os.path.abspath(text)
        name = f"clip-{self.digest(full)}"
        if name not in self._paths:
            self._note({"name": name, "path": full})
        self._paths[name] = text
        return name

    def _note(self, line: dict[str, str]) -> None:
        text = json.dumps(line) + "\n"  # ASCII: names that are not UTF-8 stay what they are
        try:
            if not self._noted and self.table.exists():
                self._noted.update(self.table.read_text("ascii").splitlines(keepends=True))
            if text in self._noted:
                return
            with _open_private(self.table, os.O_APPEND) as file:
                file.write(text)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self.table}, which says which hash is of which path, cannot be read and "
                f"written ({reason_of(error)}); name another key file by --private-key"
            ) from error
        self._noted.add(text)

    def digest(self, *parts: str) -> str:
        """Keyed hash of texts, in hexadecimal."""
        content = b"\0".join(os.fsencode(part) for part in parts)
        return hmac.new(self._key, content, "sha256").hexdigest()[:_NUM_DIGITS]

    def uid(self, text: str) -> str:
        """A DICOM UID in place of another: 2.25 and a keyed hash of 128 bits (PS3.5 B.2)."""
        digest = hmac.new(self._key, b"uid\0" + os.fsencode(text), "sha256").digest()
        return f"2.25.{int.from_bytes(digest[:16], 'big')}"

    def hide_folder(self, folder: Path, word: str = "") -> None:
        """Let `hide` replace a folder by a word, or whatever follows it too where that is empty."""
        for text in {str(folder), os.path.abspath(folder)} - {".", "/", ""}:
            self._folders[text] = word

    def hide(self, text: str) -> str:
        """A text with every known path replaced by its name."""
        for name, path in sorted(self._paths.items(), key=lambda one: -len(one[1])):
            text = hide_path(text, path, name)
        for folder, word in sorted(self._folders.items(), key=lambda one: -len(one[0])):
            end = re.escape(os.sep) if _is_our_word(folder) else r"(?:$|[^\w-])"
            pattern = rf"(?<![\w-]){re.escape(folder)}(?={end})"  # never within a hash
            if word:
                text = re.sub(pattern, lambda _, word=word: word, text)
            elif match := re.search(pattern, text):  # what follows may be a name of any letters
                text = text[: match.start()] + _ELSEWHERE
        return text


def _is_our_word(folder: str) -> bool:
    """Whether a folder's name is a word of our messages: a path only where it goes on."""
    is_short = len(folder) <= 3 and folder.isalnum() and folder == folder.lower()
    return is_short or folder in _OUR_WORDS


def hide_path(text: str, path: str | Path, name: str) -> str:
    """A text with a path, its file name and the names of files in or beside it replaced."""
    path = Path(path)
    around = path if path.is_dir() else path.parent
    forms = (str, os.path.abspath, os.path.realpath, os.path.relpath)
    folders = {form(around) for form in forms} - {".", "/"}
    texts = {form(path) for form in forms} | {path.name} - {"", ".", "/"}
    if not any(known in text for known in texts | folders):
        return text
    with contextlib.suppress(OSError):  # of the frames, and of the second file of a header
        entries = os.listdir(around)
        texts |= {os.path.join(folder, entry) for folder in folders for entry in entries}
        texts |= set(entries) if around == path else set()
    for known in sorted(texts, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(known)}(?!\w)", lambda _: name, text)
    return text


@contextlib.contextmanager
def hidden(*pairs: tuple[str | Path, str | None]) -> Iterator[None]:
    """Replace paths in the errors of a block by their names; pairs without a name are ignored."""
    try:
        yield
    except EchosegError as error:
        message = str(error)
        for path, name in pairs:
            message = hide_path(message, path, name) if name else message
        error.args = (message, *error.args[1:])
        raise


def _read_key(path: Path) -> bytes:
    try:
        _make_key(path)
        _check_private(path, "the private key")
        key = path.read_bytes().strip()
    except OSError as error:
        raise ConfigError(
            f"the private key {path} cannot be made or read ({reason_of(error)}); "
            "name another file by --private-key"
        ) from error
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigError(
            f"the private key {path} must have at least {_MIN_KEY_BYTES} bytes, got {len(key)}; "
            "remove it, and a new one is made"
        )
    return key


def _check_private(path: Path, what: str) -> None:
    """Check that a file is for its owner alone.

    Raises:
        ConfigError: If others can read it.
        OSError: If it is missing.
    """
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(
            f"{what} {path} must not be readable for others; chmod 600 it, or name another key by "
            "--private-key where they have read it"
        )


def _make_key(path: Path) -> None:
    """Make a key where there is none; of several processes one succeeds, whole."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _open_private(partial, os.O_EXCL) as file:
            file.write(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _open_private(path: Path, flags: int) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600), "w", encoding="ascii")
