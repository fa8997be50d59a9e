"""Errors of the commands: one line and an exit code."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from echoseg.cli.console import INTERRUPTED, fail
from echoseg.errors import EchosegError


@contextmanager
def one_line_errors(remedy: str = "the same command continues") -> Iterator[None]:
    """Turn an error into one line and exit code 2, an interruption into its own code.

    Args:
        remedy: How to continue, for the message of an interruption.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {remedy}")
        raise SystemExit(INTERRUPTED) from None  # typer.Exit would print it once more
    except EchosegError as error:
        fail(str(error))
        raise typer.Exit(2) from None
