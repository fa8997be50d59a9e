"""Files that others may have written: bounded, regular, inside their folder, one kind of error."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
from pydantic import Field, ValidationError

from echoseg.errors import EchosegError, Unfit, reason_of, validation_message

MAX_DOCUMENT_BYTES = 64 * 2**20
"""Size of the largest JSON document that is read."""
_MAX_NAME_BYTES = 255
OUTSIDE = "copy that file into the folder, or pass --allow-outside (allow_outside) if it is yours"

Line = Annotated[str, Field(max_length=4000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""A text of a document that is printed: no control characters, which a terminal would obey."""


@contextmanager
def reading(path: Path, kind: type[EchosegError], rule: str, way_out: str) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into one sentence.

    Args:
        path: The file.
        kind: Class of the error.
        rule: What is wrong, such as "must be a table".
        way_out: What to do.

    Raises:
        EchosegError: Of the given class; another becomes one of it.
    """
    try:
        yield
    except kind:
        raise
    except Exception as error:  # parsers raise exceptions of their own
        is_invalid = isinstance(error, ValidationError)
        reason = validation_message(error) if is_invalid else reason_of(error)
        raise kind(f"{path} {rule} ({reason}); {way_out}") from error


def check_regular(path: Path) -> Path:
    """The path, of a regular file: a device or a pipe may never end, or block.

    Raises:
        OSError: If there is none.
        Unfit: If it is something else.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise Unfit("it is not a regular file")
    return path


def inside(folder: Path, name: str, *, allow_outside: bool = False) -> Path:
    """The path that a file in `folder` names; it must stay in that folder, links resolved.

    Raises:
        Unfit: If it does not, or cannot be the name of a file.
    """
    parts = [len(os.fsencode(part)) for part in name.split("/")]
    if "\0" in name or max(parts) > _MAX_NAME_BYTES or sum(parts) > 2000:
        raise Unfit("a name of another file in it is not valid")
    path = folder / name
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
        _check_no_loop(path)
    except (OSError, RuntimeError) as error:  # a loop of links, a name that is too long
        raise Unfit("a name of another file in it is not valid") from error
    if not is_inside and not allow_outside:
        raise Unfit(f"it names a file outside of its folder; {OUTSIDE}")
    return path


def _check_no_loop(path: Path) -> None:
    """Raise OSError for a loop of links, of which `Path.resolve` tells before Python 3.13 only."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise


def read_bytes(path: Path, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The bytes of a small regular file.

    Raises:
        OSError: If it cannot be read.
        Unfit: If it is too large, or not a regular file.
    """
    with check_regular(path).open("rb") as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise Unfit(f"it is larger than {max_bytes / 2**20:g} MiB")
    return content


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON document whose numbers are all finite.

    Raises:
        ValueError: If it is not one, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_not_finite, parse_float=_finite)
    except RecursionError as error:
        raise Unfit("its parts are nested too deeply") from error
    except json.JSONDecodeError as error:
        raise Unfit(f"it is not JSON, line {error.lineno}, column {error.colno}") from error


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: As `parse_json`, or if it is too large or not a regular file.
    """
    return parse_json(read_bytes(path))


def _not_finite(text: str = "") -> NoReturn:
    raise Unfit("a number in it is not finite")


def _finite(text: str) -> float:
    value = float(text)
    return value if np.isfinite(value) else _not_finite()
