"""A file is written whole or not at all: beside its place, then renamed."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from echoseg.errors import OutputError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
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
    with whole(path) as partial:
        partial.write_text(text, "utf-8", newline="\n")
