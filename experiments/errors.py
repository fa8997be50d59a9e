"""Errors of the commands: one line and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from echoseg.cli.console import INTERRUPTED, fail
from echoseg.errors import EchosegError


@contextmanager
def one_line_errors(way_on: str = "the same command continues") -> Iterator[None]:
    """Turn an error into one line and exit code 2, an interruption into its own code.

    Args:
        way_on: What the line of an interruption says of the work so far.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {way_on}")
        raise SystemExit(INTERRUPTED) from None  # typer.Exit would print it once more
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
