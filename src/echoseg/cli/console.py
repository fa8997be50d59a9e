"""What every command says on the terminal: one line of refusal, a bar for long work."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


def fail(message: str) -> None:
    """Say what was refused, on standard error."""
    typer.echo(f"echoseg: {message}", err=True)


@contextmanager
def progress_bar(name: str, unit: str) -> Iterator[Any]:
    """Yield a callback that draws a bar on a terminal once the work has taken a second."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    start = time.monotonic()
    bar = Progress(
        TextColumn(f"  {name}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(unit, total=None)

    def update(done: int, total: int) -> None:
        if time.monotonic() - start > 1 and not bar.live.is_started:
            bar.start()
        bar.update(task, completed=done, total=total)

    try:
        yield update
    finally:
        bar.stop()
