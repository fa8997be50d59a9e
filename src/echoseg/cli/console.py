"""Terminal output that all commands share: errors on one line, progress bars, signals."""

import contextlib
import errno
import io
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from echoseg.errors import ConfigError, EchosegError, validation_message
from echoseg.private import Pseudonyms

if TYPE_CHECKING:
    from echoseg.weights.card import ModelCard

DISCLAIMER = "Research software, not a medical device."
INTERRUPTED = 130
"""Exit code after Ctrl-C, as in shells."""


def one_line(text: str) -> str:
    """A text without its line breaks, which file names may contain."""
    return " ".join(text.splitlines())


_hide: list[Callable[[str], str]] = []
"""What hides names in the lines of the command that runs; empty without --private."""


def start_private(wanted: bool, key: Path | None, output: Path | None = None) -> Pseudonyms | None:
    """Hide names in every line of this command; None without --private.

    Raises:
        ConfigError: If there is no usable key.
    """
    if not wanted and key is None:
        return None
    names = Pseudonyms(key)
    if output is not None:
        names.hide_folder(output, "the output folder")
    _hide.append(names.hide)
    return names


def public(text: str) -> str:
    """A text as it may be printed: on one line, with names hidden where that is wanted."""
    for hide in _hide:
        text = hide(text)
    return one_line(text)


def fail(message: str) -> None:
    """Print an error on standard error."""
    typer.echo(f"echoseg: {public(message)}", err=True)


def show_backup(backup: Path | None) -> None:
    """Print where an earlier result was moved."""
    if backup is not None:
        typer.echo(public(f"what was there before is now {backup}"))


def show_notice(card: "ModelCard") -> None:
    """Print the disclaimer, and what the licence of a model demands."""
    typer.echo(DISCLAIMER)
    if card.notice:
        typer.echo(f"model {card.name}: {card.notice}")


class CommandGroup(TyperGroup):
    """A group of commands; an `EchosegError` in one is printed on one line and exits with 2.

    So is a name that no file can have.
    """

    def invoke(self, ctx: Any) -> Any:
        """Invoke the command."""
        _hide.clear()
        try:
            _refuse_empty([*ctx._protected_args, *ctx.args])
            return super().invoke(ctx)
        except EchosegError as error:
            fail(str(error))
            raise typer.Exit(2) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                fail(f"the name of a file or folder is too long, give another: {error.filename}")
                raise typer.Exit(2) from None
            if not _hide or hasattr(error, "exit_code"):
                raise
            fail(f"unexpected {type(error).__name__}; run without --private to see where")
            raise typer.Exit(2) from None


def _refuse_empty(words: list[str]) -> None:
    """Refuse empty texts: a path of one would be the working folder.

    Raises:
        ConfigError: If a word, or what follows its `=`, is empty.
    """
    for before, word in pairwise(("", *words)):
        if not word or (word.startswith("--") and word.endswith("=")):
            option = word[:-1] or (before if before.startswith("-") else "the argument")
            name = "-o (--output)" if option in ("-o", "--output") else option
            raise ConfigError(f"{name} must not be empty, got ''; give a value, or leave it out")


def run_app(app: typer.Typer, name: str = "echoseg") -> int:
    """Run a command line and return its exit code; every error is printed on one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a letter shows a ?
    for number in _heard("SIGTERM", "SIGHUP"):
        signal.signal(number, _terminate)
    try:
        code = app(prog_name=name, standalone_mode=False) or 0
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:  # typer has a copy of click's errors, older versions click's own
        if not hasattr(error, "format_message"):
            raise
        return _wrong_command(error)
    if code == INTERRUPTED:
        fail("interrupted; finished results are kept")
    return code


def _heard(*names: str) -> list[int]:
    """The numbers of signals that exist here and are not ignored, as SIGHUP is under nohup.

    A terminal that is closed sends SIGHUP.
    """
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def _terminate(number: int, frame: object) -> None:
    """Exit through every `finally`, so that nothing half-written remains; ignore more signals."""
    signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError, RuntimeError):  # no terminal, or a line is being printed
        fail("terminated; finished results are kept")
    sys.exit(128 + number)


@contextlib.contextmanager
def signals_asked() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether Ctrl-C or SIGTERM arrived; they are held back meanwhile.

    For work that stops by itself cleanly and then puts its results in place.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, *_heard("SIGHUP"))
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _wrong_command(error: Any) -> int:
    """Say what is wrong with the command in one sentence, or show its help."""
    from pydantic import ValidationError

    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "echoseg"
        text = error.format_message().rstrip(".")
        if "--spacing-mm" in text:
            text = "--spacing-mm takes two numbers, ROW COL in mm, such as 0.3 0.3"
        elif "'--size' requires 2" in text:
            text = "--size takes two numbers, ROWS COLUMNS in pixels, such as 480 640"
        elif isinstance(error.__cause__, ValidationError):
            option = max(error.param.opts, key=len)
            text = validation_message(error.__cause__, option).rstrip(".")
            value, is_choice, choices = text.partition(" is not one of ")
            text = f"{option} must be one of {choices}, got {value}" if is_choice else text
        fail(f"{text}; see {command} --help")
    return error.exit_code


@contextlib.contextmanager
def progress_bar(name: str, unit: str) -> Iterator[Any]:
    """Yield a callback (done, total) that draws a bar on a terminal after the first second."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    start = time.monotonic()
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bar.add_task(one_line(name), total=None)

    def update(done: int, total: int) -> None:
        if console.is_interactive and time.monotonic() - start > 1 and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield update
    finally:
        if bar.live.is_started:  # a bar that never started would still print a line break
            bar.stop()
